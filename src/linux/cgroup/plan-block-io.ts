// Limits of block devices as writes: blkio on cgroup v1, io on v2.
import { failedPrecondition } from "../../base/errors.ts";
import type { BlockIoLimits, CgroupResources, DeviceRate } from "./cgroup-resources.ts";
import { notOnV2, placeOf, type CgroupWrite, type Place, type PlanContext } from "./cgroup-write.ts";

export function blockIoWrites({ blockIo }: CgroupResources, context: PlanContext): CgroupWrite[] {
  if (blockIo === undefined) return [];
  return [
    ...weightWrites(blockIo, context),
    ...deviceWeightWrites(blockIo, context),
    ...leafWeightWrites(blockIo, context),
    ...throttleWrites(blockIo, context),
  ];
}

const inV2 = { controllerV2: "io" };

/** blkio weights go from 10 to 1000, io.weight from 1 to 10000. */
export const blkioToIoWeight = (weight: number): number => 1 + Math.trunc(((weight - 10) * 9999) / 990);

interface WeightFile {
  name: string;
  /** "" or "default ". */
  prefix: string;
  convert: (weight: number) => number;
}

const asItIs = (weight: number): number => weight;

// CFQ had blkio.weight until Linux 5.0; since then the BFQ scheduler has files of its own, and v2's io.weight belongs
// to the iocost controller.
function weightFile(place: Place, field: string): WeightFile {
  const candidates: WeightFile[] =
    place.version === 1
      ? [
          { name: "blkio.weight", prefix: "", convert: asItIs },
          { name: "blkio.bfq.weight", prefix: "", convert: asItIs },
        ]
      : [
          { name: "io.bfq.weight", prefix: "", convert: asItIs },
          { name: "io.weight", prefix: "default ", convert: blkioToIoWeight },
        ];
  const found = candidates.find(({ name }) => place.read(name) !== undefined);
  if (found !== undefined) return found;
  const files = candidates.map(({ name }) => name).join(" nor ");
  const needs =
    place.version === 1 ? "the BFQ I/O scheduler" : "the BFQ I/O scheduler or CONFIG_BLK_CGROUP_IOCOST";
  throw failedPrecondition(`${field} cannot be set: the kernel has neither ${files} (needs ${needs})`);
}

function weightWrites({ weight = 0 }: BlockIoLimits, context: PlanContext): CgroupWrite[] {
  if (weight === 0) return [];
  const place = placeOf("blkio", "weight", context, inV2);
  const file = weightFile(place, context.names.weight);
  return [place.write(file.name, `${file.prefix}${file.convert(weight)}`)];
}

function deviceWeightWrites({ weightDevices = [] }: BlockIoLimits, context: PlanContext): CgroupWrite[] {
  return weightDevices
    .filter(({ weight = 0 }) => weight !== 0)
    .map(({ major, minor, weight = 0 }) => {
      const place = placeOf("blkio", "weightDevices", context, inV2);
      const file = weightFile(place, context.names.weightDevices);
      // v1 has a file of its own for devices; v2 takes them in the same one.
      const name = place.version === 1 ? `${file.name}_device` : file.name;
      return place.write(name, `${major}:${minor} ${file.convert(weight)}`);
    });
}

function leafWeightWrites(limits: BlockIoLimits, context: PlanContext): CgroupWrite[] {
  const { leafWeight = 0, weightDevices = [] } = limits;
  const devices = weightDevices.filter((device) => (device.leafWeight ?? 0) !== 0);
  if (leafWeight === 0 && devices.length === 0) return [];
  const place = placeOf("blkio", "leafWeight", context, inV2);
  if (place.version === 2) throw notOnV2(context.names.leafWeight, "blkio.leaf_weight");
  const needs = { needs: "the CFQ I/O scheduler, which Linux 5.0 has dropped" };
  return [
    ...(leafWeight === 0 ? [] : [place.write("blkio.leaf_weight", leafWeight, needs)]),
    ...devices.map(({ major, minor, leafWeight: weight = 0 }) =>
      place.write("blkio.leaf_weight_device", `${major}:${minor} ${weight}`, needs),
    ),
  ];
}

const throttles = [
  { field: "readBytesPerSecond", v1: "blkio.throttle.read_bps_device", v2: "rbps" },
  { field: "writeBytesPerSecond", v1: "blkio.throttle.write_bps_device", v2: "wbps" },
  { field: "readOperationsPerSecond", v1: "blkio.throttle.read_iops_device", v2: "riops" },
  { field: "writeOperationsPerSecond", v1: "blkio.throttle.write_iops_device", v2: "wiops" },
] as const;

function throttleWrites(limits: BlockIoLimits, context: PlanContext): CgroupWrite[] {
  const needs = { needs: "CONFIG_BLK_DEV_THROTTLING" };
  return throttles.flatMap(({ field, v1, v2 }) =>
    (limits[field] ?? []).map(({ major, minor, rate }: DeviceRate) => {
      const place = placeOf("blkio", field, context, inV2);
      return place.version === 1
        ? place.write(v1, `${major}:${minor} ${rate}`, needs)
        : place.write("io.max", `${major}:${minor} ${v2}=${rate === 0n ? "max" : rate}`, needs);
    }),
  );
}
