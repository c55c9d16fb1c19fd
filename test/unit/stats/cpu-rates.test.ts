import assert from "node:assert/strict";
import { test } from "node:test";
import { CpuRates } from "../../../src/stats/cpu-rates.ts";

const ms = 1_000_000n;

function clock() {
  let now = 5_000_000n * ms;
  return { now: () => now, pass: (milliseconds: bigint) => (now += milliseconds * ms) };
}

test("`record()` tells nothing at first, then what was used per second", () => {
  const time = clock();
  const rates = new CpuRates(time.now);
  assert.equal(rates.record("/a", 100n * ms), undefined);
  time.pass(2000n);
  assert.equal(rates.record("/a", 1100n * ms), 500_000_000n);
});

test("`record()` does not measure over less than a tenth of a second", () => {
  const time = clock();
  const rates = new CpuRates(time.now);
  rates.record("/a", 0n);
  time.pass(10n);
  assert.equal(rates.record("/a", 10n * ms), undefined);
  time.pass(90n);
  assert.equal(rates.record("/a", 100n * ms), 1_000_000_000n);
});

test("a second caller right after the first gets a rate over the same window", () => {
  const time = clock();
  const rates = new CpuRates(time.now);
  rates.record("/a", 0n);
  time.pass(10_000n);
  assert.equal(rates.record("/a", 1000n * ms), 100_000_000n);
  time.pass(1n);
  assert.equal(rates.record("/a", 1000n * ms), 99_990_000n);
});

test("callers who ask often still get a window of a second", () => {
  const time = clock();
  const rates = new CpuRates(time.now);
  rates.record("/a", 0n);
  let used = 0n;
  for (let step = 0; step < 30; step++) {
    time.pass(200n);
    used += 50n * ms;
    assert.equal(rates.record("/a", used), 250_000_000n);
  }
});

test("a counter that went back is another cgroup", () => {
  const time = clock();
  const rates = new CpuRates(time.now);
  rates.record("/a", 1000n * ms);
  time.pass(1000n);
  assert.equal(rates.record("/a", 1n * ms), undefined);
  time.pass(1000n);
  assert.equal(rates.record("/a", 2n * ms), 1_000_000n);
});

test("what nobody asks for is forgotten", () => {
  const time = clock();
  const rates = new CpuRates(time.now);
  for (let index = 0; index < 100; index++) rates.record(`/${index}`, 0n);
  time.pass(601_000n);
  rates.record("/new", 0n);
  assert.equal(rates.size, 1);
});
