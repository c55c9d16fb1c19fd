// A CDI specification file, version 0.3.0 to 1.1.0 (container-device-interface, SPEC.md): what it may hold.
import { invalidArgument } from "../../base/errors.ts";
import {
  absolutePath,
  boolean,
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
  type Shape,
} from "../../oci/json-shape.ts";

export interface CdiSpec {
  cdiVersion: string;
  /** "vendor.com/class". */
  kind: string;
  annotations?: Record<string, string>;
  devices: CdiDevice[];
  /** Done once where any of the devices is given to a container. */
  containerEdits?: ContainerEdits;
}

export interface CdiDevice {
  name: string;
  annotations?: Record<string, string>;
  containerEdits?: ContainerEdits;
}

export interface ContainerEdits {
  env?: string[];
  deviceNodes?: DeviceNode[];
  netDevices?: { hostInterfaceName: string; name: string }[];
  hooks?: CdiHook[];
  mounts?: CdiMount[];
  intelRdt?: CdiRdt;
  /** 0 is ignored. */
  additionalGids?: number[];
}

export interface DeviceNode {
  path: string;
  hostPath?: string;
  type?: "b" | "c" | "u" | "p";
  major?: number;
  minor?: number;
  fileMode?: number;
  /** Of "r", "w", "m", or "none"; missing is all. */
  permissions?: string;
  uid?: number;
  gid?: number;
}

const hookNames = [
  "prestart",
  "createRuntime",
  "createContainer",
  "startContainer",
  "poststart",
  "poststop",
] as const;

export interface CdiHook {
  hookName: (typeof hookNames)[number];
  path: string;
  args?: string[];
  env?: string[];
  timeout?: number;
}

export interface CdiMount {
  hostPath: string;
  containerPath: string;
  options?: string[];
  type?: string;
}

export interface CdiRdt {
  closID?: string;
  l3CacheSchema?: string;
  memBwSchema?: string;
  schemata?: string[];
  enableMonitoring?: boolean;
}

type Fields<T> = Parameters<typeof object<T>>[0];

/** As `object`, but a property it does not know is an error, as the specification has it. */
function strict<T>(fields: Fields<T>, ignored: readonly string[] = []): Shape<T> {
  const shape = object<T>(fields);
  const known = new Set([...Object.keys(fields), ...ignored]);
  return (value, at) => {
    if (typeof value === "object" && value !== null)
      for (const key of Object.keys(value))
        if (!known.has(key)) throw invalidArgument(`${at === "" ? key : `${at}.${key}`} is not known`);
    return shape(value, at);
  };
}

function matching(pattern: RegExp, what: string): Shape<string> {
  return (value, at) => {
    const text = string(value, at);
    if (!pattern.test(text)) throw invalidArgument(`${at} is ${JSON.stringify(text)}: not ${what}`);
    return text;
  };
}

const variable = matching(/^[^=]+=/, "of the form NAME=VALUE");

const deviceNode = strict<DeviceNode>({
  path: required(absolutePath),
  hostPath: optional(absolutePath),
  type: optional(oneOf("b", "c", "u", "p")),
  major: optional(uint32),
  minor: optional(uint32),
  fileMode: optional(integer(0, 0o7777)),
  permissions: optional(matching(/^(?:[rwm]*|none)$/, 'made of r, w and m, or "none"')),
  uid: optional(uint32),
  gid: optional(uint32),
});

const hook = strict<CdiHook>({
  hookName: required(oneOf(...hookNames)),
  path: required(absolutePath),
  args: optional(listOf(string)),
  env: optional(listOf(variable)),
  timeout: optional(integer(0, 0x7fffffff)),
});

const mount = strict<CdiMount>({
  hostPath: required(nonEmpty),
  containerPath: required(absolutePath),
  options: optional(listOf(string)),
  type: optional(string),
});

const interfaceName = matching(/^(?!\.{1,2}$)[^\s/:]{1,15}$/, "the name of a network interface");

const strictEdits = strict<ContainerEdits>({
  env: optional(listOf(variable)),
  deviceNodes: optional(listOf(deviceNode)),
  netDevices: optional(
    listOf(strict({ hostInterfaceName: required(interfaceName), name: required(interfaceName) })),
  ),
  hooks: optional(listOf(hook)),
  mounts: optional(listOf(mount)),
  intelRdt: optional(
    strict<CdiRdt>(
      {
        // "/" is the root of resctrl.
        closID: optional(matching(/^(?:\/|(?!\.{1,2}$)[^/\n]{0,4095})$/, "a name")),
        l3CacheSchema: optional(string),
        memBwSchema: optional(string),
        schemata: optional(listOf(string)),
        enableMonitoring: optional(boolean),
      },
      // Of versions before 1.1.0; no runtime has ever done anything with them.
      ["enableCMT", "enableMBM"],
    ),
  ),
  additionalGids: optional(listOf(uint32)),
});

// The document of the specification has both spellings, and Go takes either.
const edits: Shape<ContainerEdits> = (value, at) => {
  if (typeof value !== "object" || value === null || !("additionalGIDs" in value))
    return strictEdits(value, at);
  const { additionalGIDs: additionalGids, ...others } = value;
  return strictEdits({ ...others, additionalGids }, at);
};

const vendorOrClass = "[A-Za-z](?:[\\w.-]*[A-Za-z0-9])?";
const deviceName = "[A-Za-z0-9](?:[\\w.:-]*[A-Za-z0-9])?";
const kindPattern = new RegExp(`^(?=[^/]{1,253}/[^/]{1,63}$)${vendorOrClass}/${vendorOrClass}$`);
const qualifiedPattern = new RegExp(`^(${vendorOrClass}/${vendorOrClass})=(${deviceName})$`);

const device = strict<CdiDevice>({
  name: required(matching(new RegExp(`^${deviceName}$`), "a device name")),
  annotations: optional(mapOf(string)),
  containerEdits: optional(edits),
});

const versions = ["0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0"];

const spec = strict<CdiSpec>({
  cdiVersion: required((value, at) => {
    const version = string(value, at).replace(/^v/, "");
    if (!versions.includes(version)) throw invalidArgument(`${at} ${JSON.stringify(value)} is not known`);
    return version;
  }),
  kind: required(matching(kindPattern, "of the form vendor.com/class")),
  annotations: optional(mapOf(string)),
  devices: required(listOf(device)),
  containerEdits: optional(edits),
});

/** @throws CricketError invalid-argument naming the property */
export function checkCdiSpec(document: unknown): CdiSpec {
  const checked = spec(document, "");
  const minimum = minimumVersion(checked);
  if (versions.indexOf(checked.cdiVersion) < versions.indexOf(minimum))
    throw invalidArgument(`cdiVersion ${checked.cdiVersion} has not what is used: that needs ${minimum}`);
  if (checked.devices.length === 0) throw invalidArgument("devices is empty");
  const names = new Set<string>();
  for (const [index, { name, containerEdits }] of checked.devices.entries()) {
    if (names.has(name)) throw invalidArgument(`devices[${index}].name ${name} is there twice`);
    names.add(name);
    if (Object.values(containerEdits ?? {}).flat().length === 0)
      throw invalidArgument(`devices[${index}].containerEdits is empty`);
  }
  return checked;
}

/** The version that brought the newest of what a specification uses (SPEC.md, "Released versions"). */
function minimumVersion({ kind, annotations, devices, containerEdits }: CdiSpec): string {
  const all = [containerEdits ?? {}, ...devices.map((entry) => entry.containerEdits ?? {})];
  const uses = (test: (one: ContainerEdits) => boolean): boolean => all.some(test);
  const hasAnnotations = [annotations, ...devices.map((entry) => entry.annotations)].some(
    (given) => Object.keys(given ?? {}).length > 0,
  );
  if (uses((one) => (one.netDevices ?? []).length > 0 || usesNewRdt(one.intelRdt))) return "1.1.0";
  if (uses((one) => one.intelRdt !== undefined || (one.additionalGids ?? []).length > 0)) return "0.7.0";
  if (hasAnnotations || kind.split("/")[1]?.includes(".") === true) return "0.6.0";
  if (devices.some(({ name }) => /^\d/.test(name))) return "0.5.0";
  if (uses((one) => one.deviceNodes?.some(({ hostPath }) => hostPath !== undefined) === true)) return "0.5.0";
  if (uses((one) => one.mounts?.some(({ type }) => type !== undefined) === true)) return "0.4.0";
  return "0.1.0";
}

function usesNewRdt(rdt: CdiRdt | undefined): boolean {
  return rdt?.schemata !== undefined || rdt?.enableMonitoring === true;
}

/** "vendor.com/class=name" in its parts; undefined for anything else. */
export function parseQualifiedName(text: string): { kind: string; name: string } | undefined {
  const [, kind, name] = qualifiedPattern.exec(text) ?? [];
  return kind === undefined || name === undefined ? undefined : { kind, name };
}
