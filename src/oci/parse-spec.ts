// config.json from outside: checked property by property, so that what follows may trust its types.
import type { Resources } from "./linux-spec.ts";
import type {
  Capabilities,
  Hook,
  Hooks,
  IoPriority,
  Mount,
  Process,
  Rlimit,
  Root,
  Scheduler,
  Spec,
  User,
} from "./spec.ts";
import { invalidArgument } from "../base/errors.ts";
import {
  absolutePath,
  boolean,
  int32,
  integer,
  listOf,
  mapOf,
  nonEmpty,
  object,
  oneOf,
  optional,
  parseExactIntegers,
  required,
  string,
  stringifyExactIntegers,
  uint64,
  type Shape,
} from "./json-shape.ts";
import { idMapping, linux, resources } from "./parse-linux-spec.ts";

const root = object<Root>({ path: required(nonEmpty), readonly: optional(boolean) });

const mount = object<Mount>({
  // Relative destinations are deprecated and taken from "/" (config.md#mounts).
  destination: required((value, at) => {
    const path = nonEmpty(value, at);
    return path.startsWith("/") ? path : `/${path}`;
  }),
  type: optional(string),
  source: optional(string),
  options: optional(listOf(string)),
  uidMappings: optional(listOf(idMapping)),
  gidMappings: optional(listOf(idMapping)),
});

// 2^32-1 is -1 to setresuid(2), "leave it as it is": root would stay root.
const id = integer(0, 0xfffffffe);

const user = object<User>({
  uid: required(id),
  gid: required(id),
  umask: optional(integer(0, 0o777)),
  additionalGids: optional(listOf(id)),
});

const rlimit: Shape<Rlimit> = (value, at, unknown) => {
  const limit = rlimitFields(value, at, unknown);
  if (limit.soft > limit.hard)
    throw invalidArgument(`${at}.soft is ${limit.soft}: above the hard limit ${limit.hard}`);
  return limit;
};
const rlimitFields = object<Rlimit>({
  type: required(nonEmpty),
  soft: required(uint64),
  hard: required(uint64),
});

const capabilities = object<Capabilities>({
  bounding: optional(listOf(nonEmpty)),
  effective: optional(listOf(nonEmpty)),
  inheritable: optional(listOf(nonEmpty)),
  permitted: optional(listOf(nonEmpty)),
  ambient: optional(listOf(nonEmpty)),
});

const scheduler = object<Scheduler>({
  policy: required(
    oneOf(
      "SCHED_OTHER",
      "SCHED_FIFO",
      "SCHED_RR",
      "SCHED_BATCH",
      "SCHED_ISO",
      "SCHED_IDLE",
      "SCHED_DEADLINE",
    ),
  ),
  nice: optional(integer(-20, 19)),
  priority: optional(int32),
  flags: optional(listOf(string)),
  runtime: optional(uint64),
  deadline: optional(uint64),
  period: optional(uint64),
});

// Go programs leave a zero out.
const ioPriority: Shape<IoPriority> = (value, at, unknown) => {
  const { priority = 0, ...rest } = ioPriorityFields(value, at, unknown);
  return { ...rest, priority };
};
const ioPriorityFields = object<Pick<IoPriority, "class"> & { priority?: number }>({
  class: required(oneOf("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE")),
  priority: optional(integer(0, 7)),
});

const process = object<Process>({
  terminal: optional(boolean),
  consoleSize: optional(
    object<{ height: number; width: number }>({
      height: required(integer(0, 0xffff)),
      width: required(integer(0, 0xffff)),
    }),
  ),
  cwd: required(absolutePath),
  env: optional(listOf(string)),
  args: optional(listOf(string)),
  user: required(user),
  rlimits: optional(listOf(rlimit)),
  capabilities: optional(capabilities),
  noNewPrivileges: optional(boolean),
  apparmorProfile: optional(string),
  selinuxLabel: optional(string),
  oomScoreAdj: optional(integer(-1000, 1000)),
  scheduler: optional(scheduler),
  ioPriority: optional(ioPriority),
  execCPUAffinity: optional(
    object<{ initial?: string; final?: string }>({ initial: optional(string), final: optional(string) }),
  ),
});

const hook = object<Hook>({
  path: required(absolutePath),
  args: optional(listOf(string)),
  env: optional(listOf(string)),
  timeout: optional(integer(1, 0x7fffffff)),
});

const hooks = object<Hooks>({
  prestart: optional(listOf(hook)),
  createRuntime: optional(listOf(hook)),
  createContainer: optional(listOf(hook)),
  startContainer: optional(listOf(hook)),
  poststart: optional(listOf(hook)),
  poststop: optional(listOf(hook)),
});

// Any 1.x: later minor versions only add properties, and those are ignored when unknown (config.md#extensibility).
const ociVersion: Shape<string> = (value, at) => {
  const version = string(value, at);
  if (/^1\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/.test(version)) return version;
  throw invalidArgument(`${at} is ${JSON.stringify(version)}: not a version 1.x.y`);
};

// "Keys MUST NOT be an empty string" (config.md#annotations).
const annotations: Shape<Record<string, string>> = (value, at) => {
  const map = mapOf(string)(value, at);
  if (Object.hasOwn(map, "")) throw invalidArgument(`${at} has an empty key`);
  return map;
};

const otherPlatforms = ["freebsd", "solaris", "vm", "windows", "zos"] as const;

// "MAY be set if the target platform of this spec is" that one: so such a spec is not meant for this kernel.
const spec: Shape<Spec> = (value, at, unknown) => {
  const result = specFields(value, at, unknown);
  for (const platform of otherPlatforms)
    if ((value as Record<string, unknown>)[platform] !== undefined)
      throw invalidArgument(`${platform} is set: this runtime is for Linux`);
  return result;
};
const specFields = object<Spec>({
  ociVersion: required(ociVersion),
  root: optional(root),
  hostname: optional(string),
  domainname: optional(string),
  mounts: optional(listOf(mount)),
  process: optional(process),
  hooks: optional(hooks),
  annotations: optional(annotations),
  linux: optional(linux),
});

/** The text of a config.json is bounded: it is read whole. */
const maxSpecBytes = 16 * 1024 * 1024;

/**
 * Parses and checks the text of a config.json.
 * @param unknown gets the paths of properties that the runtime-spec does not have
 * @throws CricketError invalid-argument that names the property
 */
export function parseSpec(text: string, unknown?: string[]): Spec {
  if (text.length > maxSpecBytes) throw invalidArgument(`config.json is longer than ${maxSpecBytes} bytes`);
  return spec(parseExactIntegers(text, "config.json"), "", unknown);
}

/** The same for the `process` object alone, as `exec --process` reads it. */
export function parseProcess(text: string, unknown?: string[]): Process {
  return process(parseExactIntegers(text, "process.json"), "process", unknown);
}

/** The same for `linux.resources` alone, as `update --resources` reads it. */
export function parseResources(text: string, unknown?: string[]): Resources {
  return resources(parseExactIntegers(text, "resources"), "resources", unknown);
}

/** config.json as text; the inverse of parseSpec. */
export function stringifySpec(value: Spec, indent?: number): string {
  return stringifyExactIntegers(value, indent);
}
