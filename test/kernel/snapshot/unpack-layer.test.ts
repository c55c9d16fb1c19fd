import assert from "node:assert/strict";
import { lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { afterEach, beforeEach, describe, test } from "node:test";
import { getxattr } from "../../../src/linux/files.ts";
import { requires } from "../../support/requires.ts";
import { unpackFixture, type UnpackFixture } from "./unpack-fixture.ts";

describe("unpacking a layer", requires("root"), () => {
  let fixture: UnpackFixture;
  beforeEach(() => {
    fixture = unpackFixture();
  });
  afterEach(() => fixture.dispose());

  test("makes every kind of entry", () => {
    fixture.unpack(
      { name: "./", type: "5", mode: 0o755 },
      { name: "./dir/", type: "5" },
      { name: "./dir/file", data: "content" },
      { name: "/abs", data: "absolute" },
      { name: "dir/hard", type: "1", linkName: "./dir/file" },
      { name: "dir/soft", type: "2", linkName: "/etc/../passwd" },
      { name: "char", type: "3", device: [1, 3] },
      { name: "block", type: "4", device: [259, 70_000] },
      { name: "pipe", type: "6" },
      { name: "contiguous", type: "7", data: "c" },
    );
    assert.deepEqual(fixture.tree(), {
      abs: "f absolute",
      block: "b",
      char: "c",
      contiguous: "f c",
      dir: "d",
      "dir/file": "f content",
      "dir/hard": "f content",
      "dir/soft": "l /etc/../passwd",
      pipe: "p",
    });
    const inode = (name: string): number => lstatSync(fixture.path(name)).ino;
    assert.equal(inode("dir/hard"), inode("dir/file"));
    const { rdev } = lstatSync(fixture.path("block"));
    assert.deepEqual([(rdev >> 8) & 0xfff, (rdev & 0xff) | ((rdev >> 12) & 0xfff00)], [259, 70_000]);
  });

  test("gives owners, modes with their special bits, and times", () => {
    fixture.unpack(
      { name: "d", type: "5", mode: 0o2750, uid: 10, gid: 20, mtime: 1000 },
      { name: "d/setuid", mode: 0o4755, uid: 1, gid: 2, data: "x", mtime: 2000 },
      { name: "d/plain", mode: 0o666, data: "x", pax: { mtime: "3000.123456789" } },
      { name: "d/sub/", type: "5", mode: 0o1777, mtime: 4000 },
      { name: "l", type: "2", linkName: "d", gid: 4, mtime: 5000, pax: { uid: "3000000000" } },
      { name: "p", type: "6", mode: 0o622, uid: 5 },
    );
    const facts = (name: string): unknown[] => {
      const { mode, uid, gid, mtimeNs } = lstatSync(fixture.path(name), { bigint: true });
      return [(mode & 0o7777n).toString(8), uid, gid, mtimeNs];
    };
    const seconds = 1_000_000_000n;
    assert.deepEqual(facts("d"), ["2750", 10n, 20n, 1000n * seconds]);
    assert.deepEqual(facts("d/setuid"), ["4755", 1n, 2n, 2000n * seconds]);
    // Not the group of the setgid directory.
    assert.deepEqual(facts("d/plain"), ["666", 0n, 0n, 3_000_123_456_789n]);
    assert.deepEqual(facts("d/sub"), ["1777", 0n, 0n, 4000n * seconds]);
    assert.deepEqual(facts("l"), ["777", 3_000_000_000n, 4n, 5000n * seconds]);
    assert.equal(facts("p")[0], "622");
  });

  test("sets extended attributes, file capabilities after owner and mode", () => {
    // cap_setuid+ep: a byte beyond 0x7f, which decoding as text would destroy.
    const capability = Buffer.from("0100000280000000000000000000000000000000", "hex");
    fixture.unpack(
      { name: "f", data: "x", uid: 7, mode: 0o4755, pax: { "SCHILY.xattr.security.capability": capability } },
      { name: "d", type: "5", pax: { "SCHILY.xattr.user.note": "hello", "SCHILY.xattr.user.empty": "" } },
      { name: "l", type: "2", linkName: "nowhere", pax: { "SCHILY.xattr.trusted.note": "on a link" } },
    );
    assert.deepEqual(getxattr(fixture.path("f"), "security.capability"), capability);
    assert.equal(lstatSync(fixture.path("f")).mode & 0o7777, 0o4755);
    assert.equal(getxattr(fixture.path("d"), "user.note")?.toString(), "hello");
    assert.equal(getxattr(fixture.path("d"), "user.empty")?.length, 0);
  });

  test("takes no instructions for overlayfs from an image", () => {
    const pax = {
      "SCHILY.xattr.trusted.overlay.redirect": "/etc",
      "SCHILY.xattr.trusted.overlay.opaque": "y",
      "SCHILY.xattr.trusted.overlay.metacopy": "",
    };
    fixture.unpack({ name: "d", type: "5", pax }, { name: "f", data: "x", pax });
    for (const name of ["d", "f"])
      for (const key of ["redirect", "opaque", "metacopy"])
        assert.equal(getxattr(fixture.path(name), `trusted.overlay.${key}`), undefined);
  });

  test("makes missing parents 0755 root:root and says which", () => {
    const { implicitDirectories } = fixture.unpack(
      { name: "a/b/c", data: "x", uid: 5 },
      { name: "a/", type: "5" },
    );
    assert.equal(lstatSync(fixture.path("a/b")).mode & 0o7777, 0o755);
    assert.deepEqual(
      implicitDirectories.map((path) => Buffer.from(path, "base64").toString()),
      ["a/b"],
    );
  });

  test("lets the later of two entries win, whatever they are", () => {
    fixture.unpack(
      { name: "x", data: "first", mode: 0o4755 },
      { name: "x", data: "second" },
      { name: "file-to-dir", data: "f" },
      { name: "file-to-dir", type: "5" },
      { name: "dir-to-file/sub/deep", data: "gone" },
      { name: "dir-to-file", data: "f" },
      { name: "dir/kept", data: "k" },
      { name: "dir", type: "5", mode: 0o700 },
      { name: "link-to-dir", type: "2", linkName: "dir" },
      { name: "link-to-dir", type: "5" },
      { name: "link-to-dir/in", data: "i" },
      { name: "dir2/sub/", type: "5" },
      { name: "dir2/sub/old", data: "o" },
      { name: "dir2", type: "2", linkName: "dir" },
      { name: "dir2/new", data: "n" },
    );
    assert.deepEqual(fixture.tree(), {
      dir: "d",
      "dir-to-file": "f f",
      "dir/kept": "f k",
      "dir/new": "f n",
      dir2: "l dir",
      "file-to-dir": "d",
      "link-to-dir": "d",
      "link-to-dir/in": "f i",
      x: "f second",
    });
    assert.equal(lstatSync(fixture.path("x")).mode & 0o7777, 0o644);
  });

  test("breaks a hardlink instead of writing through it", () => {
    fixture.unpack(
      { name: "a", data: "original" },
      { name: "b", type: "1", linkName: "a" },
      { name: "b", data: "changed" },
    );
    assert.deepEqual(fixture.tree(), { a: "f original", b: "f changed" });
  });

  test("turns whiteouts into overlayfs's form", () => {
    fixture.unpack(
      { name: "etc/", type: "5" },
      { name: "etc/.wh.passwd" },
      { name: "var/.wh..wh..opq" },
      { name: "var/own", data: "x" },
      { name: ".wh..wh.plnk/1.2", data: "aufs" },
    );
    assert.deepEqual(fixture.tree(), { etc: "d", "etc/passwd": "w", var: "d", "var/own": "f x" });
    assert.equal(getxattr(fixture.path("var"), "trusted.overlay.opaque")?.toString(), "y");
    assert.equal(getxattr(fixture.path("etc"), "trusted.overlay.opaque"), undefined);
  });

  // OCI image-spec layer.md: a whiteout applies to lower layers only.
  test("keeps what a whiteout of the same layer names, before and after it", () => {
    fixture.unpack(
      { name: ".wh.before" },
      { name: "before/", type: "5" },
      { name: "before/f", data: "1" },
      { name: ".wh.implied" },
      { name: "implied/f", data: "2" },
      { name: "after/f", data: "3" },
      { name: ".wh.after" },
      { name: ".wh.file" },
      { name: "file", data: "4" },
      { name: "file2", data: "5" },
      { name: ".wh.file2" },
    );
    assert.deepEqual(fixture.tree(), {
      after: "d",
      "after/f": "f 3",
      before: "d",
      "before/f": "f 1",
      file: "f 4",
      file2: "f 5",
      implied: "d",
      "implied/f": "f 2",
    });
    for (const name of ["before", "implied", "after"])
      assert.equal(getxattr(fixture.path(name), "trusted.overlay.opaque")?.toString(), "y", name);
  });

  test("writes sparse files with their holes", () => {
    const data = "start" + "end";
    const pax = { "GNU.sparse.size": "10000003", "GNU.sparse.map": "0,5,10000000,3" };
    const { usage } = fixture.unpack({ name: "sparse", data, pax });
    const { size, blocks } = statSync(fixture.path("sparse"));
    assert.equal(size, 10_000_003);
    assert.ok(blocks * 512 < 100_000, `${blocks} blocks`);
    assert.ok(usage.bytes < 100_000);
    const content = readFileSync(fixture.path("sparse"));
    assert.equal(content.subarray(0, 5).toString() + content.subarray(-3).toString(), data);
    assert.ok(content.subarray(5, -3).every((byte) => byte === 0));
  });

  test("keeps names byte for byte", () => {
    const name = Buffer.from([0x61, 0xff, 0xfe, 0x62]);
    const target = Buffer.from([0xf0, 0x28]);
    fixture.unpack(
      { name, data: "x" },
      { name: "dé/ü", data: "y" },
      { name: "l", type: "2", linkName: target },
    );
    const names = readdirSync(fixture.layer, { encoding: "buffer" });
    assert.ok(names.some((found) => found.equals(name)));
    assert.equal(readFileSync(fixture.path("dé/ü"), "utf8"), "y");
    assert.deepEqual(readlinkSync(fixture.path("l"), "buffer"), target);
  });

  test("counts what it has made", () => {
    const { usage } = fixture.unpack(
      { name: "d/", type: "5" },
      { name: "d/a", data: "x".repeat(5000) },
      { name: "d/b", type: "1", linkName: "d/a" },
      { name: "d/a2", data: "gone".repeat(3000) },
      { name: "d/a2", data: "small" },
      { name: "l", type: "2", linkName: "d" },
    );
    // The layer itself, d, a, a2 and l; 4096 for each directory, 8192 and 4096 for the files.
    assert.deepEqual(usage, { bytes: 2 * 4096 + 8192 + 4096, inodes: 5 });
  });

  test("rejects what cannot be, naming the entry", () => {
    const bad: [Parameters<UnpackFixture["unpack"]>, RegExp][] = [
      [[{ name: ".", data: "x" }], /entry "\.": the root of the layer is no directory/],
      [
        [
          { name: "f", data: "x" },
          { name: "f/x", data: "y" },
        ],
        /entry "f\/x": parent "f" is not a directory/,
      ],
      [
        [{ name: "h", type: "1", linkName: "missing" }],
        /entry "h": hardlink target "missing" is not in this layer/,
      ],
      [[{ name: "h", type: "1", linkName: "no/dir" }], /hardlink target "no\/dir" is not in this layer/],
      [
        [
          { name: "h", data: "x" },
          { name: "h", type: "1", linkName: "./h" },
        ],
        /hardlink to itself/,
      ],
      [[{ name: "../x", data: "x" }], /entry "\.\.\/x": leads out of the layer/],
      [[{ name: "n".repeat(100) + "/" + "m".repeat(10), pax: { path: "n".repeat(300) } }], /ENAMETOOLONG/],
    ];
    for (const [entries, message] of bad) assert.throws(() => fixture.unpack(...entries), { message });
  });
});
