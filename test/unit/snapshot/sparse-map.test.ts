import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { SparseMap, TarEntry } from "../../../src/snapshot/tar-entry.ts";
import { TarReader } from "../../../src/snapshot/tar-reader.ts";
import { tarArchive, type TestEntry } from "../../support/tar-archive.ts";

function readSparse(entry: TestEntry): { sparse: SparseMap | undefined; name: string; data: string } {
  let found: TarEntry | undefined;
  let data = "";
  const reader = new TarReader(
    {
      entry: (seen) => {
        found = seen;
      },
      data: (bytes) => {
        data += Buffer.from(bytes).toString();
      },
      endOfEntry: () => {},
    },
    100,
  );
  reader.push(tarArchive(entry));
  reader.finish();
  assert.ok(found !== undefined);
  return { sparse: found.sparse, name: found.name, data };
}

const map: SparseMap = {
  sizeBytes: 1_000_000,
  segments: [
    { offset: 0, length: 3 },
    { offset: 500_000, length: 4 },
  ],
};
const expected = { sparse: map, name: "real", data: "abcdefg" };

describe("sparse files", () => {
  test("in GNU's old form, with a block of segments behind the header", () => {
    const octal = (value: number): string => `${value.toString(8).padStart(11, "0")}\0`;
    const pairs = [...map.segments, { offset: 1_000_000, length: 0 }, { offset: 1_000_000, length: 0 }];
    const extension = Buffer.alloc(512);
    extension.write(octal(1_000_000) + octal(0), 0);
    const result = readSparse({
      name: "real",
      type: "S",
      size: 7,
      data: Buffer.concat([extension, Buffer.from("abcdefg")]),
      patch: (block) => {
        block.write("ustar  \0", 257);
        block.fill(0, 345, 512);
        pairs.forEach(({ offset, length }, i) => block.write(octal(offset) + octal(length), 386 + i * 24));
        block[482] = 1;
        block.write(octal(map.sizeBytes), 483);
      },
    });
    assert.deepEqual(result, expected);
  });

  test("in pax format 0.0: a pair of records for each segment", () => {
    const pax: [string, string][] = [
      ["GNU.sparse.size", "1000000"],
      ["GNU.sparse.numblocks", "2"],
      ["GNU.sparse.offset", "0"],
      ["GNU.sparse.numbytes", "3"],
      ["GNU.sparse.offset", "500000"],
      ["GNU.sparse.numbytes", "4"],
    ];
    assert.deepEqual(readSparse({ name: "real", data: "abcdefg", pax }), expected);
  });

  test("in pax format 0.1: one list", () => {
    const pax = {
      "GNU.sparse.size": "1000000",
      "GNU.sparse.numblocks": "2",
      "GNU.sparse.name": "real",
      "GNU.sparse.map": "0,3,500000,4",
    };
    assert.deepEqual(readSparse({ name: "GNUSparseFile.1/real", data: "abcdefg", pax }), expected);
  });

  const version1 = {
    "GNU.sparse.major": "1",
    "GNU.sparse.minor": "0",
    "GNU.sparse.name": "real",
    "GNU.sparse.realsize": "1000000",
  };

  test("in pax format 1.0: the map in front of the data", () => {
    const data = `${"2\n0\n3\n500000\n4\n".padEnd(512, "\0")}abcdefg`;
    assert.deepEqual(readSparse({ name: "GNUSparseFile.1/real", data, pax: version1 }), expected);
  });

  test("in pax format 1.0 with a map of several blocks", () => {
    const segments = Array.from({ length: 200 }, (_, i) => ({ offset: i * 1000, length: 1 }));
    const lines = [segments.length, ...segments.flatMap(({ offset, length }) => [offset, length])];
    const text = `${lines.join("\n")}\n`;
    const data = text.padEnd(Math.ceil(text.length / 512) * 512, "\0") + "x".repeat(200);
    const result = readSparse({ name: "f", data, pax: version1 });
    assert.deepEqual(result.sparse, { sizeBytes: 1_000_000, segments });
    assert.equal(result.data, "x".repeat(200));
  });

  const size = { "GNU.sparse.size": "100" };
  const bad: [string, Record<string, string>, string][] = [
    ["segments that overlap", { ...size, "GNU.sparse.map": "0,5,4,3" }, "abcdefgh"],
    ["segments out of order", { ...size, "GNU.sparse.map": "50,4,0,4" }, "abcdefgh"],
    ["segments beyond the file", { ...size, "GNU.sparse.map": "98,8" }, "abcdefgh"],
    ["a map of less than the data", { ...size, "GNU.sparse.map": "0,7" }, "abcdefgh"],
    ["a map of more than the data", { ...size, "GNU.sparse.map": "0,9" }, "abcdefgh"],
    ["an offset without a length", { ...size, "GNU.sparse.map": "0,8,9" }, "abcdefgh"],
    ["a map of words", { ...size, "GNU.sparse.map": "0,eight" }, "abcdefgh"],
    ["no size", { "GNU.sparse.map": "0,8" }, "abcdefgh"],
    ["a format of the future", { ...size, "GNU.sparse.major": "2" }, "abcdefgh"],
    ["a 1.0 map that never ends", version1, "9\n0\n".padEnd(512, "\0")],
    ["a 1.0 map with a huge count", version1, "99999999\n".padEnd(512, "\0")],
    ["a 1.0 map without a block", version1, ""],
  ];
  for (const [what, pax, data] of bad)
    test(`with ${what} are rejected`, () =>
      assert.throws(() => readSparse({ name: "f", data, pax }), { code: "failed-precondition" }));
});
