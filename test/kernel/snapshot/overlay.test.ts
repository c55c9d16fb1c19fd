import assert from "node:assert/strict";
import {
  closeSync,
  statSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { isAtLeast, parseRelease } from "../../../src/linux/kernel-release.ts";
import { prepareContainerLayer } from "../../../src/snapshot/container-layer.ts";
import { createOverlay, type OverlayMethod } from "../../../src/snapshot/overlay.ts";
import { TarReader } from "../../../src/snapshot/tar-reader.ts";
import { LayerUnpacker } from "../../../src/snapshot/unpack-layer.ts";
import { requires } from "../../support/requires.ts";
import { tarArchive, type TestEntry } from "../../support/tar-archive.ts";

const seen = (fd: number, ...names: string[]): string => join(`/proc/self/fd/${fd}`, ...names);

describe("createOverlay()", requires("root", "overlay"), () => {
  let root = "";
  let mountsBefore = "";
  const mounts = (): string => readFileSync("/proc/self/mountinfo", "utf8");
  before(() => {
    root = mkdtempSync("/var/lib/cricket-overlay-test-");
    mountsBefore = mounts();
  });
  after(() => {
    rmSync(root, { recursive: true });
    assert.equal(mounts(), mountsBefore);
  });

  let next = 0;
  const unpack = (...entries: TestEntry[]): string => {
    const directory = join(root, `layer${next++}`);
    mkdirSync(directory);
    const fd = openSync(directory, "r");
    const unpacker = new LayerUnpacker(fd);
    const reader = new TarReader(unpacker, 1000);
    reader.push(tarArchive(...entries));
    reader.finish();
    unpacker.finish();
    unpacker.close();
    closeSync(fd);
    return directory;
  };
  const container = (top?: string): { upper: string; work: string } =>
    prepareContainerLayer(join(root, "containers"), `c${next++}`, top);

  const canAppend = isAtLeast(parseRelease(release()), 6, 7);
  const methods: OverlayMethod[] = canAppend ? ["append", "string", "mount"] : ["string", "mount"];
  for (const method of methods)
    test(`stacks layers bottom first under a writable one (${method})`, () => {
      const lowers = ["a", "b", "c"].map((name) => unpack({ name: "top", data: name }, { name, data: name }));
      const { upper, work } = container();
      const fd = createOverlay({ lowers, upper, work }, method);
      try {
        assert.equal(readFileSync(seen(fd, "top"), "utf8"), "c");
        assert.deepEqual(readdirSync(seen(fd)).toSorted(), ["a", "b", "c", "top"]);
        writeFileSync(seen(fd, "new"), "x");
        unlinkSync(seen(fd, "a"));
        assert.deepEqual(readdirSync(upper).toSorted(), ["a", "new"]);
        assert.equal(mounts(), mountsBefore, "the host sees the mount");
      } finally {
        closeSync(fd);
      }
    });

  test("applies what whiteouts of layers say", () => {
    const fd = createOverlay({
      lowers: [
        unpack(
          { name: "etc/gone", data: "x" },
          { name: "etc/kept", data: "x" },
          { name: "opaque/old", data: "x" },
          { name: "replaced/old", data: "x" },
        ),
        unpack(
          { name: "etc/.wh.gone" },
          { name: "opaque/.wh..wh..opq" },
          { name: "opaque/new", data: "x" },
          { name: ".wh.replaced" },
          { name: "replaced/new", data: "x" },
        ),
      ],
    });
    try {
      assert.deepEqual(readdirSync(seen(fd, "etc")), ["kept"]);
      assert.deepEqual(readdirSync(seen(fd, "opaque")), ["new"]);
      assert.deepEqual(readdirSync(seen(fd, "replaced")), ["new"]);
    } finally {
      closeSync(fd);
    }
  });

  test("is read-only without a writable layer, also for one layer, and where it is asked for", () => {
    const lowers = [unpack({ name: "f", data: "x" }), unpack({ name: "g", data: "x" })];
    const sources = [{ lowers: lowers.slice(0, 1) }, { lowers }, { lowers, ...container(), readonly: true }];
    for (const source of sources) {
      const fd = createOverlay(source);
      assert.throws(() => writeFileSync(seen(fd, "f"), "y"), { code: "EROFS" });
      closeSync(fd);
    }
  });

  test("of an image without layers is the writable layer", () => {
    const { upper, work } = container();
    const fd = createOverlay({ lowers: [], upper, work });
    writeFileSync(seen(fd, "f"), "x");
    closeSync(fd);
    assert.deepEqual(readdirSync(upper), ["f"]);
  });

  const appending = { skip: canAppend ? false : "needs overlay's lowerdir+ (Linux 6.7)" };
  test("takes 500 layers", appending, () => {
    const lowers = Array.from({ length: 500 }, (_, i) => unpack({ name: `f${i}`, data: "x" }));
    const { upper, work } = container();
    const fd = createOverlay({ lowers, upper, work });
    assert.equal(readdirSync(seen(fd)).length, 500);
    closeSync(fd);
    assert.throws(() => createOverlay({ lowers: [...lowers, root], upper, work }), {
      code: "invalid-argument",
    });
  });

  test("takes 200 layers on older kernels, and says what they cannot take", () => {
    const lowers = Array.from({ length: 200 }, (_, i) => unpack({ name: `f${i}`, data: "x" }));
    const { upper, work } = container();
    const fd = createOverlay({ lowers, upper, work }, "mount");
    assert.equal(readdirSync(seen(fd)).length, 200);
    closeSync(fd);
    assert.throws(() => createOverlay({ lowers, ...container() }, "string"), { code: "unimplemented" });
    const [one] = lowers as [string];
    const many = Array.from({ length: 400 }, () => one);
    assert.throws(() => createOverlay({ lowers: many, ...container() }, "mount"), { code: "unimplemented" });
  });

  test("takes directories with separators, escapes and long names", () => {
    const lowers = ["a:b,c", "back\\slash", `${"d".repeat(200)}/${"e".repeat(200)}`].map((name) => {
      const directory = join(root, name);
      mkdirSync(directory, { recursive: true });
      writeFileSync(join(directory, name.slice(0, 4)), "x");
      return directory;
    });
    for (const method of methods) {
      const { upper, work } = container();
      const fd = createOverlay({ lowers, upper, work }, method);
      assert.deepEqual(readdirSync(seen(fd)).toSorted(), ["a:b,", "back", "dddd"]);
      closeSync(fd);
    }
  });

  test("shows the owner and mode of the image's root", () => {
    const layer = unpack({ name: "./", type: "5", mode: 0o711, uid: 5, gid: 6 }, { name: "f", data: "x" });
    const fd = createOverlay({ lowers: [layer], ...container(layer) });
    const { mode, uid, gid } = statSync(seen(fd));
    assert.deepEqual([mode & 0o7777, uid, gid], [0o711, 5, 6]);
    closeSync(fd);
  });

  test("says what is wrong", () => {
    const { upper, work } = container();
    assert.throws(() => createOverlay({ lowers: [] }), { code: "invalid-argument" });
    assert.throws(() => createOverlay({ lowers: [root], upper }), { code: "invalid-argument" });
    const missing = { lowers: [root, join(root, "missing")], upper, work };
    for (const method of methods)
      assert.throws(() => createOverlay(missing, method), { message: /^overlay of 2 layers: .*ENOENT/ });
  });
});
