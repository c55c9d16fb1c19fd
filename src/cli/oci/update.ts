import { readFileSync } from "node:fs";
import { wrapError } from "../../base/errors.ts";
import type { Resources } from "../../oci/linux-spec.ts";
import { parseResources } from "../../oci/parse-spec.ts";
import { parseBytes } from "../../oci/runtime/cgroup-limits.ts";
import { updateContainer, updateSchemata } from "../../oci/runtime/update.ts";
import { UsageError } from "../command.ts";
import type { ParsedFlags } from "./flags.ts";
import type { Verb } from "./verb.ts";

export const update: Verb = {
  operands: "CONTAINER",
  summary: "change the limits of a container",
  flags: {
    resources: { short: "r", takes: "text" },
    memory: { takes: "text" },
    "memory-swap": { takes: "text" },
    "memory-reservation": { takes: "text" },
    "kernel-memory": { takes: "text" },
    "kernel-memory-tcp": { takes: "text" },
    "cpu-period": { takes: "text" },
    "cpu-quota": { takes: "text" },
    "cpu-burst": { takes: "text" },
    "cpu-idle": { takes: "text" },
    "cpu-share": { takes: "text" },
    "cpu-rt-period": { takes: "text" },
    "cpu-rt-runtime": { takes: "text" },
    "cpuset-cpus": { takes: "text" },
    "cpuset-mems": { takes: "text" },
    "blkio-weight": { takes: "text" },
    "pids-limit": { takes: "text" },
    "l3-cache-schema": { takes: "text" },
    "mem-bw-schema": { takes: "text" },
  },
  arity: [1, 1],
  async run({ runtime, flags, operands }) {
    const [id = ""] = operands;
    updateSchemata(runtime, id, {
      l3CacheSchema: flags.texts.get("l3-cache-schema") ?? "",
      memBwSchema: flags.texts.get("mem-bw-schema") ?? "",
    });
    const file = flags.texts.get("resources");
    const resources = file === undefined ? resourcesOf(flags) : readResources(file);
    await updateContainer(runtime, id, resources);
    return 0;
  },
};

function readResources(file: string): Resources {
  try {
    return parseResources(readFileSync(file === "-" ? 0 : file, "utf8"));
  } catch (error) {
    throw wrapError(`--resources ${file}`, error);
  }
}

function resourcesOf(flags: ParsedFlags): Resources {
  const bytes = (name: string): bigint | undefined => {
    const text = flags.texts.get(name);
    return text === undefined ? undefined : parseBytes(text, `--${name}`);
  };
  const number = (name: string): bigint | undefined => {
    const text = flags.texts.get(name);
    if (text === undefined) return undefined;
    if (!/^-?\d{1,19}$/.test(text)) throw new UsageError(`invalid value ${JSON.stringify(text)} for ${name}`);
    return BigInt(text);
  };
  const weight = number("blkio-weight");
  const pids = number("pids-limit");
  return {
    memory: given({
      limit: bytes("memory"),
      swap: bytes("memory-swap"),
      reservation: bytes("memory-reservation"),
      kernel: bytes("kernel-memory"),
      kernelTCP: bytes("kernel-memory-tcp"),
    }),
    cpu: given({
      period: number("cpu-period"),
      quota: number("cpu-quota"),
      burst: number("cpu-burst"),
      idle: number("cpu-idle"),
      shares: number("cpu-share"),
      realtimePeriod: number("cpu-rt-period"),
      realtimeRuntime: number("cpu-rt-runtime"),
      cpus: flags.texts.get("cpuset-cpus"),
      mems: flags.texts.get("cpuset-mems"),
    }),
    ...(weight === undefined ? {} : { blockIO: { weight: Number(weight) } }),
    ...(pids === undefined ? {} : { pids: { limit: pids } }),
  };
}

/** Without the properties that were not given. */
function given<T extends object>(value: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined)) as T;
}
