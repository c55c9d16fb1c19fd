import assert from "node:assert/strict";
import { test } from "node:test";
import { hasCode } from "../../../src/base/errors.ts";
import { RequestTokens } from "../../../src/streaming/request-tokens.ts";

test("`take()` gives a request once", () => {
  const tokens = new RequestTokens<string>();
  const token = tokens.issue("request");
  assert.match(token, /^[\w-]{24}$/);
  assert.equal(tokens.take(`${token}x`), undefined);
  assert.equal(tokens.take(token), "request");
  assert.equal(tokens.take(token), undefined);
});

test("`take()` gives nothing after a minute", () => {
  let nowMs = 0;
  const tokens = new RequestTokens<string>(() => nowMs);
  const early = tokens.issue("early");
  nowMs = 30_000;
  const late = tokens.issue("late");
  nowMs = 60_000;
  assert.equal(tokens.take(early), undefined);
  assert.equal(tokens.take(late), "late");
});

test("`issue()` keeps at most a thousand, and has room again when they expire", () => {
  let nowMs = 0;
  const tokens = new RequestTokens<number>(() => nowMs);
  for (let index = 0; index < 1000; index++) tokens.issue(index);
  assert.throws(
    () => tokens.issue(1000),
    (error) => hasCode(error, "resource-exhausted"),
  );
  nowMs = 60_000;
  assert.doesNotThrow(() => tokens.issue(1001));
});
