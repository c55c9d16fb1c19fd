// The I/O priority and the scheduler of a container between NRI's messages and the OCI spec.
import { fromInt64, toInt64 } from "../../../cri-api/int64.ts";
import type { v1 } from "../../../cri-api/nri/v1/api.js";
import type { IoPriority, Scheduler, SchedulerPolicy } from "../../oci/spec.ts";

const ioClasses = ["", "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"];

export function ioPriorityOf(wire: v1.LinuxIOPrioritySent): IoPriority | undefined {
  const name = ioClasses[wire.class ?? 0];
  // IOPRIO_CLASS_NONE: as it is without one.
  if (name === "" || name === undefined) return undefined;
  return { class: name as IoPriority["class"], priority: wire.priority ?? 0 };
}

const policies = [
  "",
  "SCHED_OTHER",
  "SCHED_FIFO",
  "SCHED_RR",
  "SCHED_BATCH",
  "SCHED_ISO",
  "SCHED_IDLE",
  "SCHED_DEADLINE",
];
const schedulerFlags = [
  "RESET_ON_FORK",
  "RECLAIM",
  "DL_OVERRUN",
  "KEEP_POLICY",
  "KEEP_PARAMS",
  "UTIL_CLAMP_MIN",
  "UTIL_CLAMP_MAX",
];

export function schedulerOf(wire: v1.LinuxSchedulerSent): Scheduler | undefined {
  const policy = policies[wire.policy ?? 0];
  if (policy === "" || policy === undefined) return undefined;
  return {
    policy: policy as SchedulerPolicy,
    nice: wire.nice ?? 0,
    priority: wire.priority ?? 0,
    flags: (wire.flags ?? []).map((flag) => `SCHED_FLAG_${schedulerFlags[flag] ?? flag}`),
    runtime: fromInt64(wire.runtime),
    deadline: fromInt64(wire.deadline),
    period: fromInt64(wire.period),
  };
}

export function ioPriorityMessage({ class: name, priority }: IoPriority): v1.LinuxIOPrioritySent {
  return { class: ioClasses.indexOf(name), priority };
}

export function schedulerMessage(scheduler: Scheduler): v1.LinuxSchedulerSent {
  const { policy, nice = 0, priority = 0, flags = [], runtime = 0n, deadline = 0n, period = 0n } = scheduler;
  return {
    policy: policies.indexOf(policy),
    nice,
    priority,
    flags: flags.map((flag) => schedulerFlags.indexOf(flag.replace("SCHED_FLAG_", ""))),
    runtime: toInt64(runtime),
    deadline: toInt64(deadline),
    period: toInt64(period),
  };
}
