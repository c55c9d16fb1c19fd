// Removes by force what a daemon with roots of its own has made: what it leaves on purpose (its bridge, for the next
// start), and everything when it cannot clean up itself any more.

import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { deleteLink } from "../../src/linux/netlink-route.ts";
import { NETLINK_ROUTE, NetlinkSocket } from "../../src/linux/netlink-socket.ts";

/** Where a daemon's resources are; all of it private to one test, demo or benchmark. */
export interface DaemonPlace {
  name: string;
  bridgeName: string;
  cgroupParent: string;
  /** Holds run root, socket and configuration. */
  directory: string;
  stateRoot: string;
}

/**
 * "what-is-kept": the bridge with its packet rules and the cgroup that pods go below, which the next start of a daemon
 * would use; only an empty cgroup can be removed. "everything": also processes, mounts, cgroups and directories.
 * Idempotent.
 */
export async function removeLeftovers(
  place: DaemonPlace,
  what: "what-is-kept" | "everything",
): Promise<void> {
  if (what === "everything") {
    await killAll(place);
    unmountAll(place);
    for (const directory of cgroupDirectories(place.cgroupParent)) removeTree(directory);
  }
  await removeNetwork(place.bridgeName);
  for (const directory of cgroupDirectories(place.cgroupParent)) removeEmpty(directory);
  if (what === "everything")
    for (const directory of [place.directory, place.stateRoot])
      fs.rmSync(directory, { recursive: true, force: true });
}

async function removeNetwork(bridgeName: string): Promise<void> {
  if (!fs.existsSync(`/sys/class/net/${bridgeName}`)) return;
  const socket = NetlinkSocket.open(NETLINK_ROUTE);
  try {
    await socket.request([deleteLink({ name: bridgeName })], ["ENODEV"]);
  } finally {
    socket.close();
  }
  const table = `inet cricket-${bridgeName}`;
  // Adding it first makes the deletion succeed where there is none.
  run("nft", ["-f", "-"], `add table ${table}\ndelete table ${table}\n`);
}

// What is not installed has made nothing that could be left.
function run(program: string, args: string[], input = ""): void {
  spawnSync(program, args, {
    input,
    env: { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` },
  });
}

/** Every process in a cgroup below the daemon's parent, in whichever hierarchy, and those that work in its directories. */
async function killAll(place: DaemonPlace): Promise<void> {
  for (let attempt = 0; attempt < 40; attempt++) {
    const pids = processesOf(place);
    if (pids.length === 0) return;
    for (const pid of pids) kill(pid);
    await delay(50);
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // ESRCH: it has ended meanwhile.
  }
}

function processesOf(place: DaemonPlace): number[] {
  const pids = fs.readdirSync("/proc").map(Number).filter(Number.isInteger);
  return pids.filter((pid) => pid !== process.pid && belongs(pid, place));
}

function belongs(pid: number, place: DaemonPlace): boolean {
  try {
    const inCgroup = fs.readFileSync(`/proc/${pid}/cgroup`, "utf8").includes(`:${place.cgroupParent}/`);
    return inCgroup || fs.readlinkSync(`/proc/${pid}/cwd`).startsWith(`${place.directory}/`);
  } catch {
    return false;
  }
}

function unmountAll(place: DaemonPlace): void {
  const points = fs
    .readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((point) => [place.directory, place.stateRoot].some((root) => point.startsWith(`${root}/`)));
  // Last mounted, first unmounted.
  for (const point of points.toReversed()) run("umount", ["-l", point]);
}

function cgroupDirectories(cgroup: string): string[] {
  const hierarchies = fs
    .readdirSync("/sys/fs/cgroup", { withFileTypes: true })
    .filter((entry) => entry.isDirectory());
  const roots = ["/sys/fs/cgroup", ...hierarchies.map(({ name }) => path.join("/sys/fs/cgroup", name))];
  return roots.map((root) => path.join(root, cgroup)).filter((directory) => fs.existsSync(directory));
}

function removeTree(directory: string): void {
  for (const entry of fs.readdirSync(directory, { withFileTypes: true }))
    if (entry.isDirectory()) removeTree(path.join(directory, entry.name));
  removeEmpty(directory);
}

function removeEmpty(directory: string): void {
  try {
    fs.rmdirSync(directory);
  } catch {
    // EBUSY: something is still in it. ENOENT: co-mounted hierarchies show one directory twice.
  }
}
