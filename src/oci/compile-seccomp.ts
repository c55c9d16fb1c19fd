// linux.seccomp -> BPF. Compiling takes milliseconds and nodes run few profiles, so results are kept: by object for
// the specs in memory, by content for those that were read again.
import { createHash } from "node:crypto";
import { invalidArgument } from "../base/errors.ts";
import {
  buildFilter,
  compareOperators,
  SECCOMP_RET_ALLOW,
  SECCOMP_RET_ERRNO,
  SECCOMP_RET_KILL_PROCESS,
  SECCOMP_RET_KILL_THREAD,
  SECCOMP_RET_LOG,
  SECCOMP_RET_TRACE,
  SECCOMP_RET_TRAP,
  SECCOMP_RET_USER_NOTIF,
  type ArgumentTest,
  type FilterDescription,
  type SyscallRule,
} from "../linux/seccomp.ts";
import { seccompFlags } from "../linux/seccomp-support.ts";
import type { SeccompFilter } from "./container-launch.ts";
import { stringifyExactIntegers } from "./json-shape.ts";
import type { Seccomp, SeccompAction, SeccompArgument, SeccompRule } from "./linux-spec.ts";

const byObject = new WeakMap<Seccomp, SeccompFilter>();
const byContent = new Map<string, SeccompFilter>();
/** Some 10 kB each; a node has a handful of profiles times a handful of capability sets. */
const maxKept = 64;

/**
 * @throws CricketError failed-precondition without libseccomp; invalid-argument naming the property
 */
export function compileSeccomp(seccomp: Seccomp): SeccompFilter {
  const known = byObject.get(seccomp);
  if (known !== undefined) return known;
  const key = createHash("sha256").update(stringifyExactIntegers(seccomp)).digest("hex");
  const filter = byContent.get(key) ?? compile(seccomp);
  byObject.set(seccomp, filter);
  byContent.set(key, filter);
  if (byContent.size > maxKept) byContent.delete(byContent.keys().next().value ?? "");
  return filter;
}

function compile(seccomp: Seccomp): SeccompFilter {
  const rules = seccomp.syscalls ?? [];
  const listener = [seccomp.defaultAction, ...rules.map(({ action }) => action)].includes("SCMP_ACT_NOTIFY");
  if (listener && (seccomp.listenerPath ?? "") === "")
    throw invalidArgument("linux.seccomp.listenerPath is missing, but a rule notifies");
  const flags = filterFlags(seccomp.flags);
  if (!listener && (flags & waitKillable) !== 0)
    throw invalidArgument("linux.seccomp.flags has WAIT_KILLABLE_RECV, but no rule notifies");
  return { program: buildFilter(describe(seccomp)), flags, listener };
}

const waitKillable = seccompFlags.get("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV") ?? 0;

// Whoever lets everything through, or decides call by call, is ready for calls that are younger than the profile.
const open: ReadonlySet<SeccompAction> = new Set(["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"]);

function describe(seccomp: Seccomp): FilterDescription {
  const { defaultAction, defaultErrnoRet, architectures = [], syscalls = [] } = seccomp;
  const fallback = returnValue(defaultAction, defaultErrnoRet);
  return {
    defaultAction: fallback,
    architectures: architectures.map((name) => name.replace(/^SCMP_ARCH_/, "").toLowerCase()),
    rules: syscalls.flatMap(describeRule),
    newerIsEnosys: !open.has(defaultAction) && fallback !== (SECCOMP_RET_ERRNO | ENOSYS),
  };
}

const EPERM = 1;
const ENOSYS = 38;

const plainActions: Record<Exclude<SeccompAction, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE">, number> = {
  // Of the whole process would be safer, but the spec follows libseccomp's name.
  SCMP_ACT_KILL: SECCOMP_RET_KILL_THREAD,
  SCMP_ACT_KILL_THREAD: SECCOMP_RET_KILL_THREAD,
  SCMP_ACT_KILL_PROCESS: SECCOMP_RET_KILL_PROCESS,
  SCMP_ACT_TRAP: SECCOMP_RET_TRAP,
  SCMP_ACT_ALLOW: SECCOMP_RET_ALLOW,
  SCMP_ACT_LOG: SECCOMP_RET_LOG,
  SCMP_ACT_NOTIFY: SECCOMP_RET_USER_NOTIF,
};

function returnValue(action: SeccompAction, errnoRet: number | undefined): number {
  if (action === "SCMP_ACT_ERRNO") return SECCOMP_RET_ERRNO | (errnoRet ?? EPERM);
  if (action === "SCMP_ACT_TRACE") return SECCOMP_RET_TRACE | (errnoRet ?? EPERM);
  return plainActions[action];
}

/**
 * Tests of one argument each are joined by "and". libseccomp takes no two tests of one argument in a rule: then, as
 * in every runtime, each test is a rule of its own, joined by "or".
 */
function describeRule({ names, action, errnoRet, args = [] }: SeccompRule): SyscallRule[] {
  const value = returnValue(action, errnoRet);
  const tests = args.map(describeTest);
  const hasRepeated = new Set(tests.map(({ index }) => index)).size < tests.length;
  if (!hasRepeated) return [{ names, action: value, tests }];
  return tests.map((test) => ({ names, action: value, tests: [test] }));
}

function describeTest({ index, value, valueTwo = 0n, op }: SeccompArgument): ArgumentTest {
  return { index, operator: compareOperators[op], value, valueTwo };
}

/** Not given: SPEC_ALLOW, as the field's runtimes do; without it older kernels slow every filtered process down. */
function filterFlags(flags: readonly string[] | undefined): number {
  let bits = 0;
  for (const flag of flags ?? ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]) {
    const bit = seccompFlags.get(flag);
    if (bit === undefined)
      throw invalidArgument(`linux.seccomp.flags has ${JSON.stringify(flag)}: not a flag`);
    bits |= bit;
  }
  return bits;
}
