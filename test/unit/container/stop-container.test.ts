import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { SyscallError } from "../../../src/base/errors.ts";
import { newId } from "../../../src/base/ids.ts";
import type { ContainerRecord } from "../../../src/container/container-record.ts";
import { ContainerRuntimes, type ContainerRuntime } from "../../../src/container/container-runtime.ts";
import { ContainerStore, type Container } from "../../../src/container/container-store.ts";
import { stopAndWait, type StopContainerParts } from "../../../src/container/stop-container.ts";

interface Stoppable {
  container: Container;
  parts: StopContainerParts;
}

/** A running container of a runtime handler that can do nothing but what `runtime` has. */
function stoppable(t: TestContext, runtime: Partial<ContainerRuntime>): Stoppable {
  const root = mkdtempSync(join(tmpdir(), "cricket-containers-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const store = new ContainerStore(root);
  const record: Partial<ContainerRecord> = { version: 1, id: newId(), committed: true, startedAtNs: 1n };
  // Nobody has this pid: it is beyond what the kernel gives.
  const init = { pid: 2 ** 22 + 1, startTimeTicks: 1n };
  const container = store.add({ ...record, init, stopSignal: "SIGTERM" } as ContainerRecord);
  const runtimes = new ContainerRuntimes(new Map(), () => runtime as ContainerRuntime);
  return { container, parts: { store, runtimes } };
}

function end({ container, parts }: Stoppable): Promise<void> {
  const ended = { exitCode: 137, reason: "Error" as const, message: "", finishedAtNs: 2n };
  parts.store.update(container, { end: ended });
  return Promise.resolve();
}

test("`stopAndWait()` ends the grace period also when the wall clock is set back meanwhile", async (t) => {
  const one = stoppable(t, {
    signal() {
      const realNow = Date.now;
      t.mock.method(Date, "now", () => realNow() - 3_600_000);
      return Promise.resolve();
    },
    kill: () => end(one),
  });
  await stopAndWait(one.container, 20, one.parts);
  assert.equal(one.container.state, "exited");
});

test("`stopAndWait()` begins anew after a stop that could not kill anything", async (t) => {
  let isExhausted = true;
  const one = stoppable(t, {
    kill: () => (isExhausted ? Promise.reject(new SyscallError("open", "EMFILE")) : end(one)),
  });
  const both = [stopAndWait(one.container, 0, one.parts), stopAndWait(one.container, 5000, one.parts)];
  for (const stop of both)
    await assert.rejects(stop, { code: "resource-exhausted", message: /^stop container .*: open: EMFILE$/ });
  isExhausted = false;
  await stopAndWait(one.container, 0, one.parts);
  assert.equal(one.container.state, "exited");
});
