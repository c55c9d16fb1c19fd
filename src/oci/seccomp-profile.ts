// seccomp profile files: the field's JSON format with conditions (capabilities, architectures, kernel), and the plain
// linux.seccomp object of the runtime-spec, which is the same without them.
import { readFileSync } from "node:fs";
import { invalidArgument, wrapError } from "../base/errors.ts";
import {
  int32,
  listOf,
  nonEmpty,
  object,
  optional,
  parseExactIntegers,
  required,
  string,
  type Shape,
} from "./json-shape.ts";
import type { Seccomp, SeccompArgument, SeccompRule, SeccompAction } from "./linux-spec.ts";
import { assertTakesErrno, seccompAction, seccompArgument, seccompErrno } from "./parse-seccomp.ts";

/** When a rule counts: all that is given must hold. */
export interface RuleCondition {
  caps?: string[];
  arches?: string[];
  /** "4.8". */
  minKernel?: string;
}

export interface ProfileRule {
  names: string[];
  action: SeccompAction;
  errnoRet?: number;
  args?: SeccompArgument[];
  includes?: RuleCondition;
  excludes?: RuleCondition;
}

export interface SeccompProfile {
  defaultAction: SeccompAction;
  defaultErrnoRet?: number;
  /** "SCMP_ARCH_X86_64"; none of the two lists: the native architecture. */
  architectures?: string[];
  archMap?: { architecture: string; subArchitectures: string[] }[];
  flags?: string[];
  listenerPath?: string;
  listenerMetadata?: string;
  syscalls: ProfileRule[];
}

/** What conditions are checked against. */
export interface ProfileContext {
  /** "CAP_..." names the container has. */
  capabilities: readonly string[];
  /** "amd64", "arm64". */
  architecture: string;
  kernelVersion: { major: number; minor: number };
}

const condition = object<RuleCondition>({
  caps: optional(listOf(nonEmpty)),
  arches: optional(listOf(nonEmpty)),
  minKernel: optional(string),
});

interface GivenRule extends Omit<ProfileRule, "names"> {
  names?: string[];
  /** The older form of a rule, for one syscall. */
  name?: string;
}

const givenRule = object<GivenRule>({
  names: optional(listOf(nonEmpty)),
  name: optional(string),
  action: required(seccompAction),
  errnoRet: optional(seccompErrno),
  args: optional(listOf(seccompArgument)),
  includes: optional(condition),
  excludes: optional(condition),
});

const rule: Shape<ProfileRule> = (value, at) => {
  const { name, names, ...rest } = givenRule(value, at);
  const given = [...(names ?? []), ...(name === undefined || name === "" ? [] : [name])];
  if (given.length === 0) throw invalidArgument(`${at}.names is missing`);
  if (names !== undefined && name !== undefined && name !== "")
    throw invalidArgument(`${at} has both name and names`);
  assertTakesErrno(rest.action, rest.errnoRet, `${at}.errnoRet`);
  for (const side of ["includes", "excludes"] as const) checkKernel(rest[side]?.minKernel, `${at}.${side}`);
  return { names: given, ...rest };
};

function checkKernel(minKernel: string | undefined, at: string): void {
  if (minKernel !== undefined && minKernel !== "" && !/^\d{1,3}\.\d{1,3}$/.test(minKernel))
    throw invalidArgument(`${at}.minKernel is ${JSON.stringify(minKernel)}: not of the form 4.8`);
}

const listOrNone =
  <T>(shape: Shape<T>): Shape<T[]> =>
  (value, at) =>
    value === null ? [] : listOf(shape)(value, at);

const subArchitectures: Shape<{ architecture: string; subArchitectures: string[] }> = (value, at) => {
  const entry = object<{ architecture: string; subArchitectures?: string[] }>({
    architecture: required(nonEmpty),
    subArchitectures: optional(listOf(nonEmpty)),
  })(value, at);
  return { architecture: entry.architecture, subArchitectures: entry.subArchitectures ?? [] };
};

const profile = object<Omit<SeccompProfile, "syscalls"> & { syscalls?: ProfileRule[] }>({
  defaultAction: required(seccompAction),
  defaultErrnoRet: optional(int32),
  architectures: optional(listOrNone(nonEmpty)),
  archMap: optional(listOrNone(subArchitectures)),
  flags: optional(listOf(nonEmpty)),
  listenerPath: optional(string),
  listenerMetadata: optional(string),
  syscalls: optional(listOrNone(rule)),
});

const maxProfileBytes = 4 * 1024 * 1024;

/**
 * Parses a profile file.
 * @param file for errors: `/var/lib/kubelet/seccomp/x.json: syscalls[3].action is missing`
 * @throws CricketError invalid-argument naming file and property
 */
export function parseSeccompProfile(text: string, file: string): SeccompProfile {
  if (text.length > maxProfileBytes) throw invalidArgument(`${file} is longer than ${maxProfileBytes} bytes`);
  const parsed = inFile(file, () => profile(parseExactIntegers(text, "the document"), ""));
  const { architectures = [], archMap = [] } = parsed;
  if (architectures.length > 0 && archMap.length > 0)
    throw invalidArgument(`${file} has both architectures and archMap`);
  const { syscalls = [], defaultAction, listenerPath = "" } = parsed;
  const notifies = [defaultAction, ...syscalls.map(({ action }) => action)].includes("SCMP_ACT_NOTIFY");
  if (notifies && listenerPath === "")
    throw invalidArgument(`${file} has SCMP_ACT_NOTIFY without a listenerPath: nobody would answer`);
  return { ...parsed, syscalls };
}

function inFile<T>(file: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw wrapError(file, error);
  }
}

const resolved = new WeakMap<SeccompProfile, Map<string, Seccomp>>();

/** The linux.seccomp of a profile for one container. The same answer is the same object, so that it is compiled once. */
export function resolveSeccompProfile(source: SeccompProfile, context: ProfileContext): Seccomp {
  const { major, minor } = context.kernelVersion;
  const key = `${context.architecture} ${major}.${minor} ${[...context.capabilities].sort().join()}`;
  const known = resolved.get(source) ?? new Map<string, Seccomp>();
  resolved.set(source, known);
  const seccomp = known.get(key) ?? resolveProfile(source, context);
  known.set(key, seccomp);
  return seccomp;
}

function resolveProfile(source: SeccompProfile, context: ProfileContext): Seccomp {
  const { syscalls, archMap, architectures, ...rest } = source;
  const list = resolveArchitectures(architectures ?? [], archMap ?? [], context.architecture);
  return {
    ...rest,
    ...(list.length === 0 ? {} : { architectures: list }),
    syscalls: syscalls
      .filter(({ includes, excludes }) => holds(includes, context) && !excluded(excludes, context))
      .map(({ includes: _includes, excludes: _excludes, ...plain }): SeccompRule => plain),
  };
}

// Go's name of an architecture and libseccomp's.
const libseccompNames: ReadonlyMap<string, string> = new Map([
  ["amd64", "SCMP_ARCH_X86_64"],
  ["arm64", "SCMP_ARCH_AARCH64"],
]);

function resolveArchitectures(
  architectures: readonly string[],
  archMap: readonly { architecture: string; subArchitectures: string[] }[],
  architecture: string,
): string[] {
  if (architectures.length > 0) return [...architectures];
  const name = libseccompNames.get(architecture);
  const entry = archMap.find((candidate) => candidate.architecture === name);
  return entry === undefined ? [] : [entry.architecture, ...entry.subArchitectures];
}

function holds(includes: RuleCondition | undefined, context: ProfileContext): boolean {
  const { caps = [], arches = [], minKernel = "" } = includes ?? {};
  return (
    caps.every((name) => context.capabilities.includes(name)) &&
    (arches.length === 0 || arches.includes(context.architecture)) &&
    (minKernel === "" || isAtLeast(context.kernelVersion, minKernel))
  );
}

function excluded(excludes: RuleCondition | undefined, context: ProfileContext): boolean {
  const { caps = [], arches = [], minKernel = "" } = excludes ?? {};
  return (
    caps.some((name) => context.capabilities.includes(name)) ||
    arches.includes(context.architecture) ||
    (minKernel !== "" && isAtLeast(context.kernelVersion, minKernel))
  );
}

function isAtLeast(version: { major: number; minor: number }, minimum: string): boolean {
  const [major = 0, minor = 0] = minimum.split(".").map(Number);
  return version.major > major || (version.major === major && version.minor >= minor);
}

/** A profile file: the configured one, or a pod's Localhost profile. */
export function readSeccompProfile(path: string): SeccompProfile {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw wrapError(`read seccomp profile ${path}`, error);
  }
  return parseSeccompProfile(text, path);
}
