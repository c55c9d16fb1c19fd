import type { CriClient } from "../../cri-api/client.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { defineCommand } from "./command.ts";
import { withDaemon } from "./connect.ts";
import { findContainer, findSandbox } from "./find-object.ts";
import { forEach } from "./for-each.ts";
import { infoToJson, messageToJson } from "./message-json.ts";
import { renderJson } from "./table.ts";

export const inspect = defineCommand({
  operands: "CONTAINER|POD|IMAGE...",
  summary: "show all about containers, pods and images",
  description: "Prints one JSON array with an object for each operand, in their order.",
  options: {},
  arity: [1, Infinity],
  run: (invocation) =>
    withDaemon(invocation, async (client) => {
      const found: unknown[] = [];
      const status = await forEach(invocation, "inspect", async (text) => {
        found.push(await inspectOne(client, text));
      });
      invocation.surroundings.stdout(renderJson(found));
      return status;
    }),
});

async function inspectOne(client: CriClient, text: string): Promise<unknown> {
  const container = await findContainer(client, text);
  if (container !== undefined) return inspectContainer(client, container.id);
  const sandbox = await findSandbox(client, text);
  if (sandbox !== undefined) return inspectSandbox(client, sandbox.id);
  const { image, info } = await client.image.imageStatus({ image: { image: text }, verbose: true });
  if (!image) throw new Error("there is no such container, pod or image");
  return { image: messageToJson(image, {}), ...infoToJson(info) };
}

async function inspectContainer(client: CriClient, containerId: string): Promise<unknown> {
  const { status, info } = await client.runtime.containerStatus({ containerId, verbose: true });
  return { status: messageToJson(status ?? {}, v1.ContainerState), ...infoToJson(info) };
}

async function inspectSandbox(client: CriClient, podSandboxId: string): Promise<unknown> {
  const { status, info } = await client.runtime.podSandboxStatus({ podSandboxId, verbose: true });
  return { status: messageToJson(status ?? {}, v1.PodSandboxState), ...infoToJson(info) };
}
