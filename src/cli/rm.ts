import type { CriClient } from "../../cri-api/client.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { defineCommand } from "./command.ts";
import { withDaemon } from "./connect.ts";
import { findContainer, findSandbox } from "./find-object.ts";
import { forEach } from "./for-each.ts";
import { removeKeptLogs } from "./kept-logs.ts";

export const rm = defineCommand({
  operands: "CONTAINER|POD...",
  summary: "remove containers and pods",
  description: `A pod goes with all its containers. A name that a pod shares with its container means the pod.
What runs is only removed with --force.`,
  options: { force: { short: "f", about: "also what runs: it is killed" } },
  arity: [1, Infinity],
  run: (invocation) =>
    withDaemon(invocation, (client) =>
      forEach(invocation, "rm", async (text) => {
        await removeOne(client, text, invocation.options.force);
        invocation.surroundings.stdout(`${text}\n`);
      }),
    ),
});

async function removeOne(client: CriClient, text: string, force: boolean): Promise<void> {
  const container = await findContainer(client, text);
  const sandbox = await findSandbox(client, text);
  // `run` gives the pod and its container one name: removing that means both.
  const isBoth = sandbox?.metadata?.name === text && container?.podSandboxId === sandbox.id;
  if (container !== undefined && !isBoth) return removeContainer(client, container, force);
  if (sandbox === undefined) throw new Error("there is no such container or pod");
  if (sandbox.state === v1.PodSandboxState.SANDBOX_READY && !force)
    throw new Error("the pod is ready: stop it, or use --force");
  await client.runtime.stopPodSandbox({ podSandboxId: sandbox.id });
  await client.runtime.removePodSandbox({ podSandboxId: sandbox.id });
  removeKeptLogs(sandbox);
}

async function removeContainer(client: CriClient, container: v1.Container, force: boolean): Promise<void> {
  if (container.state === v1.ContainerState.CONTAINER_RUNNING && !force)
    throw new Error("the container is running: stop it, or use --force");
  await client.runtime.removeContainer({ containerId: container.id });
}
