// Settings under /proc/sys/net of the host's network namespace.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { errnoOf, wrapError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";

const root = "/proc/sys/net";

/** Undefined where the kernel lacks the setting (IPv6 turned off, module not loaded). */
function readSetting(path: string): string | undefined {
  try {
    return readFileSync(`${root}/${path}`, "utf8").trim();
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw wrapError(`read ${root}/${path}`, error);
  }
}

function writeSetting(path: string, value: string): void {
  try {
    writeFileSync(`${root}/${path}`, value);
  } catch (error) {
    throw wrapError(`write ${value} to ${root}/${path}`, error);
  }
}

/** Sets a value if it is another one: a read-only /proc/sys is fine where it already says what is needed. */
function ensureSetting(path: string, value: string, log: Log): void {
  const present = readSetting(path);
  if (present === value) return;
  writeSetting(path, value);
  log.debug("network setting changed", { path: `${root}/${path}`, from: present, to: value });
}

/** Lets the host route between pods and its other interfaces. */
export function enableForwarding(ipv6: boolean, log: Log): void {
  ensureSetting("ipv4/ip_forward", "1", log);
  if (!ipv6 || readSetting("ipv6/conf/all/forwarding") === "1") return;
  keepRouterAdvertisements(log);
  ensureSetting("ipv6/conf/all/forwarding", "1", log);
}

/** A router advertisement that a pod sends must not change the routes of the host (CVE-2020-10749, CVE-2020-13401). */
export function refuseRouterAdvertisements(interfaceName: string, log: Log): void {
  const path = `ipv6/conf/${interfaceName}/accept_ra`;
  if (readSetting(path) !== undefined) ensureSetting(path, "0", log);
}

// Forwarding makes a host a router, and a router ignores router advertisements unless accept_ra is 2
// (ip-sysctl): without this the node would lose its own default route when it expires.
function keepRouterAdvertisements(log: Log): void {
  for (const name of readdirSync(`${root}/ipv6/conf`)) {
    const path = `ipv6/conf/${name}/accept_ra`;
    const isPattern = name === "all" || name === "default" || name === "lo";
    if (!isPattern && readSetting(path) === "1") ensureSetting(path, "2", log);
  }
}
