import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { pack } from "tar-stream";
import type { TarEntry } from "../../../src/snapshot/tar-entry.ts";
import { TarReader } from "../../../src/snapshot/tar-reader.ts";
import { gnuLong, paxHeader, tarArchive, tarEntry, type TestEntry } from "../../support/tar-archive.ts";

interface Read extends TarEntry {
  data: Buffer;
}

function readTar(archive: Buffer, chunkBytes = archive.length, maxEntries = 1000): Read[] {
  const entries: Read[] = [];
  let current: Read | undefined;
  const reader = new TarReader(
    {
      entry: (entry) => {
        current = { ...entry, data: Buffer.alloc(0) };
      },
      data: (bytes) => {
        assert.ok(current !== undefined);
        current.data = Buffer.concat([current.data, bytes]);
      },
      endOfEntry: () => {
        assert.ok(current !== undefined);
        entries.push(current);
        current = undefined;
      },
    },
    maxEntries,
  );
  for (let at = 0; at < archive.length; at += chunkBytes) reader.push(archive.subarray(at, at + chunkBytes));
  reader.finish();
  return entries;
}

function only(...parts: Buffer[]): Read {
  const [entry, ...more] = readTar(Buffer.concat([...parts, Buffer.alloc(1024)]));
  assert.ok(entry !== undefined);
  assert.equal(more.length, 0);
  return entry;
}

const badArchive = (message: RegExp): { code: string; message: RegExp } => ({
  code: "failed-precondition",
  message,
});

describe("TarReader", () => {
  test("reads what tar-stream packs, however the stream is cut", async () => {
    const packer = pack();
    packer.entry({ name: "dir", type: "directory", mode: 0o750, uid: 7, gid: 8 });
    packer.entry({ name: "dir/file", mode: 0o640, mtime: new Date(1_234_567_000) }, Buffer.alloc(1500, "x"));
    packer.entry({ name: "dir/link", type: "symlink", linkname: "../target" });
    packer.entry({ name: `${"long/".repeat(60)}name`, size: 2 }, "hi");
    packer.entry({ name: "null", type: "character-device", devmajor: 1, devminor: 3 });
    packer.finalize();
    const chunks: Buffer[] = [];
    for await (const chunk of packer) chunks.push(chunk as Buffer);
    const archive = Buffer.concat(chunks);
    const whole = readTar(archive);
    assert.deepEqual(
      whole.map(({ type, name, mode, data }) => [type, name, mode, data.length]),
      [
        ["directory", "dir", 0o750, 0],
        ["file", "dir/file", 0o640, 1500],
        ["symlink", "dir/link", 0o644, 0],
        ["file", `${"long/".repeat(60)}name`, 0o644, 2],
        ["character-device", "null", 0o644, 0],
      ],
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1100 }), (chunkBytes) => {
        assert.deepEqual(readTar(archive, chunkBytes), whole);
      }),
      { numRuns: 30 },
    );
  });

  test("lets pax records win over the header and keeps binary attributes", () => {
    const capability = Buffer.from([1, 0, 0, 2, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    const entry = only(
      tarEntry({
        name: "short",
        data: "data",
        pax: {
          path: "pax/päth",
          uid: "3000000000",
          gid: "5",
          mtime: "12.000000345",
          "SCHILY.xattr.security.capability": capability,
          "SCHILY.xattr.user.empty": "",
        },
      }),
    );
    assert.equal(Buffer.from(entry.name, "latin1").toString(), "pax/päth");
    assert.deepEqual([entry.uid, entry.gid], [3_000_000_000, 5]);
    assert.deepEqual(entry.modifiedAt, { seconds: 12n, nanoseconds: 345 });
    assert.deepEqual(
      [...entry.xattrs],
      [
        ["security.capability", capability],
        ["user.empty", Buffer.alloc(0)],
      ],
    );
  });

  test("takes the size from pax, for files beyond the octal field", () => {
    assert.equal(
      only(tarEntry({ name: "f", data: "hello", size: 0, pax: { size: "5" } })).data.toString(),
      "hello",
    );
  });

  test("applies GNU long names to the next entry only", () => {
    const archive = Buffer.concat([
      gnuLong("L", "n".repeat(300)),
      gnuLong("K", "t".repeat(200)),
      tarEntry({ name: "cut", type: "2", linkName: "cut" }),
      tarEntry({ name: "next" }),
    ]);
    const names = readTar(archive).map(({ name, linkName }) => [name, linkName]);
    assert.deepEqual(names, [
      ["n".repeat(300), "t".repeat(200)],
      ["next", ""],
    ]);
  });

  test("keeps names that are no valid UTF-8 byte for byte", () => {
    const bytes = Buffer.from([0x66, 0xff, 0xc3, 0x28]);
    assert.deepEqual(Buffer.from(only(tarEntry({ name: bytes })).name, "latin1"), bytes);
    assert.deepEqual(Buffer.from(only(tarEntry({ name: "x", pax: { path: bytes } })).name, "latin1"), bytes);
  });

  test("ignores global pax headers", () => {
    const entry = only(paxHeader({ comment: "abc", path: "evil" }, "g"), tarEntry({ name: "good" }));
    assert.equal(entry.name, "good");
  });

  test("takes the old form of a directory, and old headers without a magic", () => {
    assert.equal(only(tarEntry({ name: "dir/", type: "\0" })).type, "directory");
    const v7 = tarEntry({ name: "file", type: "\0", patch: (block) => block.fill(0, 257, 265) });
    assert.equal(only(v7).type, "file");
  });

  // Two readers that disagree on where the next header is see two different archives.
  test("expects no data behind links and devices, whatever their size says", () => {
    const archive = tarArchive(
      { name: "l", type: "1", linkName: "a", size: 512 },
      { name: "s", type: "2", linkName: "a", size: 1024 },
      { name: "d", type: "5", size: 512 },
      { name: "f", data: "x" },
    );
    assert.deepEqual(
      readTar(archive).map(({ name }) => name),
      ["l", "s", "d", "f"],
    );
  });

  test("reads base 256 numbers", () => {
    const entry = only(
      tarEntry({
        name: "f",
        patch: (block) => {
          block.fill(0, 108, 116);
          block[108] = 0x80;
          block.writeUInt32BE(4_000_000_000, 112);
        },
      }),
    );
    assert.equal(entry.uid, 4_000_000_000);
  });

  test("accepts an empty archive and one without an end", () => {
    assert.deepEqual(readTar(Buffer.alloc(1024)), []);
    assert.deepEqual(readTar(Buffer.alloc(0)), []);
    const entry = tarEntry({ name: "f", data: "x" });
    assert.equal(readTar(entry).length, 1);
    // As `umoci insert` leaves it, which never closes its archive: without the padding of the last file.
    for (const length of [513, 1023]) assert.equal(readTar(entry.subarray(0, length)).length, 1);
  });

  test("rejects an archive that is cut anywhere else", () => {
    const archive = Buffer.concat([gnuLong("L", "name"), tarEntry({ name: "f", data: "x".repeat(600) })]);
    for (const length of [1, 511, 513, 1024, 1025, 1536 + 1, 1536 + 513, 1536 + 599])
      assert.throws(() => readTar(archive.subarray(0, length)), badArchive(/truncated/), String(length));
  });

  test("rejects data behind the end", () => {
    const archive = Buffer.concat([tarArchive({ name: "f" }), tarEntry({ name: "hidden" })]);
    assert.throws(() => readTar(archive), badArchive(/behind the end/));
  });

  test("rejects a wrong checksum", () => {
    const archive = tarArchive({ name: "f" });
    archive[0] = 0x67;
    assert.throws(() => readTar(archive), badArchive(/not a tar header/));
  });

  const bad: [string, TestEntry, RegExp][] = [
    ["unknown types, naming the entry", { name: "odd", type: "Z" }, /"odd": unknown type "Z"/],
    ["multi-volume continuations", { name: "cont", type: "M" }, /unknown type/],
    [
      "an owner that chown(2) takes as 'leave it'",
      { name: "f", pax: { uid: "4294967295" } },
      /owner out of range/,
    ],
    ["an owner beyond 32 bits", { name: "f", pax: { gid: "4294967296" } }, /owner out of range/],
    ["a negative size", { name: "f", pax: { size: "-5" } }, /bad number/],
    ["a size beyond 2^53", { name: "f", pax: { size: "99999999999999999" } }, /bad number/],
    ["NUL in a path", { name: "f", pax: { path: "a\0b" } }, /NUL/],
    ["NUL in a link", { name: "f", type: "2", pax: { linkpath: "a\0b" } }, /NUL/],
    ["letters in a number", { name: "f", patch: (b) => b.write("zz", 124) }, /bad size/],
    ["an extension header of more than 1 MiB", { name: "f", type: "L", size: 2 ** 21 }, /too long/],
  ];
  for (const [what, entry, message] of bad)
    test(`rejects ${what}`, () => assert.throws(() => readTar(tarArchive(entry)), badArchive(message)));

  test("rejects more entries than allowed, extension headers included", () => {
    const archive = tarArchive({ name: "a" }, { name: "b" }, { name: "c", pax: { mtime: "1" } });
    assert.equal(readTar(archive, archive.length, 4).length, 3);
    assert.throws(() => readTar(archive, archive.length, 3), badArchive(/more than 3 entries/));
  });

  test("never throws anything but its own error for a damaged archive", () => {
    const archive = Buffer.concat([
      tarEntry({
        name: "f",
        data: "hello",
        pax: { mtime: "1.5", "GNU.sparse.map": "0,5", "GNU.sparse.size": "5" },
      }),
      gnuLong("L", "long"),
      tarEntry({ name: "x", type: "2", linkName: "y" }),
    ]);
    const change = fc.tuple(fc.nat(archive.length - 1), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
        const damaged = Buffer.from(archive);
        for (const [at, value] of changes) damaged[at] = value;
        for (let at = 0; at < damaged.length; at += 512) fixChecksum(damaged.subarray(at, at + 512));
        try {
          readTar(damaged);
        } catch (error) {
          assert.equal((error as { code?: string }).code, "failed-precondition", String(error));
        }
      }),
    );
  });
});

function fixChecksum(block: Buffer): void {
  if (block.toString("latin1", 257, 262) !== "ustar") return;
  block.fill(" ", 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
}
