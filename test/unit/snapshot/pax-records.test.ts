import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseDecimal, parsePaxRecords, parsePaxTime } from "../../../src/snapshot/pax-records.ts";
import { paxRecord } from "../../support/tar-archive.ts";

describe("parsePaxRecords()", () => {
  test("keeps any bytes of a value and the order of records", () => {
    const key = fc.stringMatching(/^[A-Za-z.]{1,120}$/);
    const value = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
    fc.assert(
      fc.property(fc.array(fc.tuple(key, value)), (records) => {
        const bytes = Buffer.concat(records.map(([name, content]) => paxRecord(name, content)));
        assert.deepEqual(parsePaxRecords(bytes), records);
      }),
    );
  });

  test("accepts padding with NUL behind the records", () => {
    const bytes = Buffer.concat([paxRecord("path", "x"), Buffer.alloc(20)]);
    assert.deepEqual(parsePaxRecords(bytes), [["path", Buffer.from("x")]]);
  });

  test("rejects records that are not what their length says", () => {
    const bad = [
      "x",
      "5 a=b",
      "6 a=b\n7",
      "99 a=b\n",
      "5 a=b\n",
      "3 \n",
      "6 a-b\n",
      "0 a=b\n",
      "-6 a=b\n",
      " 6 a=b\n",
      "4 =\n6 a=b\n9",
    ];
    for (const text of bad)
      assert.throws(() => parsePaxRecords(Buffer.from(text)), { code: "failed-precondition" }, text);
  });

  test("never throws anything but its own error", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          parsePaxRecords(Buffer.from(bytes));
        } catch (error) {
          assert.equal((error as { code: string }).code, "failed-precondition");
        }
      }),
    );
  });
});

describe("parsePaxTime()", () => {
  test("is exact to the nanosecond on both sides of 1970", () => {
    assert.deepEqual(parsePaxTime("1700000000"), { seconds: 1_700_000_000n, nanoseconds: 0 });
    assert.deepEqual(parsePaxTime("1.5"), { seconds: 1n, nanoseconds: 500_000_000 });
    assert.deepEqual(parsePaxTime("1.0000000019"), { seconds: 1n, nanoseconds: 1 });
    assert.deepEqual(parsePaxTime("-1.25"), { seconds: -2n, nanoseconds: 750_000_000 });
    assert.deepEqual(parsePaxTime("-3"), { seconds: -3n, nanoseconds: 0 });
  });

  test("rejects what is no number", () => {
    for (const text of ["", "x", "1e9", "1.2.3", "0x10", "9".repeat(30)])
      assert.throws(() => parsePaxTime(text), { code: "failed-precondition" }, text);
  });
});

test("parseDecimal() rejects what a number cannot hold", () => {
  assert.equal(parseDecimal("9007199254740991", "size"), Number.MAX_SAFE_INTEGER);
  for (const text of ["9007199254740992", "-1", "", "1.5", "1e3", " 1"])
    assert.throws(() => parseDecimal(text, "size"), { code: "failed-precondition" }, text);
});
