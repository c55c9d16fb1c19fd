// Runs test files in a guest: Debian's user-mode-linux is a 6.1 kernel that runs as an ordinary process. It gives a
// machine with cgroup v2 alone, and a second, older kernel, wherever the tests run.
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { missingPackages } from "./debian-packages.mjs";
import { root } from "./step.mjs";

const needed = ["user-mode-linux", "kmod"];

/**
 * The guest as one of several machines: with one of its security modules (the kernel has both and can use one), and
 * with the tests as all there is, or as a service of the host's systemd.
 */
const machines = {
  apparmor: { lsm: "apparmor", needed },
  selinux: { lsm: "selinux", needed },
  systemd: { lsm: "apparmor", needed: [...needed, "systemd", "dbus"], systemd: [] },
  "systemd-hybrid": {
    lsm: "apparmor",
    needed: [...needed, "systemd", "dbus"],
    // Controllers on cgroup v1.
    systemd: ["systemd.unified_cgroup_hierarchy=0"],
  },
};
const diskBytes = 4 * 1024 ** 3;

/** Why the guest cannot be this machine here, or undefined. */
export function cannotRunGuest(machine) {
  if (process.arch !== "x64") return "needs user-mode-linux, which is for x86-64 only";
  const missing = missingPackages(["test"]).find((entry) => machines[machine].needed.includes(entry.name));
  return missing === undefined ? undefined : `needs the package ${missing.name}`;
}

/**
 * Boots the guest as one of the machines above, runs `node <args>` there in the checkout and turns it off. Paths in
 * `args` may use `/run/job/` for the directory whose files `afterwards(directory)` can read. Returns node's exit
 * status; 124 when the guest was still up after `timeoutMs`, 125 when it ended without having run node.
 */
export async function runInGuest(args, { machine, timeoutMs }, afterwards) {
  const job = fs.mkdtempSync(path.join(os.tmpdir(), "cricket-guest-"));
  try {
    writeJob(job, machines[machine], args);
    const timedOut = await boot(job, machines[machine].lsm, timeoutMs);
    afterwards(job);
    if (timedOut) return 124;
    return readStatus(job);
  } finally {
    fs.rmSync(job, { recursive: true, force: true });
  }
}

function writeJob(job, { systemd }, args) {
  fs.writeFileSync(path.join(job, "checkout"), root);
  fs.writeFileSync(path.join(job, "node"), process.execPath);
  fs.writeFileSync(path.join(job, "arguments"), args.join("\n"));
  const files = path.join(root, "test", "guest");
  for (const name of ["init.sh", "run.sh", "systemd.sh"]) {
    fs.copyFileSync(path.join(files, name), path.join(job, name));
    fs.chmodSync(path.join(job, name), 0o755);
  }
  if (systemd !== undefined) {
    fs.cpSync(path.join(files, "units"), path.join(job, "units"), { recursive: true });
    fs.writeFileSync(path.join(job, "systemd-arguments"), systemd.join(" "));
  }
  const disk = path.join(job, "disk");
  fs.writeFileSync(disk, "");
  fs.truncateSync(disk, diskBytes);
  const made = spawnSync("mkfs.ext4", ["-q", "-O", "^has_journal", disk], {
    env: systemPath(),
    encoding: "utf8",
  });
  if (made.status !== 0) throw new Error(`mkfs.ext4: ${made.error?.message ?? made.stderr}`);
}

const systemPath = () => ({ ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` });

/** Resolves to true when the guest had to be killed. Its console goes to this process's standard output. */
async function boot(job, lsm, timeoutMs) {
  const kernelArgs = [
    "rootfstype=hostfs",
    "rootflags=/",
    "rw",
    "quiet",
    "loglevel=0",
    "mem=1536M",
    `lsm=${lsm}`,
    `ubda=${path.join(job, "disk")}`,
    `init=${path.join(job, "init.sh")}`,
    "con=null",
    "con0=null,fd:1",
  ];
  // A process group of its own: the kernel runs each process of the guest in a traced process of the host.
  const guest = spawn("linux.uml", kernelArgs, { stdio: ["ignore", "pipe", "ignore"], detached: true });
  guest.stdout.pipe(process.stdout, { end: false });
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    killGroup(guest.pid);
  }, timeoutMs);
  const onExit = () => killGroup(guest.pid);
  process.once("exit", onExit);
  try {
    await new Promise((resolve, reject) => guest.once("error", reject).once("close", resolve));
  } finally {
    clearTimeout(timer);
    process.off("exit", onExit);
    killGroup(guest.pid);
  }
  return timedOut;
}

function killGroup(pid) {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // ESRCH: all of it has ended.
  }
}

function readStatus(job) {
  try {
    return Number(fs.readFileSync(path.join(job, "status"), "utf8"));
  } catch {
    return 125;
  }
}
