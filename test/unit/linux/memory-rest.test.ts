import assert from "node:assert/strict";
import test from "node:test";
import { MemoryRest, type MemoryUse } from "../../../src/linux/memory-rest.ts";

const mib = 2 ** 20;

/** A process of 50 MiB that has more after work, and after a release as much as it needs. */
class Process implements MemoryUse {
  resident = 50 * mib;
  needed = 50 * mib;
  busy = 0;
  releases = 0;

  residentBytes(): number {
    return this.resident;
  }

  busyShare(): number {
    return this.busy;
  }

  release(): Promise<void> {
    this.releases++;
    this.resident = this.needed;
    return Promise.resolve();
  }
}

async function looks(rest: MemoryRest, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await rest.look();
}

test("`MemoryRest` leaves a process alone that has not grown", async () => {
  const process = new Process();
  const rest = new MemoryRest(process);
  process.resident += 5 * mib;
  await looks(rest, 20);
  assert.equal(process.releases, 0);
});

test("`MemoryRest` gives back twice what work has left, once the work is over", async () => {
  const process = new Process();
  const rest = new MemoryRest(process);
  process.resident += 30 * mib;
  process.busy = 0.5;
  await looks(rest, 5);
  assert.equal(process.releases, 0);
  process.busy = 0.01;
  await rest.look();
  assert.equal(process.releases, 1);
  assert.equal(process.resident, 50 * mib);
  await looks(rest, 20);
  assert.equal(process.releases, 2);
});

test("`MemoryRest` does not wait for a rest with a great deal, but for a moment without overload", async () => {
  const process = new Process();
  const rest = new MemoryRest(process);
  process.resident += 100 * mib;
  process.busy = 0.9;
  await looks(rest, 5);
  assert.equal(process.releases, 0);
  process.busy = 0.5;
  await looks(rest, 20);
  assert.equal(process.releases, 1);
});

test("`MemoryRest` takes what a release could not give back as needed", async () => {
  const process = new Process();
  const rest = new MemoryRest(process);
  process.resident = process.needed = 200 * mib;
  await looks(rest, 20);
  assert.equal(process.releases, 2);
  process.resident += 100 * mib;
  await looks(rest, 20);
  assert.equal(process.releases, 4);
});
