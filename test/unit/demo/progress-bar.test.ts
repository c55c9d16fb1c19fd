import assert from "node:assert/strict";
import { test } from "node:test";
import { formatProgress } from "../../../demo/progress-bar.ts";

test("`formatProgress()` shows the share and the megabytes", () => {
  const half = formatProgress({ doneBytes: 5_000_000, totalBytes: 10_000_000 });
  assert.equal(half, `[${"#".repeat(15)}${".".repeat(15)}] 5.0 of 10.0 MB`);
});

test("`formatProgress()` is empty while the size is not known, and never overflows", () => {
  assert.equal(formatProgress({ doneBytes: 0, totalBytes: 0 }), `[${".".repeat(30)}] 0.0 of 0.0 MB`);
  assert.equal(formatProgress({ doneBytes: 3e6, totalBytes: 2e6 }), `[${"#".repeat(30)}] 3.0 of 2.0 MB`);
});
