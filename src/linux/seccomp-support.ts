// What the running kernel's seccomp can do.
import { readFileSync } from "node:fs";
import { lastErrno, libc } from "./libc.ts";

const SYS_seccomp = process.arch === "arm64" ? 277 : 317;
const SECCOMP_SET_MODE_FILTER = 1;

/** linux/seccomp.h: the flags that a profile may have. */
export const seccompFlags: ReadonlyMap<string, number> = new Map([
  ["SECCOMP_FILTER_FLAG_TSYNC", 0x01],
  ["SECCOMP_FILTER_FLAG_LOG", 0x02],
  ["SECCOMP_FILTER_FLAG_SPEC_ALLOW", 0x04],
  ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 0x20],
]);

const newListener = 0x08;
const onlyWithListener = 0x20;

// int syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, unsigned int flags, void *args)
const sysSeccomp = libc.func(
  "long syscall(long number, unsigned int operation, unsigned int flags, void *args)",
);

/** Of `flags` bits; nothing is installed: without a filter the kernel says EFAULT once it has accepted the flags. */
export function takesSeccompFlags(flags: number): boolean {
  const asked = (flags & onlyWithListener) === 0 ? flags : flags | newListener;
  const result = Number(sysSeccomp(SYS_seccomp, SECCOMP_SET_MODE_FILTER, asked, null));
  return result === -1 && lastErrno() === "EFAULT";
}

/** The kernel's names: "kill_process", "errno", "user_notif"; undefined where it has no seccomp. */
export function seccompActions(): readonly string[] | undefined {
  try {
    return readFileSync("/proc/sys/kernel/seccomp/actions_avail", "utf8").trim().split(/\s+/);
  } catch {
    return undefined;
  }
}
