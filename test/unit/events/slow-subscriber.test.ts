// A client of GetContainerEvents that does not read, over a real socket.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { connectCri, RpcError } from "../../../cri-api/client.ts";
import { runtimeService } from "../../../cri-api/services.ts";
import { Log } from "../../../src/base/log.ts";
import { getContainerEvents } from "../../../src/cri/rpc/get-container-events.ts";
import { CriServer, type Handlers } from "../../../src/cri/server.ts";
import type { ContainerUseCases } from "../../../src/cri/services.ts";
import { LifecycleEvents } from "../../../src/events/lifecycle-events.ts";
import { sandboxView } from "../cri/convert/views.ts";

const queueLimit = 50;

test("a client that does not read is dropped with RESOURCE_EXHAUSTED, and one that reads gets all", async () => {
  const directory = mkdtempSync(join(tmpdir(), "cricket-events-"));
  const path = join(directory, "c.sock");
  const log = new Log({ write: () => {} });
  const events = new LifecycleEvents({ sandboxOf: () => undefined, containersOf: () => [], log, queueLimit });
  const containers = {} as ContainerUseCases;
  const handlers: Partial<Handlers<typeof runtimeService>> = {
    GetContainerEvents: (_request, call) => getContainerEvents({ events, containers }, call),
  };
  const server = new CriServer({ socketPath: path, log });
  server.addService(runtimeService, handlers as Handlers<typeof runtimeService>);
  await server.listen();
  const idle = connectCri(`unix://${path}`);
  const eager = connectCri(`unix://${path}`);
  try {
    const sandbox = sandboxView("s1", { annotations: { long: "x".repeat(10_000) } });
    const slow = idle.runtime.getContainerEvents({})[Symbol.asyncIterator]();
    const quick = eager.runtime.getContainerEvents({})[Symbol.asyncIterator]();
    let areSubscribed = false;
    const first = Promise.all([slow.next(), quick.next()]).then(() => {
      areSubscribed = true;
    });
    for (; !areSubscribed; await delay(5)) events.ofSandbox(sandbox, "created");
    await first;
    // More than the queue, the sockets and the streams' own buffers hold together.
    const count = 1000;
    for (let sent = 0; sent < count; sent++) {
      events.ofSandbox(sandbox, "started");
      assert.equal((await quick.next()).done, false);
    }
    let seen = 0;
    await assert.rejects(
      async () => {
        while ((await slow.next()).done !== true) seen++;
      },
      (error) => error instanceof RpcError && error.status === "RESOURCE_EXHAUSTED",
    );
    assert.ok(seen < count, `${seen} events were kept for it`);
  } finally {
    events.close();
    idle.close();
    eager.close();
    await server.close(1000);
    rmSync(directory, { recursive: true });
  }
});
