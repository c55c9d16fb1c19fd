// What GNU tar writes, and how the same tree looks unpacked by us.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { TarReader } from "../../../src/snapshot/tar-reader.ts";
import { LayerUnpacker } from "../../../src/snapshot/unpack-layer.ts";
import { requires } from "../../support/requires.ts";

const formats = [
  ["--format=gnu"],
  ["--format=gnu", "--sparse"],
  ["--format=posix"],
  ["--format=posix", "--sparse", "--sparse-version=0.0"],
  ["--format=posix", "--sparse", "--sparse-version=0.1"],
  ["--format=posix", "--sparse", "--sparse-version=1.0"],
];

describe("archives of GNU tar", requires("root"), () => {
  let root = "";
  before(() => {
    root = mkdtempSync("/var/lib/cricket-gnu-tar-");
    const source = join(root, "source");
    mkdirSync(join(source, "directory", "d".repeat(120), "e".repeat(120)), { recursive: true });
    writeFileSync(join(source, "file"), "content");
    writeFileSync(join(source, "directory", "d".repeat(120), "f".repeat(150)), "long");
    chmodSync(join(source, "file"), 0o6711);
    linkSync(join(source, "file"), join(source, "directory", "hard"));
    symlinkSync("t".repeat(180), join(source, "soft"));
    writeFileSync(Buffer.concat([Buffer.from(`${source}/bytes-`), Buffer.from([0xff, 0xe4])]), "x");
    const sparse = openSync(join(source, "sparse"), "w");
    for (let i = 0; i < 60; i++) writeSync(sparse, `piece ${i}`, i * 1_000_000);
    ftruncateSync(sparse, 70_000_000);
    closeSync(sparse);
    execFileSync("touch", ["-d", "@1600000000.123456789", join(source, "file"), join(source, "directory")]);
  });
  after(() => rmSync(root, { recursive: true }));

  for (const options of formats)
    test(`${options.join(" ")} come out as they went in`, () => {
      const archive = execFileSync("tar", ["-c", "-C", join(root, "source"), ...options, "."], {
        maxBuffer: 1 << 28,
      });
      const target = join(root, "target");
      mkdirSync(target);
      try {
        const fd = openSync(target, "r");
        const unpacker = new LayerUnpacker(fd);
        const reader = new TarReader(unpacker, 1000);
        for (let at = 0; at < archive.length; at += 100_000) reader.push(archive.subarray(at, at + 100_000));
        reader.finish();
        unpacker.finish();
        unpacker.close();
        closeSync(fd);
        execFileSync("diff", ["-r", "--no-dereference", join(root, "source"), target]);
        const withTimes = options[0] === "--format=posix";
        assert.equal(list(target, withTimes), list(join(root, "source"), withTimes));
        if (options.includes("--sparse")) assert.ok(kilobytes(join(target, "sparse")) < 1000);
      } finally {
        rmSync(target, { recursive: true });
      }
    });
});

/** Path, mode, owner, type, links, size and target of everything; nanoseconds only pax archives hold. */
function list(directory: string, withTimes: boolean): string {
  const format = `%P %m %U %G %y %n %s %l ${withTimes ? "%T@" : ""}\\0`;
  const lines = execFileSync(
    "find",
    [".", "(", "-type", "d", "-printf", format.replace("%s", ""), ")", "-o", "-printf", format],
    {
      cwd: directory,
      encoding: "latin1",
    },
  );
  return lines.split("\0").toSorted().join("\n");
}

function kilobytes(path: string): number {
  return Number(execFileSync("du", ["-k", path], { encoding: "utf8" }).split("\t")[0]);
}
