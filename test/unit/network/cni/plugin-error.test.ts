import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { pluginErrorOf } from "../../../../src/network/cni/plugin-error.ts";

const failure = (stdout: string, stderr = "") =>
  pluginErrorOf({ what: "plugin x ADD", ending: "exit status 1", stdout, stderr });

test("`pluginErrorOf()` says code, message and details", () => {
  const error = failure(
    '{"cniVersion":"1.0.0","code":7,"msg":"bad\\nconfig","details":"no subnet"}',
    "noise",
  );
  assert.equal(error.message, "plugin x ADD: bad config; no subnet (code 7)");
  assert.deepEqual([error.code, error.pluginCode], ["internal", 7]);
});

for (const code of [11, 50, 51])
  test(`\`pluginErrorOf()\` tells that code ${code} may pass`, () => {
    assert.equal(failure(JSON.stringify({ code, msg: "later" })).code, "unavailable");
  });

for (const [what, stdout, stderr, message] of [
  ["standard error where there is no error object", "oops", "why\n", "plugin x ADD: exit status 1: why"],
  ["standard output where there is nothing else", "oops", "", "plugin x ADD: exit status 1: oops"],
  ["how it ended where it said nothing", "", "", "plugin x ADD: exit status 1"],
  ["an error without a message", '{"code":4}', "", "plugin x ADD: failed without a message (code 4)"],
  ["a code that is none", '{"code":"4","msg":"m"}', "", "plugin x ADD: m"],
] as const)
  test(`\`pluginErrorOf()\` uses ${what}`, () => {
    assert.equal(failure(stdout, stderr).message, message);
  });

test("`pluginErrorOf()` is bounded and printable whatever a plugin prints", () => {
  const text = fc.string({ unit: "binary", maxLength: 8000 });
  fc.assert(
    fc.property(
      fc.oneof(
        text,
        fc.json(),
        text.map((msg) => JSON.stringify({ msg, code: 1 })),
      ),
      text,
      (out, err) => {
        const { message } = failure(out, err);
        assert.ok(message.length < 2200 && !/\p{Cc}/u.test(message));
      },
    ),
  );
});
