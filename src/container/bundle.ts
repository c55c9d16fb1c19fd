// The container's OCI spec on disk: config.json in its run directory, read back for exec, inspect and explain.
import { readFileSync, writeFileSync } from "node:fs";
import { wrapError } from "../base/errors.ts";
import type { Paths } from "../config/paths.ts";
import { parseSpec, stringifySpec } from "../oci/parse-spec.ts";
import type { Spec } from "../oci/spec.ts";
import type { Container } from "./container-store.ts";

export interface Bundle {
  spec: Spec;
  /** process.env as bytes: JSON cannot hold an environment that is not UTF-8. */
  env: Uint8Array[];
}

/** Writes config.json; the run directory dies with the boot, so nothing is synced. */
export function writeBundle(id: string, spec: Spec, paths: Paths): void {
  writeFileSync(paths.containerSpec(id), stringifySpec(spec), { mode: 0o600 });
}

/** The spec and environment, from memory after the first read. */
export function loadBundle(container: Container, paths: Paths): Bundle {
  container.bundle ??= readBundle(container, paths);
  return container.bundle;
}

function readBundle(container: Container, paths: Paths): Bundle {
  const path = paths.containerSpec(container.id);
  try {
    const spec = parseSpec(readFileSync(path, "utf8"));
    const env = container.record.rawEnv ?? (spec.process?.env ?? []).map((line) => Buffer.from(line));
    return { spec, env };
  } catch (error) {
    throw wrapError(`read ${path}`, error);
  }
}

/** True where the environment must be kept beside config.json because a value is not UTF-8. */
export function needsRawEnv(env: readonly Uint8Array[]): boolean {
  return env.some((line) => !Buffer.from(Buffer.from(line).toString("utf8")).equals(line));
}
