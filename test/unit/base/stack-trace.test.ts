import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { buildSync } from "esbuild";
import { stackOf } from "../../../src/base/stack-trace.ts";

/** A built file that exports `fail()`; the source throws in its line 3. */
function buildFailing(directory: string): () => never {
  writeFileSync(
    join(directory, "failing.ts"),
    "interface Unused { field: string }\nexport function fail(): never {\n  throw new Error('as wanted');\n}\n",
  );
  buildSync({
    entryPoints: [join(directory, "failing.ts")],
    outfile: join(directory, "failing.cjs"),
    format: "cjs",
    sourcemap: "external",
    minifyWhitespace: true,
  });
  const require = createRequire(import.meta.url);
  return (require(join(directory, "failing.cjs")) as { fail: () => never }).fail;
}

test("`stackOf()` names source files and lines where there is a source map", () => {
  const directory = mkdtempSync(join(tmpdir(), "cricket-stack-"));
  try {
    assert.throws(buildFailing(directory), (error) => {
      const [message, frame] = stackOf(error).split("\n");
      assert.equal(message, "Error: as wanted");
      assert.match(frame ?? "", /at .*fail.* \(failing\.ts:3:9\)$/);
      return true;
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("`stackOf()` leaves a trace without maps as it is, and takes what is no error", () => {
  const error = new Error("plain");
  assert.equal(stackOf(error), error.stack);
  assert.equal(stackOf("text"), "text");
});
