import { setTimeout as delay } from "node:timers/promises";
import type { CriClient } from "../../cri-api/client.ts";
import { fromInt64 } from "../../cri-api/int64.ts";
import type { v1 } from "../../cri-api/runtime/v1/api.js";
import { defineCommand, exitStatus, type Surroundings } from "./command.ts";
import { withDaemon } from "./connect.ts";
import { needContainer } from "./find-object.ts";
import { formatBytes } from "./format.ts";
import { messageToJson } from "./message-json.ts";
import { outputOf, outputOptions } from "./output.ts";
import { renderJson, renderTable } from "./table.ts";

const watchIntervalMs = 2000;
const sampleIntervalMs = 500;

export const stats = defineCommand({
  operands: "[CONTAINER]",
  summary: "show what containers use",
  options: { ...outputOptions, watch: { short: "w", about: "again every two seconds, until Ctrl-C" } },
  arity: [0, 1],
  run: (invocation) =>
    withDaemon(invocation, async (client) => {
      const { options, operands, surroundings } = invocation;
      const output = outputOf(options.output);
      const [text] = operands;
      const filter = text === undefined ? {} : { id: (await needContainer(client, text)).id };
      let before = await sample(client, filter);
      if (!options.watch && (output === "json" || before.every((entry) => rateOf(entry) !== undefined))) {
        show(before, before, output, surroundings);
        return exitStatus.ok;
      }
      // A rate needs two samples.
      let pauseMs = sampleIntervalMs;
      do {
        await pause(pauseMs, surroundings.interrupted);
        const now = await sample(client, filter);
        if (options.watch && surroundings.columns !== undefined) surroundings.stdout("\u001b[H\u001b[2J");
        show(now, before, output, surroundings);
        before = now;
        pauseMs = watchIntervalMs;
      } while (options.watch && !surroundings.interrupted.aborted);
      return exitStatus.ok;
    }),
});

async function sample(client: CriClient, filter: v1.ContainerStatsFilterSent): Promise<v1.ContainerStats[]> {
  const { stats: found } = await client.runtime.listContainerStats({ filter });
  return found.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
}

async function pause(ms: number, interrupted: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal: interrupted }).catch(() => {});
}

function show(
  now: readonly v1.ContainerStats[],
  before: readonly v1.ContainerStats[],
  output: "table" | "json",
  { stdout }: Surroundings,
): void {
  if (output === "json") {
    stdout(renderJson(now.map((entry) => messageToJson(entry, {}))));
    return;
  }
  const earlier = new Map(before.map((entry) => [entry.attributes?.id, entry]));
  const rows = now.map((entry) => rowOf(entry, earlier.get(entry.attributes?.id)));
  stdout(renderTable(["CONTAINER", "NAME", "CPU %", "MEMORY", "RSS", "DISK", "INODES"], rows));
}

function nameOf(entry: v1.ContainerStats): string {
  return entry.attributes?.metadata?.name ?? "";
}

function rowOf(now: v1.ContainerStats, before: v1.ContainerStats | undefined): string[] {
  const bytes = (value: v1.UInt64Value | null | undefined): string =>
    value ? formatBytes(fromInt64(value.value)) : "-";
  const percent = rateOf(now) ?? (before === undefined ? undefined : rateBetween(before, now));
  return [
    (now.attributes?.id ?? "").slice(0, 12),
    nameOf(now),
    percent === undefined ? "-" : percent.toFixed(2),
    bytes(now.memory?.workingSetBytes),
    bytes(now.memory?.rssBytes),
    bytes(now.writableLayer?.usedBytes),
    now.writableLayer?.inodesUsed ? String(fromInt64(now.writableLayer.inodesUsed.value)) : "-",
  ];
}

/** Percent of one CPU, as the daemon measured it; undefined when it had no earlier sample. */
function rateOf(entry: v1.ContainerStats): number | undefined {
  const rate = entry.cpu?.usageNanoCores;
  return rate ? Number(fromInt64(rate.value)) / 1e7 : undefined;
}

function rateBetween(before: v1.ContainerStats, now: v1.ContainerStats): number | undefined {
  const spanNs = fromInt64(now.cpu?.timestamp) - fromInt64(before.cpu?.timestamp);
  if (spanNs <= 0n) return undefined;
  const usedNs =
    fromInt64(now.cpu?.usageCoreNanoSeconds?.value) - fromInt64(before.cpu?.usageCoreNanoSeconds?.value);
  return (Number(usedNs) / Number(spanNs)) * 100;
}
