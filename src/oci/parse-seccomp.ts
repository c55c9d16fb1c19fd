// linux.seccomp of config.json: see parse-spec.ts. seccomp-profile.ts has the form of profile files.
import { invalidArgument } from "../base/errors.ts";
import {
  integer,
  listOf,
  nonEmpty,
  object,
  oneOf,
  optional,
  required,
  string,
  uint64,
  type Shape,
} from "./json-shape.ts";
import type { Seccomp, SeccompAction, SeccompArgument, SeccompRule } from "./linux-spec.ts";

export const seccompAction = oneOf(
  "SCMP_ACT_KILL",
  "SCMP_ACT_KILL_PROCESS",
  "SCMP_ACT_KILL_THREAD",
  "SCMP_ACT_TRAP",
  "SCMP_ACT_ERRNO",
  "SCMP_ACT_TRACE",
  "SCMP_ACT_ALLOW",
  "SCMP_ACT_LOG",
  "SCMP_ACT_NOTIFY",
);

export const seccompArgument = object<SeccompArgument>({
  index: required(integer(0, 5)),
  value: required(uint64),
  valueTwo: optional(uint64),
  op: required(
    oneOf(
      "SCMP_CMP_NE",
      "SCMP_CMP_LT",
      "SCMP_CMP_LE",
      "SCMP_CMP_EQ",
      "SCMP_CMP_GE",
      "SCMP_CMP_GT",
      "SCMP_CMP_MASKED_EQ",
    ),
  ),
});

/** The SECCOMP_RET_DATA of an errno or trace action: 16 bits, of which the kernel takes errnos up to 4095. */
export const seccompErrno = integer(0, 4095);

const takesErrno: ReadonlySet<SeccompAction> = new Set(["SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"]);

/** config-linux.md#seccomp: "When the action doesn't support an errno, the runtime MUST print and error and fail". */
export function assertTakesErrno(action: SeccompAction, errnoRet: number | undefined, at: string): void {
  if (errnoRet !== undefined && !takesErrno.has(action))
    throw invalidArgument(`${at} is set, but ${action} answers no errno`);
}

const seccompRule: Shape<SeccompRule> = (value, at, unknown) => {
  const rule = seccompRuleFields(value, at, unknown);
  if (rule.names.length === 0) throw invalidArgument(`${at}.names is empty`);
  assertTakesErrno(rule.action, rule.errnoRet, `${at}.errnoRet`);
  return rule;
};
const seccompRuleFields = object<SeccompRule>({
  names: required(listOf(nonEmpty)),
  action: required(seccompAction),
  errnoRet: optional(seccompErrno),
  args: optional(listOf(seccompArgument)),
});

export const seccomp: Shape<Seccomp> = (value, at, unknown) => {
  const filter = seccompFields(value, at, unknown);
  assertTakesErrno(filter.defaultAction, filter.defaultErrnoRet, `${at}.defaultErrnoRet`);
  if ((filter.listenerMetadata ?? "") !== "" && (filter.listenerPath ?? "") === "")
    throw invalidArgument(`${at}.listenerMetadata is set, but ${at}.listenerPath is not`);
  return filter;
};
const seccompFields = object<Seccomp>({
  defaultAction: required(seccompAction),
  defaultErrnoRet: optional(seccompErrno),
  architectures: optional(listOf(nonEmpty)),
  flags: optional(listOf(nonEmpty)),
  listenerPath: optional(string),
  listenerMetadata: optional(string),
  syscalls: optional(listOf(seccompRule)),
});
