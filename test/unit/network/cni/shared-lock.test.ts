import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { SharedLock } from "../../../../src/network/cni/shared-lock.ts";

test("`SharedLock` lets sharers run together and an owner alone", async () => {
  const lock = new SharedLock();
  const events: string[] = [];
  const release: Record<string, () => void> = {};
  const work = (name: string) => async (): Promise<string> => {
    events.push(`${name} begins`);
    await new Promise<void>((resolve) => (release[name] = resolve));
    events.push(`${name} ends`);
    return name;
  };
  const all = [lock.shared(work("a")), lock.shared(work("b"))];
  await setImmediate();
  all.push(lock.exclusive(work("gc")), lock.shared(work("c")));
  await setImmediate();
  assert.deepEqual(events, ["a begins", "b begins"]);
  release["a"]?.();
  await setImmediate();
  assert.equal(events.length, 3);
  release["b"]?.();
  await setImmediate();
  assert.equal(events.at(-1), "gc begins");
  release["gc"]?.();
  await setImmediate();
  assert.deepEqual(events.slice(-2), ["gc ends", "c begins"]);
  release["c"]?.();
  assert.deepEqual(await Promise.all(all), ["a", "b", "gc", "c"]);
});

test("`SharedLock` goes on after work that fails", async () => {
  const lock = new SharedLock();
  await assert.rejects(
    lock.shared(() => Promise.reject(new Error("one"))),
    /one/,
  );
  await assert.rejects(
    lock.exclusive(() => Promise.reject(new Error("two"))),
    /two/,
  );
  assert.equal(await lock.shared(() => Promise.resolve(3)), 3);
});
