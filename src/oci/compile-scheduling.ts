// CPU and I/O scheduling of a process (config.md#linux-process).
import { invalidArgument } from "../base/errors.ts";
import type { Step } from "../linux/launch-program.ts";
import { parseNumberList } from "./number-list.ts";
import type { IoPriority, Process, Scheduler, SchedulerPolicy } from "./spec.ts";

const source = "OCI runtime-spec config.md#linux-process";

// linux/sched.h
const policies: Record<SchedulerPolicy, number> = {
  SCHED_OTHER: 0,
  SCHED_FIFO: 1,
  SCHED_RR: 2,
  SCHED_BATCH: 3,
  SCHED_ISO: 4,
  SCHED_IDLE: 5,
  SCHED_DEADLINE: 6,
};

const schedulerFlags: ReadonlyMap<string, bigint> = new Map([
  ["SCHED_FLAG_RESET_ON_FORK", 0x01n],
  ["SCHED_FLAG_RECLAIM", 0x02n],
  ["SCHED_FLAG_DL_OVERRUN", 0x04n],
  ["SCHED_FLAG_KEEP_POLICY", 0x08n],
  ["SCHED_FLAG_KEEP_PARAMS", 0x10n],
  ["SCHED_FLAG_UTIL_CLAMP_MIN", 0x20n],
  ["SCHED_FLAG_UTIL_CLAMP_MAX", 0x40n],
]);

// linux/ioprio.h
const ioClasses: Record<IoPriority["class"], number> = {
  IOPRIO_CLASS_RT: 1,
  IOPRIO_CLASS_BE: 2,
  IOPRIO_CLASS_IDLE: 3,
};
const IOPRIO_CLASS_SHIFT = 13;

export function compileScheduling(process: Process): Step[] {
  const steps: Step[] = [];
  if (process.scheduler !== undefined) steps.push(compileScheduler(process.scheduler));
  if (process.ioPriority !== undefined)
    steps.push({
      op: "ioPriority",
      value: (ioClasses[process.ioPriority.class] << IOPRIO_CLASS_SHIFT) | process.ioPriority.priority,
      because: { why: "while CAP_SYS_NICE is still there", source },
    });
  return steps;
}

function compileScheduler(scheduler: Scheduler): Step {
  let flags = 0n;
  for (const name of scheduler.flags ?? []) {
    const flag = schedulerFlags.get(name);
    if (flag === undefined)
      throw invalidArgument(`process.scheduler.flags has ${JSON.stringify(name)}: not a flag`);
    flags |= flag;
  }
  if (scheduler.policy === "SCHED_DEADLINE") assertDeadline(scheduler);
  // The number is reserved; the scheduler was never merged.
  if (scheduler.policy === "SCHED_ISO")
    throw invalidArgument("process.scheduler.policy is SCHED_ISO: Linux has no such scheduler");
  return {
    op: "scheduler",
    policy: policies[scheduler.policy],
    nice: scheduler.nice ?? 0,
    priority: scheduler.priority ?? 0,
    flags,
    runtimeNs: scheduler.runtime ?? 0n,
    deadlineNs: scheduler.deadline ?? 0n,
    periodNs: scheduler.period ?? 0n,
    because: { why: `policy ${scheduler.policy}, while CAP_SYS_NICE is still there`, source },
  };
}

/** kernel/sched/deadline.c, __checkparam_dl, which says EINVAL to all of it. */
const shortestRuntimeNs = 1024n;

function assertDeadline({ runtime = 0n, deadline = 0n, period = 0n }: Scheduler): void {
  const at = "process.scheduler";
  if (deadline === 0n) throw invalidArgument(`${at}.deadline is missing: SCHED_DEADLINE needs one`);
  if (runtime < shortestRuntimeNs)
    throw invalidArgument(
      `${at}.runtime is ${runtime}: SCHED_DEADLINE needs ${shortestRuntimeNs} ns at least`,
    );
  if (runtime > deadline) throw invalidArgument(`${at}.runtime is ${runtime}: longer than the deadline`);
  // Without a period it is the deadline.
  if (period !== 0n && period < deadline)
    throw invalidArgument(`${at}.period is ${period}: shorter than the deadline`);
}

/**
 * process.execCPUAffinity: the mask of a CPU list such as "0-3,7", for sched_setaffinity(2).
 * @throws CricketError invalid-argument naming `field`
 */
export function compileAffinity(list: string, field: string): Step {
  return {
    op: "cpuAffinity",
    mask: parseNumberList(list, field, "CPUs"),
    because: { why: `CPUs ${list}`, source: `${source} execCPUAffinity` },
  };
}
