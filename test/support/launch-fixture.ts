// Launch programs for the kernel tests of the executor: a rootfs of its own with the probe in it, and the steps every
// container begins with.
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { becomeSubreaper } from "../../src/linux/reap.ts";
import { close, fdPath } from "../../src/linux/files.ts";
import { HelperBinary } from "../../src/linux/helper-binary.ts";
import type { Step } from "../../src/linux/launch-program.ts";
import {
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUTS,
} from "../../src/linux/launch-program.ts";
import { MS_REC, MS_SLAVE, createMount } from "../../src/linux/mount.ts";
import type { RootfsPlace } from "../../src/oci/container-launch.ts";
import { startMonitor } from "../../src/linux/start-monitor.ts";

const root = join(import.meta.dirname, "../..");
export const buildDir = join(root, "build");

/** Builds the static programs and the probe if they are not current. */
export function buildPrograms(): void {
  for (const directory of ["pause", "test/support/probe"]) {
    const made = spawnSync("make", ["-s", "-C", join(root, directory)], { encoding: "utf8" });
    if (made.status !== 0) throw new Error(`make -C ${directory}: ${made.stderr}`);
  }
}

/** The same, and loads them. */
export function loadHelper(): HelperBinary {
  buildPrograms();
  becomeSubreaper();
  return HelperBinary.load(buildDir);
}

/** What `probe report` says, as far as tests look at it. */
export interface ProbeReport {
  pid: number;
  ppid: number;
  session: number;
  argv: string[];
  env: string[];
  uids: number[];
  gids: number[];
  groups: number[];
  capabilities: Record<"effective" | "permitted" | "inheritable" | "bounding" | "ambient", string>;
  ignoredSignals: number[];
  blockedSignals: number[];
  parentDeathSignal: number;
  descriptors: {
    fd: number;
    type: string;
    device: string;
    filesystem: string;
    inode: number;
    uid: number;
    tty: boolean;
  }[];
  limits: [string, string][];
  scheduler: number;
  nice: number;
  ioPriority: number;
  personality: number;
  cpus: number[];
  memoryPolicy: { error: number; mode: number; nodes: string };
  interfaces: Record<string, { up: boolean; addresses: string[] }>;
  cwd: string;
  hostname: string;
  domainname: string;
  umask: string;
  noNewPrivs: number;
  dumpable: number;
  /** Of the session: "<id> <type>;<uid>;<gid>;<permissions>;<name>". */
  keyring: string;
  mounts: string | null;
  status: string | null;
  cgroup: string | null;
  oomScoreAdj: string | null;
  paths: Record<string, ProbePath>;
}

export interface ProbePath {
  error?: string;
  type: string;
  mode: string;
  uid: number;
  gid: number;
  device: string;
  filesystem: string;
  target?: string;
  writable: boolean;
  content?: string;
}

/** A private directory and a detached tmpfs with the probe at /probe; `dispose` removes both. */
export class LaunchFixture {
  readonly directory = mkdtempSync(join(tmpdir(), "cricket-launch-"));
  #rootfs: number;
  readonly containerDir = join(this.directory, "container");
  readonly logPath = join(this.directory, "container.log");
  readonly #target = join(this.directory, "rootfs");

  constructor() {
    mkdirSync(this.#target);
    mkdirSync(this.containerDir, { mode: 0o700 });
    this.#rootfs = createMount("tmpfs", [["mode", "755"]]);
    this.#fill();
  }

  /** A new rootfs: the old one is gone once its container has ended. */
  renew(): this {
    close(this.#rootfs);
    this.#rootfs = createMount("tmpfs", [["mode", "755"]]);
    this.#fill();
    return this;
  }

  #fill(): void {
    copyFileSync(join(buildDir, "probe"), join(this.path(), "probe"));
    for (const name of ["proc", "dev", "sys", "tmp"]) mkdirSync(join(this.path(), name));
  }

  /** For programs that are compiled elsewhere. */
  get rootfsPlace(): RootfsPlace {
    return { mount: this.#rootfs, target: this.#target };
  }

  /** The rootfs as a path of this process: the mount is attached nowhere. */
  path(...names: string[]): string {
    return join(fdPath(this.#rootfs), ...names);
  }

  log(): string {
    return readFileSync(this.logPath, "utf8");
  }

  /** Up to a private root with an empty /proc; steps that follow still see the host's tree around it. */
  enterRootfs(flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET): Step[] {
    return [
      { op: "fork", flags },
      { op: "newSession" },
      { op: "setPropagation", path: "/", flags: MS_REC | MS_SLAVE },
      { op: "attachRootfs", mount: this.#rootfs, target: this.#target },
    ];
  }

  /** Steps that follow the ones by which the child comes into a rootfs with /proc and /dev. */
  inRootfs(...steps: Step[]): Step[] {
    return [...this.enterRootfs(), this.mountProc(), ...this.mountDev(), ...steps];
  }

  mountProc(): Step {
    return { op: "mountFs", type: "proc", options: [], attributes: 0, target: "/proc", create: "directory" };
  }

  mountDev(): Step[] {
    const node = (name: string, device: bigint): Step => ({
      op: "mknodInRoot",
      path: `/dev/${name}`,
      mode: 0o20666,
      device,
      uid: 0,
      gid: 0,
    });
    return [
      {
        op: "mountFs",
        type: "tmpfs",
        options: [["mode", "755"]],
        attributes: 0,
        target: "/dev",
        create: "directory",
      },
      {
        op: "mountFs",
        type: "devpts",
        options: [
          ["newinstance", true],
          ["ptmxmode", "0666"],
          ["mode", "0620"],
        ],
        attributes: 0,
        target: "/dev/pts",
        create: "directory",
      },
      node("null", 0x103n),
      node("zero", 0x105n),
      { op: "symlinkInRoot", linkTarget: "pts/ptmx", path: "/dev/ptmx" },
    ];
  }

  dispose(): void {
    close(this.#rootfs);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** `probe <words>` as the last step. */
export function probe(...words: string[]): Step {
  return { op: "exec", argv: ["/probe", ...words], env: [] };
}

/** The stdout and stderr of a CRI log, with lines that were split put together again. */
export function readLog(text: string): { stdout: string; stderr: string } {
  const content = { stdout: "", stderr: "" };
  for (const line of text.split("\n").slice(0, -1)) {
    const match = /^\S+ (stdout|stderr) ([PF]) (.*)$/s.exec(line);
    if (match === null) throw new Error(`log line ${JSON.stringify(line)}`);
    content[match[1] as "stdout" | "stderr"] += match[2] === "P" ? match[3] : `${match[3]}\n`;
  }
  return content;
}

/** Runs `steps`, which end in front of the gate, as a container whose program is `probe report <paths>`. */
export async function reportOf(
  helper: HelperBinary,
  fixture: LaunchFixture,
  steps: Step[],
  ...paths: string[]
): Promise<ProbeReport & { warnings: readonly string[] }> {
  const { containerDir, logPath } = fixture;
  const program = { steps: [...steps, { op: "waitGate" } as const, probe("report", ...paths)] };
  const monitor = await startMonitor(helper, program, { containerDir, logPath, maxLogLineBytes: 1 << 20 });
  await monitor.start();
  const exit = await monitor.onExit;
  const { stdout } = readLog(fixture.log());
  if (exit.exitCode !== 0) throw new Error(`probe ended with ${exit.exitCode}: ${fixture.log()}`);
  return { ...(JSON.parse(stdout) as ProbeReport), warnings: monitor.warnings };
}
