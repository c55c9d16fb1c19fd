import assert from "node:assert/strict";
import { test } from "node:test";
import { mapInSlices } from "../../../src/stats/time-slices.ts";

test("`mapInSlices()` keeps the order and lets others run in between", async () => {
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  const busy = (value: number): number => {
    const end = performance.now() + 6;
    while (performance.now() < end);
    return value * 2;
  };
  assert.deepEqual(await mapInSlices([1, 2, 3, 4, 5, 6], busy), [2, 4, 6, 8, 10, 12]);
  clearInterval(timer);
  assert.ok(turns > 0);
  assert.deepEqual(await mapInSlices([1, 2], (value) => Promise.resolve(value)), [1, 2]);
});
