// The processor's part of `events`: usage by CPU and the cpuset, where cgroup v1 tells them.
import type { CpuCounters } from "../../linux/cgroup/cgroup-counters.ts";
import { parseNumber, readCgroupFile } from "../../linux/cgroup/cgroup-file.ts";
import { hierarchyOf, type CgroupLayout } from "../../linux/cgroup/layout.ts";

type Json = Record<string, unknown>;

export function formatCpu(cpu: CpuCounters | undefined, layout: CgroupLayout, path: string): Json {
  const { usageNs = 0n, userNs = 0n, systemNs = 0n, quota } = cpu ?? {};
  const throttling =
    quota === undefined
      ? {}
      : {
          periods: quota.periods,
          throttledPeriods: quota.throttledPeriods,
          throttledTime: quota.throttledNs,
        };
  return {
    usage: { total: usageNs, ...usageByCpu(layout, path), kernel: systemNs, user: userNs },
    throttling,
  };
}

/** cpuacct.usage_all: a title, then "cpu user system" in nanoseconds. */
function usageByCpu(layout: CgroupLayout, path: string): Json {
  const hierarchy = hierarchyOf(layout, "cpuacct");
  const text = hierarchy && readCgroupFile(`${hierarchy.root}${path}/cpuacct.usage_all`);
  if (text === undefined) return {};
  const lines = [...text.matchAll(/^\d+ (\d+) (\d+)$/gm)].map(([, user = "0", system = "0"]) => ({
    user: BigInt(user),
    system: BigInt(system),
  }));
  return {
    percpu: lines.map(({ user, system }) => user + system),
    percpu_kernel: lines.map(({ system }) => system),
    percpu_user: lines.map(({ user }) => user),
  };
}

const cpusetFiles = [
  "cpu_exclusive",
  "mem_hardwall",
  "mem_exclusive",
  "memory_migrate",
  "memory_spread_page",
  "memory_spread_slab",
  "memory_pressure",
  "sched_load_balance",
  "sched_relax_domain_level",
];

/** Nothing on cgroup v2, as with runc. */
export function formatCpuset(layout: CgroupLayout, path: string): Json {
  const hierarchy = hierarchyOf(layout, "cpuset");
  if (hierarchy?.version !== 1) return {};
  const read = (name: string): string | undefined =>
    readCgroupFile(`${hierarchy.root}${path}/cpuset.${name}`);
  const numbers = cpusetFiles.map((name): [string, bigint] => [name, parseNumber(read(name)) ?? 0n]);
  return {
    cpuset: { cpus: listOf(read("cpus")), mems: listOf(read("mems")), ...Object.fromEntries(numbers) },
  };
}

/** "0-2,5" as numbers. */
function listOf(text = ""): number[] {
  return [...text.matchAll(/(\d+)(?:-(\d+))?/g)].flatMap(([, first = "0", last = first]) =>
    Array.from({ length: Number(last) - Number(first) + 1 }, (_unused, index) => Number(first) + index),
  );
}
