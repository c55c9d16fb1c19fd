// Logs of pods that outlive `cricket run`. No kubelet looks after these pods, so their logs go with `cricket rm`.
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";

/** On everything `cricket run` makes. */
export const runLabel = "cricket.dev/run";

const keptLogsRoot = "/var/log/cricket";

interface Pod {
  metadata?: { name?: string | null; uid?: string | null } | null;
}

/** Undefined for a name or uid that is no part of a file name: pods of other clients can have any (CVE-2025-0750). */
function keptLogDirectory({ metadata }: Pod): string | undefined {
  const name = `${metadata?.name ?? ""}-${metadata?.uid ?? ""}`;
  return /^[A-Za-z0-9][\w.-]*$/.test(name) ? join(keptLogsRoot, name) : undefined;
}

/** @throws Error when the pod's name cannot be a part of a file name */
export function makeKeptLogDirectory(pod: Pod): string {
  const directory = keptLogDirectory(pod);
  if (directory === undefined)
    throw new Error(`no log directory for a pod named ${String(pod.metadata?.name)}`);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  return directory;
}

/** Removes what makeKeptLogDirectory made, if the pod is one of `cricket run`. */
export function removeKeptLogs(pod: Pod & { labels?: Readonly<Record<string, string>> | null }): void {
  const directory = Object.hasOwn(pod.labels ?? {}, runLabel) ? keptLogDirectory(pod) : undefined;
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
}
