// The `linux` object of config.json: see parse-spec.ts.
import { invalidArgument } from "../base/errors.ts";
import type {
  BlockIoResources,
  CpuResources,
  Device,
  DeviceRule,
  IdMapping,
  IntelRdt,
  Linux,
  MemoryPolicy,
  MemoryResources,
  Namespace,
  NetDevice,
  Personality,
  Resources,
  ThrottleDevice,
  TimeOffset,
} from "./linux-spec.ts";
import {
  absolutePath,
  boolean,
  int64,
  integer,
  listOf,
  mapOf,
  nonEmpty,
  object,
  oneOf,
  optional,
  required,
  string,
  uint32,
  uint64,
  type Shape,
} from "./json-shape.ts";
import { memoryPolicyFlags, memoryPolicyModes } from "./linux-spec.ts";
import { seccomp } from "./parse-seccomp.ts";

export const idMapping = object<IdMapping>({
  containerID: required(uint32),
  hostID: required(uint32),
  size: required(uint32),
});

const namespace = object<Namespace>({
  type: required(oneOf("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")),
  // An empty path is what Go programs write for "none".
  path: optional((value, at) => (value === "" ? "" : absolutePath(value, at))),
});

const namespaces: Shape<Namespace[]> = (value, at, unknown) => {
  const list = listOf(namespace)(value, at, unknown).map(({ type, path }) =>
    path === undefined || path === "" ? { type } : { type, path },
  );
  const seen = new Set<string>();
  for (const { type } of list) {
    if (seen.has(type)) throw invalidArgument(`${at} has two namespaces of type ${type}`);
    seen.add(type);
  }
  return list;
};

const timeOffset = object<TimeOffset>({ secs: optional(int64), nanosecs: optional(integer(0, 999_999_999)) });

// Linux device numbers: 12 bits and 20 bits.
const major = integer(0, 0xfff);
const minor = integer(0, 0xfffff);

const device: Shape<Device> = (value, at, unknown) => {
  const result = deviceFields(value, at, unknown);
  if (result.type !== "p")
    for (const name of ["major", "minor"] as const)
      if (result[name] === undefined) throw invalidArgument(`${at}.${name} is missing`);
  return result;
};
const deviceFields = object<Device>({
  type: required(oneOf("c", "b", "u", "p")),
  path: required(absolutePath),
  major: optional(major),
  minor: optional(minor),
  fileMode: optional(integer(0, 0o177777)),
  uid: optional(uint32),
  gid: optional(uint32),
});

const access: Shape<string> = (value, at) => {
  const text = string(value, at);
  if (/^[rwm]*$/.test(text)) return text;
  throw invalidArgument(`${at} is ${JSON.stringify(text)}: not made of r, w and m`);
};

// -1 is the Go programs' "all"; here a missing number says so.
const wildcardNumber = integer(-1, 0xfffff);

const deviceRule: Shape<DeviceRule> = (value, at, unknown) => {
  const rule = deviceRuleFields(value, at, unknown);
  if (rule.major === -1) delete rule.major;
  if (rule.minor === -1) delete rule.minor;
  return rule;
};
const deviceRuleFields = object<DeviceRule>({
  allow: required(boolean),
  type: optional(oneOf("a", "c", "b")),
  major: optional(wildcardNumber),
  minor: optional(wildcardNumber),
  access: optional(access),
});

const memory = object<MemoryResources>({
  limit: optional(int64),
  reservation: optional(int64),
  swap: optional(int64),
  kernel: optional(int64),
  kernelTCP: optional(int64),
  swappiness: optional(uint64),
  disableOOMKiller: optional(boolean),
  useHierarchy: optional(boolean),
  checkBeforeUpdate: optional(boolean),
});

const cpu = object<CpuResources>({
  shares: optional(uint64),
  quota: optional(int64),
  burst: optional(uint64),
  period: optional(uint64),
  realtimeRuntime: optional(int64),
  realtimePeriod: optional(uint64),
  cpus: optional(string),
  mems: optional(string),
  idle: optional(int64),
});

const throttleDevice = object<ThrottleDevice>({
  major: required(major),
  minor: required(minor),
  rate: required(uint64),
});

const blockWeight = integer(0, 1000);

const blockIO = object<BlockIoResources>({
  weight: optional(blockWeight),
  leafWeight: optional(blockWeight),
  weightDevice: optional(
    listOf(
      object<{ major: number; minor: number; weight?: number; leafWeight?: number }>({
        major: required(major),
        minor: required(minor),
        weight: optional(blockWeight),
        leafWeight: optional(blockWeight),
      }),
    ),
  ),
  throttleReadBpsDevice: optional(listOf(throttleDevice)),
  throttleWriteBpsDevice: optional(listOf(throttleDevice)),
  throttleReadIOPSDevice: optional(listOf(throttleDevice)),
  throttleWriteIOPSDevice: optional(listOf(throttleDevice)),
});

export const resources = object<Resources>({
  devices: optional(listOf(deviceRule)),
  memory: optional(memory),
  cpu: optional(cpu),
  pids: optional(object<{ limit: bigint }>({ limit: required(int64) })),
  blockIO: optional(blockIO),
  hugepageLimits: optional(
    listOf(
      object<{ pageSize: string; limit: bigint }>({ pageSize: required(nonEmpty), limit: required(uint64) }),
    ),
  ),
  network: optional(
    object<{ classID?: number; priorities?: { name: string; priority: number }[] }>({
      classID: optional(uint32),
      priorities: optional(
        listOf(
          object<{ name: string; priority: number }>({
            name: required(nonEmpty),
            priority: required(uint32),
          }),
        ),
      ),
    }),
  ),
  rdma: optional(
    mapOf(
      object<{ hcaHandles?: number; hcaObjects?: number }>({
        hcaHandles: optional(uint32),
        hcaObjects: optional(uint32),
      }),
    ),
  ),
  unified: optional(mapOf(string)),
});

// One line of resctrl's `schemata` file.
const schema: Shape<string> = (value, at) => {
  const text = string(value, at);
  if (text.includes("\n")) throw invalidArgument(`${at} is ${JSON.stringify(text)}: it has a newline`);
  return text;
};

const personality = object<Personality>({
  domain: required(oneOf("LINUX", "LINUX32")),
  flags: optional(listOf(string)),
});

/** What 1.1 to 1.2.1 had in the place of enableMonitoring. */
interface OlderIntelRdt extends IntelRdt {
  enableCMT?: boolean;
  enableMBM?: boolean;
}

const intelRdtFields = object<OlderIntelRdt>({
  closID: optional(string),
  l3CacheSchema: optional(schema),
  memBwSchema: optional(schema),
  schemata: optional(listOf(schema)),
  enableMonitoring: optional(boolean),
  enableCMT: optional(boolean),
  enableMBM: optional(boolean),
});

// Names of directories below resctrl: a path would lead out of it.
const intelRdt: Shape<IntelRdt> = (value, at, unknown) => {
  const { enableCMT = false, enableMBM = false, ...rdt } = intelRdtFields(value, at, unknown);
  if (enableCMT || enableMBM) rdt.enableMonitoring = true;
  const { closID = "" } = rdt;
  if (closID !== "/" && (closID.includes("/") || closID === "." || closID === ".."))
    throw invalidArgument(`${at}.closID is ${JSON.stringify(closID)}: not a name`);
  const { memBwSchema = "MB:" } = rdt;
  if (!memBwSchema.startsWith("MB:"))
    throw invalidArgument(`${at}.memBwSchema is ${JSON.stringify(memBwSchema)}: does not begin with MB:`);
  return rdt;
};

const memoryPolicy = object<MemoryPolicy>({
  mode: required(oneOf(...memoryPolicyModes)),
  nodes: optional(string),
  flags: optional(listOf(oneOf(...memoryPolicyFlags))),
});

// net/core/dev.c, dev_valid_name.
const deviceName: Shape<string> = (value, at) => {
  const name = nonEmpty(value, at);
  if (name.length <= 15 && !/[/:\s]/.test(name) && name !== "." && name !== "..") return name;
  throw invalidArgument(`${at} is ${JSON.stringify(name)}: not a name of a network device`);
};

const netDevice = object<NetDevice>({
  name: optional((value, at) => (value === "" ? "" : deviceName(value, at))),
});

const netDevices: Shape<Record<string, NetDevice>> = (value, at, unknown) => {
  const devices = mapOf(netDevice)(value, at, unknown);
  for (const name of Object.keys(devices)) deviceName(name, `${at} key`);
  return devices;
};

export const linux = object<Linux>({
  namespaces: optional(namespaces),
  uidMappings: optional(listOf(idMapping)),
  gidMappings: optional(listOf(idMapping)),
  timeOffsets: optional(mapOf(timeOffset)),
  devices: optional(listOf(device)),
  cgroupsPath: optional(string),
  resources: optional(resources),
  rootfsPropagation: optional(
    oneOf("private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"),
  ),
  seccomp: optional(seccomp),
  sysctl: optional(mapOf(string)),
  maskedPaths: optional(listOf(absolutePath)),
  readonlyPaths: optional(listOf(absolutePath)),
  mountLabel: optional(string),
  personality: optional(personality),
  intelRdt: optional(intelRdt),
  memoryPolicy: optional(memoryPolicy),
  netDevices: optional(netDevices),
});
