import type { CriClient } from "../../cri-api/client.ts";
import { toInt64 } from "../../cri-api/int64.ts";
import { defineCommand } from "./command.ts";
import { withDaemon } from "./connect.ts";
import { findContainer, findSandbox } from "./find-object.ts";
import { forEach } from "./for-each.ts";
import { wholeSeconds } from "./duration.ts";

export const stop = defineCommand({
  operands: "CONTAINER|POD...",
  summary: "stop containers and pods",
  description: "A container gets its stop signal, and SIGKILL when it has not ended by then.",
  options: { time: { short: "t", value: "SECONDS", about: "how long a container may take (default 10)" } },
  arity: [1, Infinity],
  run: (invocation) =>
    withDaemon(invocation, (client) => {
      const seconds = wholeSeconds(invocation.options.time ?? "10", "--time");
      return forEach(invocation, "stop", async (text) => {
        await stopOne(client, text, seconds);
        invocation.surroundings.stdout(`${text}\n`);
      });
    }),
});

async function stopOne(client: CriClient, text: string, seconds: number): Promise<void> {
  const container = await findContainer(client, text);
  if (container !== undefined) {
    await client.runtime.stopContainer({ containerId: container.id, timeout: toInt64(BigInt(seconds)) });
    return;
  }
  const sandbox = await findSandbox(client, text);
  if (sandbox === undefined) throw new Error("there is no such container or pod");
  await client.runtime.stopPodSandbox({ podSandboxId: sandbox.id });
}
