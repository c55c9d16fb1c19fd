// Device access rules with the meaning the v1 controller gives them, also where an eBPF program enforces them.
import { invalidArgument } from "../../base/errors.ts";

/** As in the OCI spec's linux.resources.devices: absent or negative numbers and an absent type mean "all". */
export interface DeviceRule {
  allow: boolean;
  /** "a" or absent: all devices; "c" or "u": character, "b": block, "p": fifo, which no controller knows. */
  type?: string;
  major?: bigint | number;
  minor?: bigint | number;
  /** Any of "r", "w", "m"; absent or "": all three. */
  access?: string;
}

export const ACCESS_MKNOD = 1;
export const ACCESS_READ = 2;
export const ACCESS_WRITE = 4;

/** -1: any number. */
export interface DeviceException {
  type: "b" | "c";
  major: number;
  minor: number;
  /** ACCESS_* bits. */
  access: number;
}

/** What rules come to: a default for all devices and what is different from it. */
export interface DevicePolicy {
  allowByDefault: boolean;
  exceptions: DeviceException[];
}

/**
 * Applies the rules in order, as writes to devices.allow and devices.deny would (cgroup-v1/devices.rst): a rule for
 * all devices sets the default and forgets the exceptions; a rule that agrees with the default takes its access away
 * from the exception of exactly that device; one that disagrees adds to it.
 */
export function resolveDeviceRules(rules: readonly DeviceRule[]): DevicePolicy {
  const policy: DevicePolicy = { allowByDefault: true, exceptions: [] };
  for (const [index, rule] of rules.entries()) {
    const exceptions = exceptionsOf(rule, index);
    if (exceptions === "all") {
      policy.allowByDefault = rule.allow;
      policy.exceptions = [];
    } else {
      for (const exception of exceptions) applyException(policy, rule.allow, exception);
    }
  }
  return policy;
}

function exceptionsOf(rule: DeviceRule, index: number): "all" | DeviceException[] {
  const { type = "a" } = rule;
  const access = accessBits(rule.access ?? "", index);
  const [major, minor] = [numberOf(rule.major, index), numberOf(rule.minor, index)];
  if (type === "c" || type === "u") return [{ type: "c", major, minor, access }];
  if (type === "b") return [{ type: "b", major, minor, access }];
  if (type !== "a") throw invalidArgument(`devices[${index}]: type ${JSON.stringify(type)} is not a, b or c`);
  // "a" with numbers or part of the access is not what the v1 file takes (it ignores both); spell it out instead.
  if (major === -1 && minor === -1 && access === (ACCESS_MKNOD | ACCESS_READ | ACCESS_WRITE)) return "all";
  return [
    { type: "b", major, minor, access },
    { type: "c", major, minor, access },
  ];
}

function accessBits(access: string, index: number): number {
  if (!/^[rwm]*$/.test(access))
    throw invalidArgument(`devices[${index}]: access ${JSON.stringify(access)} is not made of r, w and m`);
  const bits =
    (access.includes("m") ? ACCESS_MKNOD : 0) |
    (access.includes("r") ? ACCESS_READ : 0) |
    (access.includes("w") ? ACCESS_WRITE : 0);
  return bits === 0 ? ACCESS_MKNOD | ACCESS_READ | ACCESS_WRITE : bits;
}

function numberOf(value: bigint | number | undefined, index: number): number {
  const number = Number(value ?? -1);
  if (!Number.isInteger(number) || number > 0xffffffff)
    throw invalidArgument(`devices[${index}]: ${String(value)} is not a device number`);
  return number < 0 ? -1 : number;
}

function applyException(policy: DevicePolicy, allow: boolean, exception: DeviceException): void {
  const same = policy.exceptions.find(
    ({ type, major, minor }) =>
      type === exception.type && major === exception.major && minor === exception.minor,
  );
  if (allow !== policy.allowByDefault) {
    if (same === undefined) policy.exceptions.push({ ...exception });
    else same.access |= exception.access;
  } else if (same !== undefined) {
    same.access &= ~exception.access;
    if (same.access === 0) policy.exceptions.splice(policy.exceptions.indexOf(same), 1);
  }
}

/** The lines for devices.allow or devices.deny of cgroup v1: "c 1:3 rwm". */
export function formatException({ type, major, minor, access }: DeviceException): string {
  const number = (value: number): string => (value === -1 ? "*" : String(value));
  const letters =
    (access & ACCESS_READ ? "r" : "") +
    (access & ACCESS_WRITE ? "w" : "") +
    (access & ACCESS_MKNOD ? "m" : "");
  return `${type} ${number(major)}:${number(minor)} ${letters}`;
}
