// capabilities(7): names and bit masks.
import { invalidArgument } from "../base/errors.ts";

// linux/capability.h: the position is the number.
const names = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_DAC_READ_SEARCH",
  "CAP_FOWNER",
  "CAP_FSETID",
  "CAP_KILL",
  "CAP_SETGID",
  "CAP_SETUID",
  "CAP_SETPCAP",
  "CAP_LINUX_IMMUTABLE",
  "CAP_NET_BIND_SERVICE",
  "CAP_NET_BROADCAST",
  "CAP_NET_ADMIN",
  "CAP_NET_RAW",
  "CAP_IPC_LOCK",
  "CAP_IPC_OWNER",
  "CAP_SYS_MODULE",
  "CAP_SYS_RAWIO",
  "CAP_SYS_CHROOT",
  "CAP_SYS_PTRACE",
  "CAP_SYS_PACCT",
  "CAP_SYS_ADMIN",
  "CAP_SYS_BOOT",
  "CAP_SYS_NICE",
  "CAP_SYS_RESOURCE",
  "CAP_SYS_TIME",
  "CAP_SYS_TTY_CONFIG",
  "CAP_MKNOD",
  "CAP_LEASE",
  "CAP_AUDIT_WRITE",
  "CAP_AUDIT_CONTROL",
  "CAP_SETFCAP",
  "CAP_MAC_OVERRIDE",
  "CAP_MAC_ADMIN",
  "CAP_SYSLOG",
  "CAP_WAKE_ALARM",
  "CAP_BLOCK_SUSPEND",
  "CAP_AUDIT_READ",
  "CAP_PERFMON",
  "CAP_BPF",
  "CAP_CHECKPOINT_RESTORE",
] as const;

const numbers = new Map<string, bigint>(names.map((name, number) => [name, BigInt(number)]));

/**
 * "CAP_CHOWN" for "CAP_CHOWN", "chown" and the like: clients write names with and without the prefix.
 * @throws CricketError invalid-argument naming `field`
 */
export function normaliseCapability(name: string, field: string): string {
  const upper = name.toUpperCase();
  const full = upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
  if (!numbers.has(full)) throw invalidArgument(`${field} has ${JSON.stringify(name)}: not a capability`);
  return full;
}

/**
 * The mask of a list of full names.
 * @throws CricketError invalid-argument naming `field`
 */
export function capabilityMask(list: readonly string[], field: string): bigint {
  let mask = 0n;
  for (const name of list) {
    const number = numbers.get(name);
    if (number === undefined) throw invalidArgument(`${field} has ${JSON.stringify(name)}: not a capability`);
    mask |= 1n << number;
  }
  return mask;
}

/** The names in a mask, by number; bits of capabilities newer than this list are left out. */
export function capabilityNames(mask: bigint): string[] {
  return names.filter((_name, number) => (mask & (1n << BigInt(number))) !== 0n);
}
