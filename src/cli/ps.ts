import { fromInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import type { CriClient } from "../../cri-api/client.ts";
import { defineCommand, ExitError, exitStatus } from "./command.ts";
import { withDaemon } from "./connect.ts";
import { findSandbox } from "./find-object.ts";
import { formatAge, shortDigest } from "./format.ts";
import { labelSelector } from "./label-selector.ts";
import { messageToJson } from "./message-json.ts";
import { outputOf, outputOptions } from "./output.ts";
import { renderJson, renderTable } from "./table.ts";

export const ps = defineCommand({
  operands: "",
  summary: "list containers",
  options: {
    ...outputOptions,
    all: { short: "a", about: "also those that do not run" },
    quiet: { short: "q", about: "print ids only" },
    pod: { short: "p", value: "POD", about: "only containers of this pod" },
    label: { value: "KEY=VALUE", multiple: true, about: "only containers with this label" },
  },
  arity: [0, 0],
  run: (invocation) =>
    withDaemon(invocation, async (client) => {
      const { options, surroundings } = invocation;
      const output = outputOf(options.output);
      const filter: v1.ContainerFilterSent = { labelSelector: labelSelector(options.label) };
      if (!options.all) filter.state = { state: v1.ContainerState.CONTAINER_RUNNING };
      if (options.pod !== undefined) filter.podSandboxId = await sandboxId(client, options.pod);
      const { containers } = await client.runtime.listContainers({ filter });
      if (output === "json")
        surroundings.stdout(renderJson(containers.map((item) => messageToJson(item, v1.ContainerState))));
      else if (options.quiet) surroundings.stdout(containers.map((item) => `${item.id}\n`).join(""));
      else surroundings.stdout(table(containers, Date.now()));
      return exitStatus.ok;
    }),
});

async function sandboxId(client: CriClient, text: string): Promise<string> {
  const sandbox = await findSandbox(client, text);
  if (sandbox === undefined) throw new ExitError(exitStatus.failure, `there is no pod ${text}`);
  return sandbox.id;
}

const stateNames: Readonly<Record<number, string>> = {
  [v1.ContainerState.CONTAINER_CREATED]: "created",
  [v1.ContainerState.CONTAINER_RUNNING]: "running",
  [v1.ContainerState.CONTAINER_EXITED]: "exited",
};

function table(containers: readonly v1.Container[], nowMs: number): string {
  const rows = containers.map((item) => [
    item.id.slice(0, 12),
    imageName(item),
    formatAge(fromInt64(item.createdAt), nowMs),
    stateNames[item.state] ?? "unknown",
    item.metadata?.name ?? "",
    String(item.metadata?.attempt ?? 0),
    item.podSandboxId.slice(0, 12),
  ]);
  return renderTable(["CONTAINER", "IMAGE", "CREATED", "STATE", "NAME", "ATTEMPT", "POD ID"], rows);
}

/** What the pod's author wrote, if that is known: the kubelet itself passes ids. */
function imageName({ image }: v1.Container): string {
  const name = image?.userSpecifiedImage === "" ? image.image : (image?.userSpecifiedImage ?? "");
  return /^(sha256:)?[0-9a-f]{64}$/.test(name) ? shortDigest(name) : name;
}
