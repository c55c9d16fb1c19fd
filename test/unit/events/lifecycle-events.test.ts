import assert from "node:assert/strict";
import { test } from "node:test";
import { CricketError, hasCode } from "../../../src/base/errors.ts";
import { Log } from "../../../src/base/log.ts";
import type { ContainerRecord } from "../../../src/container/container-record.ts";
import { LifecycleEvents, type ContainerMoment } from "../../../src/events/lifecycle-events.ts";
import type { SandboxRecord } from "../../../src/sandbox/sandbox-record.ts";

const never = new AbortController().signal;

/** Of records the events use only ids. */
const sandbox = { record: { id: "pod" } as SandboxRecord, isReady: true };
const container = (id: string, state: ContainerMoment["state"] = "created"): ContainerMoment => ({
  record: { id, sandboxId: "pod" } as ContainerRecord,
  state,
});

function eventsOf(containers: ContainerMoment[] = [], queueLimit = 10) {
  const lines: string[] = [];
  const events = new LifecycleEvents({
    sandboxOf: (id) => (id === "pod" ? sandbox : undefined),
    containersOf: () => containers,
    log: new Log({ write: (line) => lines.push(line) }),
    queueLimit,
  });
  return { events, lines };
}

test("every subscriber gets every event, in the order in which they happened", async () => {
  const { events } = eventsOf();
  using first = events.subscribe();
  using second = events.subscribe();
  events.ofSandbox(sandbox, "created");
  events.ofContainer(container("a"), "created");
  events.ofContainer(container("a"), "started");
  const seen = await first.take(never);
  assert.deepEqual(
    seen.map(({ objectId, change }) => [objectId, change]),
    [
      ["pod", "created"],
      ["a", "created"],
      ["a", "started"],
    ],
  );
  assert.deepEqual(await second.take(never), seen);
});

test("`createdAtNs` grows from event to event, also within a millisecond, and `nowNs()` with it", async () => {
  const { events } = eventsOf([], 100);
  using queue = events.subscribe();
  for (let count = 0; count < 50; count++) events.ofSandbox(sandbox, "created");
  const times = (await queue.take(never)).map(({ createdAtNs }) => createdAtNs);
  for (const [index, time] of times.entries())
    if (index > 0) assert.ok(time > (times[index - 1] ?? 0n), `${index}: ${time}`);
  assert.ok(events.nowNs() > (times.at(-1) ?? 0n));
});

test("an event holds the pod as it was when it happened", async () => {
  const mutable = { record: { id: "a", sandboxId: "pod" } as ContainerRecord, state: "running" as const };
  const containers: ContainerMoment[] = [mutable];
  const { events } = eventsOf(containers);
  using queue = events.subscribe();
  events.ofContainer(mutable, "started");
  Object.assign(mutable, { state: "exited" });
  containers.push(container("b"));
  const [event] = await queue.take(never);
  assert.deepEqual(
    event?.containers.map(({ record, state }) => [record.id, state]),
    [["a", "running"]],
  );
  assert.equal(event?.sandbox?.isReady, true);
});

test("a container whose sandbox is gone still has its event", async () => {
  const { events } = eventsOf();
  using queue = events.subscribe();
  events.ofContainer(
    { record: { id: "a", sandboxId: "gone" } as ContainerRecord, state: "exited" },
    "deleted",
  );
  const [event] = await queue.take(never);
  assert.equal(event?.sandbox, undefined);
  assert.equal(event?.objectId, "a");
});

test("a subscriber that falls behind is dropped with resource-exhausted, and the others go on", async () => {
  const { events, lines } = eventsOf([], 3);
  using slow = events.subscribe();
  using quick = events.subscribe();
  let seen = 0;
  for (let count = 0; count < 8; count++) {
    events.ofSandbox(sandbox, "created");
    seen += (await quick.take(never)).length;
  }
  assert.equal(seen, 8);
  await assert.rejects(slow.take(never), (error) => hasCode(error, "resource-exhausted"));
  await assert.rejects(slow.take(never), /3 events behind/);
  assert.equal(lines.filter((line) => line.includes("event subscriber dropped")).length, 1);
});

test("`take()` waits for an event, and ends with the reason of its signal", async () => {
  const { events } = eventsOf();
  using queue = events.subscribe();
  const waiting = queue.take(never);
  events.ofSandbox(sandbox, "started");
  assert.equal((await waiting).length, 1);
  const controller = new AbortController();
  const aborted = queue.take(controller.signal);
  controller.abort(new CricketError("cancelled", "the caller has gone"));
  await assert.rejects(aborted, (error) => hasCode(error, "cancelled"));
});

test("`close()` ends subscriptions with unavailable", async () => {
  const { events } = eventsOf();
  using queue = events.subscribe();
  const waiting = queue.take(never);
  events.close();
  await assert.rejects(waiting, (error) => hasCode(error, "unavailable"));
});

test("a disposed subscription collects nothing", () => {
  const { events, lines } = eventsOf([], 1);
  const queue = events.subscribe();
  queue[Symbol.dispose]();
  for (let count = 0; count < 5; count++) events.ofSandbox(sandbox, "created");
  assert.deepEqual(lines, []);
});
