// config.json, process.json and resources as files, with what the runtime-spec wants said about them and done all the same.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { invalidArgument, wrapError } from "../../base/errors.ts";
import { capabilityNames } from "../../linux/capabilities.ts";
import { capabilityBoundingSet } from "../../linux/proc.ts";
import type { Resources } from "../linux-spec.ts";
import { parseProcess, parseResources, parseSpec } from "../parse-spec.ts";
import type { Capabilities, Process, Spec } from "../spec.ts";

export interface Checked<T> {
  value: T;
  warnings: string[];
}

/**
 * `strict`: what would be a warning is an error.
 * @throws CricketError naming the file and the property
 */
export function readBundle(bundle: string, strict: boolean): Checked<Spec> {
  const path = join(bundle, "config.json");
  const { value, warnings } = readDocument(readFile(path), path, parseSpec);
  const process = value.process === undefined ? undefined : settleCapabilities(value.process);
  const checked = {
    value: process === undefined ? value : { ...value, process: process.value },
    warnings: [...warnings, ...(process?.warnings ?? [])],
  };
  return strict ? refuseWarnings(checked, path) : checked;
}

/** The same for `exec --process`. */
export function readProcess(path: string, strict: boolean): Checked<Process> {
  const { value, warnings } = readDocument(readFile(path), path, parseProcess);
  const process = settleCapabilities(value);
  const checked = { value: process.value, warnings: [...warnings, ...process.warnings] };
  return strict ? refuseWarnings(checked, path) : checked;
}

/** The same for `update --resources`; "-" is standard input. */
export function readResources(path: string, strict: boolean): Checked<Resources> {
  const text = readFile(path === "-" ? 0 : path);
  const checked = readDocument(text, path === "-" ? "standard input" : path, parseResources);
  // runc leaves them alone, too: engines send lists that lack the devices of the container itself.
  if (checked.value.devices !== undefined)
    checked.warnings.push("linux.resources.devices is ignored: device rules are those of the creation");
  return strict ? refuseWarnings(checked, path) : checked;
}

function readFile(path: string | 0): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw wrapError(`read ${path}`, error);
  }
}

function readDocument<T>(
  text: string,
  path: string,
  parse: (text: string, unknown: string[]) => T,
): Checked<T> {
  const unknown: string[] = [];
  try {
    const value = parse(text, unknown);
    // "Runtimes MAY log unknown properties but MUST otherwise ignore them" (config.md#extensibility).
    return {
      value,
      warnings: unknown.map((name) => `${name} is ignored: the runtime-spec does not have it`),
    };
  } catch (error) {
    throw wrapError(path, error);
  }
}

function refuseWarnings<T>(checked: Checked<T>, path: string): Checked<T> {
  if (checked.warnings.length === 0) return checked;
  throw invalidArgument(`${path}: ${checked.warnings.join("; ")} (--strict)`);
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
