// Archives of checkpoints, which anybody may have made.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, it } from "node:test";
import {
  missingMounts,
  parseDeletedFiles,
  parseDescription,
} from "../../../src/container/checkpoint-layout.ts";
import { copyCheckpoint, unpackArchive } from "../../../src/container/unpack-checkpoint.ts";
import { assertVersion } from "../../../src/oci/runtime/criu-version.ts";

const config = JSON.stringify({
  name: "main",
  rootfsImageName: "docker.io/library/busybox:1",
  checkpointedTime: "t",
});
const spec = JSON.stringify({ mounts: [{ destination: "/proc" }, { destination: "/data" }] });

describe("the documents of a checkpoint", () => {
  it("the image is named by id, name or what was asked for, in this order", () => {
    const hex = "a".repeat(64);
    const dump = { rootfsImageRef: hex, rootfsImageName: "n:1", rootfsImage: "n:1" };
    assert.deepEqual(parseDescription(JSON.stringify(dump), "{}").images, [`sha256:${hex}`, "n:1"]);
    const byDigest = { rootfsImageRef: "n@sha256:1", rootfsImage: "n" };
    assert.deepEqual(parseDescription(JSON.stringify(byDigest), "{}").images, ["n@sha256:1", "n"]);
    assert.throws(() => parseDescription("{}", "{}"), /config\.dump: no image of the root filesystem/);
  });

  it("wrong ones are refused with the property's name", () => {
    for (const [dump, dumped, said] of [
      ["x", spec, /config\.dump.*not JSON/],
      ["[]", spec, /config\.dump: not an object/],
      ['{"rootfsImage":1}', spec, /config\.dump: rootfsImage: not a text/],
      [config, "null", /spec\.dump: not an object/],
      [config, '{"mounts":{}}', /spec\.dump: mounts is no list/],
      [config, '{"mounts":[{}]}', /spec\.dump: mounts\[0\]\.destination: not a text/],
    ] as const)
      assert.throws(() => parseDescription(dump, dumped), said);
    assert.deepEqual(parseDeletedFiles('["/a"]'), ["/a"]);
    assert.throws(() => parseDeletedFiles("[1]"), /deleted\.files: not a list of paths/);
  });

  it("mounts that are not the engine's own must be given", () => {
    const description = parseDescription(config, spec);
    assert.deepEqual(missingMounts(description, []), ["/data"]);
    assert.deepEqual(missingMounts(description, ["/data"]), []);
  });
});

describe("an archive of a checkpoint", () => {
  let directory: string;
  let content: string;
  let target: string;
  beforeEach(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), "cricket-archive-"));
    content = path.join(directory, "content");
    target = path.join(directory, "target");
    fs.mkdirSync(path.join(content, "checkpoint"), { recursive: true });
    fs.mkdirSync(target);
    fs.writeFileSync(path.join(content, "config.dump"), config);
    fs.writeFileSync(path.join(content, "spec.dump"), spec);
    fs.writeFileSync(path.join(content, "checkpoint/pages-1.img"), "pages");
  });
  afterEach(() => fs.rmSync(directory, { recursive: true, force: true }));

  const pack = (...args: string[]): string => {
    const archive = path.join(directory, "archive.tar");
    execFileSync("tar", ["-C", content, "-P", "-cf", archive, ...(args.length === 0 ? ["."] : args)]);
    return archive;
  };
  const refused = (archive: string, said: RegExp): Promise<void> =>
    assert.rejects(unpackArchive(archive, target), said);

  it("its files are taken, others are left out", async () => {
    fs.writeFileSync(path.join(content, "pod.dump"), "other");
    fs.symlinkSync("/etc/passwd", path.join(content, "artifacts"));
    const description = await unpackArchive(pack(), target);
    assert.deepEqual([description.name, description.checkpointedAt], ["main", "t"]);
    assert.deepEqual(fs.readdirSync(target).sort(), ["checkpoint", "config.dump", "spec.dump"]);
    assert.equal(fs.readFileSync(path.join(target, "checkpoint/pages-1.img"), "utf8"), "pages");
    assert.equal(fs.statSync(path.join(target, "config.dump")).mode & 0o777, 0o600);
  });

  it("may be compressed", async () => {
    const archive = pack();
    fs.writeFileSync(archive, gzipSync(fs.readFileSync(archive)));
    assert.equal((await unpackArchive(archive, target)).name, "main");
  });

  it("links, devices and fifos in the place of its files are refused", async () => {
    fs.rmSync(path.join(content, "config.dump"));
    fs.symlinkSync("/etc/passwd", path.join(content, "config.dump"));
    await refused(pack(), /config\.dump is a symlink, not a plain file/);
  });

  it("the images cannot be another directory's", async () => {
    fs.rmSync(path.join(content, "checkpoint"), { recursive: true });
    fs.symlinkSync("/tmp", path.join(content, "checkpoint"));
    await refused(pack(), /checkpoint is a symlink/);
  });

  it("an image that is a hard link is refused", async () => {
    fs.linkSync(path.join(content, "checkpoint/pages-1.img"), path.join(content, "checkpoint/z.img"));
    await refused(pack(), /checkpoint\/\S+ is a hardlink/);
  });

  it("names that lead out are refused", async () => {
    fs.writeFileSync(path.join(directory, "outside"), "x");
    await refused(pack(".", "../outside"), /"\.\.\/outside" leads out/);
    assert.ok(!fs.existsSync(path.join(target, "../outside.new")));
  });

  it("a file that is there twice, a truncated one, one that is no archive, and none", async () => {
    await refused(pack("config.dump", "config.dump"), /config\.dump is (there twice|a hardlink)/);
    fs.rmSync(target, { recursive: true });
    fs.mkdirSync(target);
    fs.writeFileSync(path.join(content, "checkpoint/pages-1.img"), Buffer.alloc(10_000));
    const archive = pack("checkpoint/pages-1.img");
    fs.truncateSync(archive, 5000);
    await refused(archive, /checkpoint archive .*truncated/);
    fs.rmSync(target, { recursive: true });
    fs.mkdirSync(target);
    fs.writeFileSync(archive, "no archive at all".repeat(100));
    await refused(archive, /checkpoint archive /);
    await refused(path.join(directory, "nowhere"), /nowhere: ENOENT/);
    await refused(directory, /not a regular file/);
  });

  it("documents that are missing, or larger than documents are", async () => {
    fs.rmSync(path.join(content, "spec.dump"));
    await refused(pack(), /spec\.dump is missing/);
    fs.rmSync(target, { recursive: true });
    fs.mkdirSync(target);
    fs.writeFileSync(path.join(content, "spec.dump"), Buffer.alloc((4 << 20) + 1));
    await refused(pack(), /spec\.dump has 4194305 bytes, more than/);
  });

  it("from a layer of an image the same, and no link in it is followed", () => {
    assert.equal(copyCheckpoint(content, target, "i").name, "main");
    assert.equal(fs.readFileSync(path.join(target, "checkpoint/pages-1.img"), "utf8"), "pages");
    const other = path.join(directory, "other");
    fs.mkdirSync(other);
    fs.symlinkSync("/etc/passwd", path.join(content, "checkpoint/link.img"));
    assert.throws(() => copyCheckpoint(content, other, "i"), /checkpoint image i: checkpoint\/link\.img/);
  });
});

describe("`assertVersion()`", () => {
  it("takes what restores into pods, and names what does not", () => {
    assertVersion("/c", "Version: 3.16.1\n");
    assertVersion("/c", "Version: 4.2\nGitID: v4.2\n");
    assert.throws(
      () => assertVersion("/c", "Version: 3.15\n"),
      /\/c is version 3\.15, a restore into a pod needs 3\.16/,
    );
    assert.throws(() => assertVersion("/c", "hello"), /\/c does not tell its version/);
  });
});
