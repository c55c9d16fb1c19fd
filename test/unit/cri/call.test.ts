import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { connectCri } from "../../../cri-api/client.ts";
import { runtimeService } from "../../../cri-api/services.ts";
import { Log } from "../../../src/base/log.ts";
import { CriServer, type Handlers } from "../../../src/cri/server.ts";

test("`wrapUnary()` logs a call that takes long while it goes on, but none that is made to wait", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "cricket-call-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const socketPath = join(directory, "c.sock");
  const logged: string[] = [];
  const server = new CriServer({
    socketPath,
    log: new Log({ write: (line) => logged.push(line) }),
    longCallMs: 10,
  });
  const ofLongCalls = (): string[] => logged.filter((line) => line.includes("call takes long"));
  const handlers: Partial<Handlers<typeof runtimeService>> = {
    StopContainer: async () => {
      await delay(30);
      return {};
    },
    // Answers only when the log has said that it does not.
    StopPodSandbox: async () => {
      while (ofLongCalls().length === 0) await delay(5);
      return {};
    },
  };
  server.addService(runtimeService, handlers as Handlers<typeof runtimeService>);
  await server.listen();
  const client = connectCri(`unix://${socketPath}`);
  await client.runtime.stopContainer({ containerId: "c" });
  await client.runtime.stopPodSandbox({ podSandboxId: "s" });
  client.close();
  await server.close(1000);
  assert.equal(ofLongCalls().length, 1);
  assert.match(logged.join(""), /level=warn .*call takes long.*rpc=StopPodSandbox/);
});
