import assert from "node:assert/strict";
import test from "node:test";
import { findTool, runTool } from "../../../src/linux/run-tool.ts";

test("`findTool()` finds system programs and nothing of another directory", () => {
  assert.match(findTool("sh") ?? "", /\/bin\/sh$/);
  assert.equal(findTool("no-such-tool"), undefined);
});

test("`runTool()` passes input, and fails with what the tool says", async () => {
  await runTool("/bin/sh", ["-c", 'read line; [ "$line" = hello ]'], "hello\n");
  await assert.rejects(
    runTool("/bin/sh", ["-c", "echo 'bad  thing' >&2; exit 3"]),
    /^CricketError: .*: bad thing$/,
  );
  await assert.rejects(runTool("/bin/sh", ["-c", "exit 3"]), /exit status 3$/);
});

test("`runTool()` survives a tool that does not read its input", async () => {
  await runTool("/bin/true", [], "x".repeat(1 << 20));
});

test("`runTool()` rejects where the tool is missing", async () => {
  await assert.rejects(runTool("/no/such/tool", []), { code: "ENOENT" });
});

test("`runTool()` keeps the environment from the tool", async () => {
  await runTool("/bin/sh", ["-c", '[ -z "$HOME" ]']);
});
