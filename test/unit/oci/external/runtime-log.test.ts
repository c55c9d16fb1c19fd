import assert from "node:assert/strict";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { lastErrorOf, lastLoggedError, printable } from "../../../../src/oci/external/runtime-log.ts";

const line = (level: string, msg: string): string => JSON.stringify({ level, msg, time: "now" });

test("`lastErrorOf()` takes the last error, or the last message where nothing is worse", () => {
  const text = [line("error", "first"), line("error", "second"), line("warning", "after")].join("\n");
  assert.equal(lastErrorOf(text), "second");
  assert.equal(lastErrorOf(`${line("info", "a")}\n${line("warning", "b")}\n`), "b");
});

test("`lastErrorOf()` skips what is no message", () => {
  const text = `cut off"}\n${line("error", "real")}\n[1]\nnull\n{"msg":3}\n{"level":"error"}\npanic: x\n`;
  assert.equal(lastErrorOf(text), "real");
  assert.equal(lastErrorOf(""), undefined);
});

test("`lastErrorOf()` takes any text and gives one printable line", () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (before, msg) => {
      const found = lastErrorOf(`${before}\n${line("error", msg)}`);
      // oxlint-disable-next-line no-control-regex -- control characters are what must not be there
      if (found !== undefined) assert.doesNotMatch(found, /[\u0000-\u001f\u007f]/);
    }),
  );
});

test("`printable()` bounds the text", () => {
  assert.equal(printable(" a\n\u001b[31mb\t"), "a [31mb");
  assert.ok(printable("x".repeat(100_000)).length < 2100);
});

test("`lastLoggedError()` reads the end of a long log, and no link", (t) => {
  const directory = mkdtempSync(join(tmpdir(), "cricket-log-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const log = join(directory, "log");
  writeFileSync(log, `${line("debug", "noise")}\n`.repeat(5000) + line("error", "the end"));
  assert.equal(lastLoggedError(log), "the end");
  symlinkSync(log, join(directory, "link"));
  assert.equal(lastLoggedError(join(directory, "link")), undefined);
  assert.equal(lastLoggedError(join(directory, "none")), undefined);
});
