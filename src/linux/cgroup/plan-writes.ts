// From limits to writes: which files, which values, in which order. Pure but for the values read from the cgroup.
import { failedPrecondition } from "../../base/errors.ts";
import type { CgroupResources } from "./cgroup-resources.ts";
import { isSet, placeOf, type CgroupWrite, type PlanContext } from "./cgroup-write.ts";
import { checkResources } from "./check-resources.ts";
import { hierarchyOf } from "./layout.ts";
import { blockIoWrites } from "./plan-block-io.ts";
import { cpusetWrites, cpuWrites } from "./plan-cpu.ts";
import { memoryWrites } from "./plan-memory.ts";

/**
 * The writes that set `resources`. Throws invalid-argument for a value that cannot be, failed-precondition when a
 * limit needs something that the machine does not have; both name the property.
 */
export function planWrites(resources: CgroupResources, context: PlanContext): CgroupWrite[] {
  checkResources(resources, context.names);
  return [
    ...memoryWrites(resources, context),
    ...cpuWrites(resources, context),
    ...cpusetWrites(resources, context),
    ...pidsWrites(resources, context),
    ...blockIoWrites(resources, context),
    ...hugepageWrites(resources, context),
    ...networkWrites(resources, context),
    ...rdmaWrites(resources, context),
    ...unifiedWrites(resources, context),
  ];
}

/** Controllers beyond the usual ones that `resources` need: they are switched on for a cgroup when they are asked for. */
export function controllersFor(resources: CgroupResources): string[] {
  const { hugepageLimits = [], rdma = {}, blockIo, unified = {} } = resources;
  const keys = Object.keys(unified).map((key) => key.slice(0, key.indexOf(".")));
  return [
    ...(hugepageLimits.some(({ limitBytes }) => limitBytes > 0n) ? ["hugetlb"] : []),
    ...(Object.keys(rdma).length > 0 ? ["rdma"] : []),
    ...(blockIo === undefined ? [] : ["io"]),
    ...keys.filter((controller) => controller !== "cgroup"),
  ];
}

function pidsWrites({ pidsLimit }: CgroupResources, context: PlanContext): CgroupWrite[] {
  if (!isSet(pidsLimit)) return [];
  return [placeOf("pids", "pidsLimit", context).write("pids.max", pidsLimit < 0n ? "max" : pidsLimit)];
}

function hugepageWrites(resources: CgroupResources, context: PlanContext): CgroupWrite[] {
  return (resources.hugepageLimits ?? []).flatMap(({ pageSize, limitBytes }) => {
    // The kubelet sends 0 for every size of the machine: without the controller nothing is lost by leaving it.
    if (limitBytes === 0n && hierarchyOf(context.layout, "hugetlb") === undefined) return [];
    const place = placeOf("hugetlb", "hugepageLimits", context, { detail: `[${pageSize}]` });
    const prefix = `hugetlb.${pageSize}`;
    const [limit, reserved] =
      place.version === 1 ? ["limit_in_bytes", "rsvd.limit_in_bytes"] : ["max", "rsvd.max"];
    return [
      // No page of this size on the machine: a limit of 0 holds by itself.
      limitBytes === 0n
        ? place.writeIfPresent(`${prefix}.${limit}`, limitBytes)
        : place.write(`${prefix}.${limit}`, limitBytes, { needs: `hugepages of ${pageSize}` }),
      // Linux 5.7: counts at mmap, so that a process gets ENOMEM there and not SIGBUS at its first touch.
      place.writeIfPresent(`${prefix}.${reserved}`, limitBytes),
    ];
  });
}

function networkWrites(resources: CgroupResources, context: PlanContext): CgroupWrite[] {
  const { networkClassId = 0, networkPriorities = [] } = resources;
  return [
    ...(networkClassId === 0
      ? []
      : [placeOf("net_cls", "networkClassId", context).write("net_cls.classid", networkClassId)]),
    ...networkPriorities.map(({ name, priority }) =>
      placeOf("net_prio", "networkPriorities", context).write("net_prio.ifpriomap", `${name} ${priority}`),
    ),
  ];
}

function rdmaWrites({ rdma = {} }: CgroupResources, context: PlanContext): CgroupWrite[] {
  return Object.entries(rdma).map(([device, { hcaHandles, hcaObjects }]) => {
    const limits = [
      ...(hcaHandles === undefined ? [] : [`hca_handle=${hcaHandles}`]),
      ...(hcaObjects === undefined ? [] : [`hca_object=${hcaObjects}`]),
    ];
    return placeOf("rdma", "rdma", context, { detail: `[${device}]` }).write(
      "rdma.max",
      [device, ...limits].join(" "),
    );
  });
}

function unifiedWrites(
  { unified = {} }: CgroupResources,
  { layout, path, names }: PlanContext,
): CgroupWrite[] {
  return Object.entries(unified).flatMap(([key, value]) => {
    const controller = key.slice(0, key.indexOf("."));
    const field = `${names.unified}[${JSON.stringify(key)}]`;
    const hierarchy = layout.unified;
    if (hierarchy === undefined || (controller !== "cgroup" && !hierarchy.controllers.includes(controller)))
      throw failedPrecondition(
        hierarchy === undefined || layout.kind === "hybrid"
          ? `${field} cannot be set: the ${controller} controller is not on cgroup v2`
          : `${field} cannot be set: the machine has no ${controller} cgroup controller`,
      );
    // io.max and its like take one device a write.
    return value
      .split("\n")
      .filter((line) => line !== "")
      .map((line): CgroupWrite => ({
        file: `${hierarchy.root}${path}/${key}`,
        value: line,
        field,
        ifMissing: "fail",
        needs: "a kernel that has this file",
      }));
  });
}
