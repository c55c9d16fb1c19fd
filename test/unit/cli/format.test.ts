import assert from "node:assert/strict";
import { test } from "node:test";
import { durationMs, pointInTimeNs, wholeSeconds } from "../../../src/cli/duration.ts";
import { UsageError } from "../../../src/cli/command.ts";
import { formatAge, formatBytes, formatTime, shortDigest } from "../../../src/cli/format.ts";
import { renderTable } from "../../../src/cli/table.ts";

test("`formatBytes()` shows three digits and decimal units", () => {
  const shown = [0n, 999n, 1000n, 1234n, 12_345n, 999_499n, 999_500n, 10n ** 9n, 2n ** 64n - 1n].map(
    formatBytes,
  );
  assert.deepEqual(shown, [
    "0B",
    "999B",
    "1.00kB",
    "1.23kB",
    "12.3kB",
    "999kB",
    "1.00MB",
    "1.00GB",
    "18.4EB",
  ]);
});

test("`formatAge()` counts the largest unit", () => {
  const now = 1_000_000_000_000;
  const ago = (seconds: number): string => formatAge(BigInt(now - seconds * 1000) * 1_000_000n, now);
  assert.deepEqual([0, 1, 59, 60, 7200, 86_400 * 3].map(ago), [
    "0 seconds ago",
    "1 second ago",
    "59 seconds ago",
    "1 minute ago",
    "2 hours ago",
    "3 days ago",
  ]);
  assert.equal(formatAge(0n, now), "");
  assert.equal(ago(-5), "0 seconds ago");
});

test("`formatTime()` keeps nanoseconds", () => {
  assert.equal(formatTime(1_700_000_000_123_456_789n), "2023-11-14T22:13:20.123456789Z");
  assert.equal(formatTime(0n), "");
});

test("`shortDigest()` shows 12 digits", () => {
  assert.equal(shortDigest(`sha256:${"ab".repeat(32)}`), "abababababab");
});

test("`renderTable()` aligns columns and ends lines without blanks", () => {
  assert.equal(
    renderTable(
      ["A", "B"],
      [
        ["long", ""],
        ["x", "y"],
      ],
    ),
    "A     B\nlong\nx     y\n",
  );
});

test("`durationMs()` reads units and combinations, and refuses the rest", () => {
  assert.deepEqual(
    ["5", "1.5", "10ms", "90s", "1h30m", "2d", "0s"].map((text) => durationMs(text, "--x")),
    [5000, 1500, 10, 90_000, 5_400_000, 172_800_000, 0],
  );
  for (const text of ["", "-1", "5x", "m", "1 h", "1e3"])
    assert.throws(() => durationMs(text, "--x"), UsageError, text);
});

test("`pointInTimeNs()` reads RFC 3339 and durations before now", () => {
  assert.equal(pointInTimeNs("2023-11-14T22:13:20Z", 0, "--since"), 1_700_000_000_000_000_000n);
  assert.equal(pointInTimeNs("10s", 60_000, "--since"), 50_000_000_000n);
  assert.throws(() => pointInTimeNs("2023-99-99", 0, "--since"), UsageError);
});

test("`wholeSeconds()` refuses what is no number of seconds", () => {
  assert.equal(wholeSeconds("10", "--time"), 10);
  for (const text of ["", "-1", "1.5", "x", "9999999999"])
    assert.throws(() => wholeSeconds(text, "--time"), UsageError, text);
});
