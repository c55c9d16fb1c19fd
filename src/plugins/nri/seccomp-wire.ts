// Filters of system calls between NRI's messages and the OCI spec.
import { fromInt64, toInt64 } from "../../../cri-api/int64.ts";
import type { v1 } from "../../../cri-api/nri/v1/api.js";
import type { Seccomp, SeccompRule } from "../../oci/linux-spec.ts";
import { pick } from "./resources-wire.ts";

export function seccompOf(wire: v1.LinuxSeccompSent): Seccomp {
  return {
    defaultAction: wire.defaultAction as Seccomp["defaultAction"],
    ...pick({ defaultErrnoRet: wire.defaultErrno?.value ?? undefined }),
    architectures: [...(wire.architectures ?? [])],
    flags: [...(wire.flags ?? [])],
    ...pick({
      listenerPath: wire.listenerPath === "" ? undefined : wire.listenerPath,
      listenerMetadata: wire.listenerMetadata === "" ? undefined : wire.listenerMetadata,
    }),
    syscalls: (wire.syscalls ?? []).map(seccompRuleOf),
  } as Seccomp;
}

function seccompRuleOf(wire: v1.LinuxSyscallSent): SeccompRule {
  return {
    names: [...(wire.names ?? [])],
    action: wire.action as SeccompRule["action"],
    ...pick({ errnoRet: wire.errnoRet?.value ?? undefined }),
    args: (wire.args ?? []).map(({ index, value, valueTwo, op }) => ({
      index: index ?? 0,
      value: BigInt.asUintN(64, fromInt64(value)),
      valueTwo: BigInt.asUintN(64, fromInt64(valueTwo)),
      op: op as NonNullable<SeccompRule["args"]>[number]["op"],
    })),
  } as SeccompRule;
}

export function seccompMessage(seccomp: Seccomp): v1.LinuxSeccompSent {
  const { defaultAction, defaultErrnoRet, architectures = [], flags = [], syscalls = [] } = seccomp;
  return {
    defaultAction,
    ...(defaultErrnoRet === undefined ? {} : { defaultErrno: { value: defaultErrnoRet } }),
    architectures,
    flags,
    listenerPath: seccomp.listenerPath ?? "",
    listenerMetadata: seccomp.listenerMetadata ?? "",
    syscalls: syscalls.map(({ names, action, errnoRet, args = [] }) => ({
      names,
      action,
      ...(errnoRet === undefined ? {} : { errnoRet: { value: errnoRet } }),
      args: args.map(({ index, value, valueTwo = 0n, op }) => ({
        index,
        value: toInt64(value),
        valueTwo: toInt64(valueTwo),
        op,
      })),
    })),
  };
}
