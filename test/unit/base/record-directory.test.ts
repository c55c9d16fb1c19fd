import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { newId } from "../../../src/base/ids.ts";
import { RecordDirectory } from "../../../src/base/record-directory.ts";

interface Sample {
  version: number;
  id: string;
  value: unknown;
}

function withDirectory(body: (records: RecordDirectory<Sample>) => void): void {
  const root = mkdtempSync(join(tmpdir(), "cricket-records-"));
  try {
    body(new RecordDirectory<Sample>(root, { version: 1, durable: false }));
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

test("`create()` and `load()` keep 64-bit integers and bytes", () => {
  withDirectory((records) => {
    const record = { version: 1, id: newId(), value: { big: 2n ** 63n - 1n, bytes: Buffer.from([0, 255]) } };
    records.create(record);
    assert.deepEqual(records.load(), { records: [record], orphans: [] });
  });
});

test("`create()` leaves no directory when the record cannot be written", () => {
  withDirectory((records) => {
    const circular: { self?: unknown } = {};
    circular.self = circular;
    assert.throws(() => records.create({ version: 1, id: newId(), value: circular }));
    assert.deepEqual(readdirSync(records.root), []);
  });
});

test("`load()` names directories without a usable record, and skips what is no object", () => {
  withDirectory((records) => {
    const [empty, broken, old] = [newId(), newId(), newId()];
    for (const id of [empty, broken, old]) mkdirSync(records.directory(id));
    writeFileSync(join(records.directory(broken), "record.json"), '{"version":1,');
    writeFileSync(join(records.directory(old), "record.json"), JSON.stringify({ version: 0, id: old }));
    mkdirSync(join(records.root, "not-an-id"));
    assert.deepEqual(records.load().records, []);
    assert.deepEqual(records.load().orphans.sort(), [empty, broken, old].sort());
  });
});
