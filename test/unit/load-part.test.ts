import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Script } from "node:vm";
import { loadPart } from "../../src/load-part.ts";

const directory = mkdtempSync(join(tmpdir(), "cricket-part-"));
after(() => rmSync(directory, { recursive: true }));
const require = createRequire(import.meta.url);

/** A part as scripts/bundle.mjs makes them. */
function writePart(name: string, body: string, cache?: Uint8Array): void {
  writeFileSync(
    join(directory, `${name}.cjs`),
    `(function (require, module, __filename, __dirname) {${body}})`,
  );
  if (cache !== undefined) writeFileSync(join(directory, `${name}.cjs.cache`), cache);
}

test("`loadPart()` returns what the part exports, and tells it where it lies", () => {
  writePart("plain", `module.exports = { base: require("node:path").basename(__filename), __dirname };`);
  assert.deepEqual(loadPart(directory, "plain", require), { base: "plain.cjs", __dirname: directory });
});

test("`loadPart()` takes the code cache, and does without one that is of another program or broken", () => {
  const body = `module.exports = { answer: () => 42 };`;
  writePart("cached", body);
  const source = `(function (require, module, __filename, __dirname) {${body}})`;
  const good = new Script(source, { filename: join(directory, "cached.cjs") }).createCachedData();
  const other = new Script("(function () { return 1; })").createCachedData();
  for (const cache of [good, other, good.subarray(0, good.length / 2), new Uint8Array(3)]) {
    writePart("cached", body, cache);
    const part = loadPart(directory, "cached", require) as { answer: () => number };
    assert.equal(part.answer(), 42);
  }
});
