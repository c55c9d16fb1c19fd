// Checks of limits that need no look at the machine.
import { invalidArgument } from "../../base/errors.ts";
import type { BlockIoLimits, CgroupResources } from "./cgroup-resources.ts";
import type { FieldNames } from "./field-names.ts";

const cpuList = /^\d{1,6}(?:-\d{1,6})?(?:,\d{1,6}(?:-\d{1,6})?)*$/;
const hugepageSize = /^\d{1,10}[KMG]B$/;

/** Throws invalid-argument naming the field. */
export function checkResources(resources: CgroupResources, names: FieldNames): void {
  const { memoryLimitBytes: memory = 0n, memorySwapLimitBytes: swap = 0n } = resources;
  if (memory > 0n && swap > 0n && swap < memory)
    throw invalidArgument(
      `${names.memorySwapLimitBytes} ${swap} is less than ${names.memoryLimitBytes} ${memory}`,
    );
  checkCpuList(names.cpusetCpus, resources.cpusetCpus);
  checkCpuList(names.cpusetMems, resources.cpusetMems);
  for (const { pageSize } of resources.hugepageLimits ?? [])
    if (!hugepageSize.test(pageSize))
      throw invalidArgument(
        `${names.hugepageLimits}: page size ${JSON.stringify(pageSize)} is not a size such as 2MB`,
      );
  if (![undefined, 0n, 1n].includes(resources.cpuIdle))
    throw invalidArgument(`${names.cpuIdle} ${resources.cpuIdle} is neither 0 nor 1`);
  checkWeights(resources.blockIo ?? {}, names);
  checkNames(resources, names);
}

function checkCpuList(field: string, list = ""): void {
  if (list !== "" && !cpuList.test(list))
    throw invalidArgument(`${field} ${JSON.stringify(list)} is not a list such as 0-3,7`);
}

function checkWeights(
  { weight = 0, leafWeight = 0, weightDevices = [] }: BlockIoLimits,
  names: FieldNames,
): void {
  const check = (field: string, value: number): void => {
    if (value !== 0 && (value < 10 || value > 1000))
      throw invalidArgument(`${field} ${value} is not between 10 and 1000`);
  };
  check(names.weight, weight);
  check(names.leafWeight, leafWeight);
  for (const [index, device] of weightDevices.entries()) {
    check(`${names.weightDevices}[${index}].weight`, device.weight ?? 0);
    check(`${names.weightDevices}[${index}].leafWeight`, device.leafWeight ?? 0);
  }
}

// A blank or a newline in a name would be a second value to the kernel.
const word = /^[^\s\0]{1,255}$/;

// Of cgroup.* only what limits: cgroup.kill, cgroup.procs or cgroup.subtree_control are no limits.
const unifiedKey =
  /^(?:cgroup\.max\.(?:depth|descendants)|(?:cpu|cpuset|dmem|hugetlb|io|memory|misc|pids|rdma)\.[\w.]+)$/;

function checkNames(resources: CgroupResources, names: FieldNames): void {
  for (const { name } of resources.networkPriorities ?? [])
    if (!word.test(name))
      throw invalidArgument(`${names.networkPriorities}: ${JSON.stringify(name)} is not an interface name`);
  for (const name of Object.keys(resources.rdma ?? {}))
    if (!word.test(name))
      throw invalidArgument(`${names.rdma}: ${JSON.stringify(name)} is not a device name`);
  for (const key of Object.keys(resources.unified ?? {}))
    if (!unifiedKey.test(key) || key.includes(".."))
      throw invalidArgument(
        `${names.unified}[${JSON.stringify(key)}] is not a file of a resource controller`,
      );
}
