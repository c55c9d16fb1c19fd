import type { Resources } from "../../oci/linux-spec.ts";
import { parseBytes } from "../../oci/runtime/cgroup-limits.ts";
import { readResources } from "../../oci/runtime/read-bundle.ts";
import { updateContainer, updateSchemata } from "../../oci/runtime/update.ts";
import { UsageError } from "../command.ts";
import type { ParsedFlags } from "./flags.ts";
import type { Verb } from "./verb.ts";

export const update: Verb = {
  operands: "CONTAINER",
  summary: "change the limits of a container",
  flags: {
    resources: {
      short: "r",
      takes: "text",
      value: "FILE",
      help: 'linux.resources as JSON, "-" for standard input; the other options then do not count',
    },
    memory: { takes: "text", value: "BYTES", help: "memory limit" },
    "memory-swap": { takes: "text", value: "BYTES", help: "limit of memory and swap together; -1: none" },
    "memory-reservation": { takes: "text", value: "BYTES", help: "what is left to it when memory is short" },
    "kernel-memory": { takes: "text", value: "BYTES", help: "as in the spec: no kernel has it any more" },
    "kernel-memory-tcp": { takes: "text", value: "BYTES", help: "limit of buffers of TCP, cgroup v1" },
    "cpu-period": { takes: "text", value: "US", help: "period of the quota, microseconds" },
    "cpu-quota": { takes: "text", value: "US", help: "CPU time in a period, microseconds; -1: no limit" },
    "cpu-burst": { takes: "text", value: "US", help: "CPU time saved up from periods before, microseconds" },
    "cpu-idle": { takes: "text", value: "0|1", help: "1: runs only when nobody else wants to" },
    "cpu-share": { takes: "text", value: "N", help: "share of CPU time relative to others" },
    "cpu-rt-period": { takes: "text", value: "US", help: "period of realtime scheduling, microseconds" },
    "cpu-rt-runtime": { takes: "text", value: "US", help: "realtime CPU time in a period, microseconds" },
    "cpuset-cpus": { takes: "text", value: "LIST", help: "CPUs: 0-3,5" },
    "cpuset-mems": { takes: "text", value: "LIST", help: "memory nodes: 0-1" },
    "blkio-weight": { takes: "text", value: "N", help: "share of block I/O relative to others, 10 to 1000" },
    "pids-limit": { takes: "text", value: "N", help: "processes at most; -1: no limit" },
    "l3-cache-schema": { takes: "text", value: "SCHEMA", help: "of Intel RDT" },
    "mem-bw-schema": { takes: "text", value: "SCHEMA", help: "of Intel RDT" },
  },
  arity: [1, 1],
  async run({ runtime, flags, operands, warn }) {
    const [id = ""] = operands;
    updateSchemata(runtime, id, {
      l3CacheSchema: flags.texts.get("l3-cache-schema") ?? "",
      memBwSchema: flags.texts.get("mem-bw-schema") ?? "",
    });
    const file = flags.texts.get("resources");
    const { value: resources, warnings } =
      file === undefined ? { value: resourcesOf(flags), warnings: [] } : readResources(file, runtime.strict);
    warnings.forEach(warn);
    await updateContainer(runtime, id, resources);
    return 0;
  },
};

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
