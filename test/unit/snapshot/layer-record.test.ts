import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { readLayerRecord, writeLayerRecord } from "../../../src/snapshot/layer-record.ts";

const directory = mkdtempSync(join(tmpdir(), "cricket-layer-record-"));
after(() => rmSync(directory, { recursive: true }));

const record = { diffId: `sha256:${"a".repeat(64)}`, usage: { bytes: 8192, inodes: 2 } };

describe("readLayerRecord()", () => {
  test("reads what writeLayerRecord() wrote", () => {
    const path = join(directory, "good.json");
    writeLayerRecord(path, record);
    assert.deepEqual(readLayerRecord(path), record);
  });

  test("takes nothing that is missing, cut or of another form", () => {
    const texts = [
      "",
      "{",
      "null",
      "[]",
      JSON.stringify({ version: 2, ...record }),
      JSON.stringify({ version: 1, diffId: record.diffId }),
      JSON.stringify({ version: 1, ...record, diffId: "sha256:short" }),
      JSON.stringify({ version: 1, ...record, usage: { bytes: "8192", inodes: 2 } }),
    ];
    texts.forEach((text, i) => {
      const path = join(directory, `bad-${i}.json`);
      writeFileSync(path, text);
      assert.throws(() => readLayerRecord(path), { code: "internal" }, text);
    });
    assert.throws(() => readLayerRecord(join(directory, "none.json")), { code: "internal" });
  });
});
