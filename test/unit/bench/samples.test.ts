import assert from "node:assert/strict";
import { test } from "node:test";
import { Samples, summarize } from "../../bench/samples.ts";

test("`summarize()` gives the smallest values that cover half, nine tenths and 99 of a hundred", () => {
  const times = Array.from({ length: 100 }, (_, index) => 100 - index);
  assert.deepEqual(summarize(times), { count: 100, min: 1, median: 50, p90: 90, p99: 99, max: 100 });
});

test("`summarize()` of one value is that value", () => {
  assert.deepEqual(summarize([7]), { count: 1, min: 7, median: 7, p90: 7, p99: 7, max: 7 });
});

test("`Samples.time()` keeps no warm-up round and passes results on", async () => {
  const samples = new Samples();
  assert.equal(await samples.time(undefined, () => Promise.resolve(1)), 1);
  assert.equal(await samples.time("call", () => Promise.resolve(2)), 2);
  assert.deepEqual([...samples.summaries().keys()], ["call"]);
});
