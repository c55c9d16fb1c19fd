// config.json and process.json as files, with what the runtime-spec wants said about them and done all the same.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { wrapError } from "../../base/errors.ts";
import { capabilityNames } from "../../linux/capabilities.ts";
import { capabilityBoundingSet } from "../../linux/proc.ts";
import { parseProcess, parseSpec } from "../parse-spec.ts";
import type { Capabilities, Process, Spec } from "../spec.ts";

export interface Checked<T> {
  value: T;
  warnings: string[];
}

/** @throws CricketError naming the file and the property */
export function readBundle(bundle: string): Checked<Spec> {
  const { value, warnings } = readDocument(join(bundle, "config.json"), parseSpec);
  if (value.process === undefined) return { value, warnings };
  const process = settleCapabilities(value.process);
  return { value: { ...value, process: process.value }, warnings: [...warnings, ...process.warnings] };
}

/** @throws CricketError naming the file and the property */
export function readProcess(path: string): Checked<Process> {
  const { value, warnings } = readDocument(path, parseProcess);
  const process = settleCapabilities(value);
  return { value: process.value, warnings: [...warnings, ...process.warnings] };
}

function readDocument<T>(path: string, parse: (text: string, unknown: string[]) => T): Checked<T> {
  const unknown: string[] = [];
  try {
    const value = parse(readFileSync(path, "utf8"), unknown);
    // "Runtimes MAY log unknown properties but MUST otherwise ignore them" (config.md#extensibility).
    return {
      value,
      warnings: unknown.map((name) => `${name} is ignored: the runtime-spec does not have it`),
    };
  } catch (error) {
    throw wrapError(path, error);
  }
}

/** "Any value which cannot be mapped to a relevant kernel interface, or cannot be granted otherwise MUST be logged". */
function settleCapabilities(process: Process): Checked<Process> {
  if (process.capabilities === undefined) return { value: process, warnings: [] };
  const own = new Set(capabilityNames(capabilityBoundingSet()));
  const left = new Set<string>();
  const sets: Capabilities = {};
  for (const [set, names] of Object.entries(process.capabilities) as [keyof Capabilities, string[]][]) {
    sets[set] = names.filter((name) => own.has(name));
    for (const name of names) if (!own.has(name)) left.add(name);
  }
  const warnings =
    left.size === 0 ? [] : [`process.capabilities: ${[...left].join(", ")} cannot be given on this host`];
  return { value: { ...process, capabilities: sets }, warnings };
}
