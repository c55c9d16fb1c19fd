import { fromInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { defineCommand, exitStatus } from "./command.ts";
import { withDaemon } from "./connect.ts";
import { formatAge } from "./format.ts";
import { labelSelector } from "./label-selector.ts";
import { messageToJson } from "./message-json.ts";
import { outputOf, outputOptions } from "./output.ts";
import { renderJson, renderTable } from "./table.ts";

export const pods = defineCommand({
  operands: "",
  summary: "list pod sandboxes",
  options: {
    ...outputOptions,
    quiet: { short: "q", about: "print ids only" },
    label: { value: "KEY=VALUE", multiple: true, about: "only pods with this label" },
  },
  arity: [0, 0],
  run: (invocation) =>
    withDaemon(invocation, async (client) => {
      const { options, surroundings } = invocation;
      const output = outputOf(options.output);
      const filter = { labelSelector: labelSelector(options.label) };
      const { items } = await client.runtime.listPodSandbox({ filter });
      if (output === "json")
        surroundings.stdout(renderJson(items.map((item) => messageToJson(item, v1.PodSandboxState))));
      else if (options.quiet) surroundings.stdout(items.map((item) => `${item.id}\n`).join(""));
      else surroundings.stdout(table(items, Date.now()));
      return exitStatus.ok;
    }),
});

function table(items: readonly v1.PodSandbox[], nowMs: number): string {
  const rows = items.map((item) => [
    item.id.slice(0, 12),
    formatAge(fromInt64(item.createdAt), nowMs),
    item.state === v1.PodSandboxState.SANDBOX_READY ? "ready" : "not ready",
    item.metadata?.name ?? "",
    item.metadata?.namespace ?? "",
    String(item.metadata?.attempt ?? 0),
    item.runtimeHandler === "" ? "(default)" : item.runtimeHandler,
  ]);
  return renderTable(["POD ID", "CREATED", "STATE", "NAME", "NAMESPACE", "ATTEMPT", "RUNTIME"], rows);
}
