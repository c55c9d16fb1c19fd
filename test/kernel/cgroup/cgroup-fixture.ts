// A private cgroup for one test, processes in it, and the machine as the cgroup code sees it.
import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { TestContext } from "node:test";
import { CgroupManager } from "../../../src/linux/cgroup/cgroup-manager.ts";
import { hierarchyOf, type CgroupLayout } from "../../../src/linux/cgroup/layout.ts";

export const isRoot = process.getuid?.() === 0;

/** Test options: these tests make cgroups. */
export const asRoot = isRoot ? {} : { skip: "needs root" };

export interface CgroupFixture {
  manager: CgroupManager;
  /** The test's own cgroup: not made yet. */
  path: string;
  /** Starts `sh -c script` inside `path`, which must exist. The script starts when it is in. */
  run(script: string, path?: string): Promise<ChildProcess>;
}

/** Everything below the path is killed and removed at the end, also when the test fails. */
export function cgroupFixture(t: TestContext, layout?: CgroupLayout): CgroupFixture {
  const manager = new CgroupManager(layout);
  const path = `/cricket-test-${process.pid}-${randomBytes(4).toString("hex")}`;
  t.after(async () => {
    await manager.kill(path);
    await manager.remove(path);
  });
  const run = async (script: string, where = path): Promise<ChildProcess> => {
    const child = spawn("sh", ["-c", `read go; ${script}`], { stdio: ["pipe", "pipe", "pipe"] });
    // It may not have come into the cgroup.
    t.after(() => child.kill("SIGKILL"));
    await once(child, "spawn");
    manager.addProcess(where, child.pid ?? 0);
    child.stdin?.end("go\n");
    return child;
  };
  return { manager, path, run };
}

/** The exit status; a signal counts as 128 and its number is not told. */
export async function exitOf(child: ChildProcess): Promise<number | NodeJS.Signals> {
  if (child.exitCode !== null) return child.exitCode;
  if (child.signalCode !== null) return child.signalCode;
  const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
  return code ?? signal ?? -1;
}

export async function outputOf(child: ChildProcess): Promise<string> {
  let text = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
  await once(child, "close");
  return text;
}

/** Polls until `isSo`, for at most five seconds. */
export async function until(isSo: () => boolean): Promise<boolean> {
  const deadline = Date.now() + 5000;
  while (!isSo()) {
    if (Date.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return true;
}

/** The machine as it would be without a unified hierarchy; undefined where it has no v1 ones. */
export function v1Alone(): CgroupLayout | undefined {
  const { v1 } = new CgroupManager().layout;
  return v1.length === 0 ? undefined : { kind: "v1", v1, unified: undefined };
}

/** The value of a controller's file of the cgroup, as the kernel shows it. */
export function fileOf(manager: CgroupManager, controller: string, path: string, file: string): string {
  const hierarchy = hierarchyOf(manager.layout, controller);
  if (hierarchy === undefined) throw new Error(`no ${controller} controller`);
  return readFileSync(`${hierarchy.root}${path}/${file}`, "utf8").trim();
}

/** Options that skip a test where the machine lacks a controller. */
export function needsController(controller: string): { skip?: string } {
  if (!isRoot) return { skip: "needs root" };
  const found = hierarchyOf(new CgroupManager().layout, controller) !== undefined;
  return found ? {} : { skip: `needs the ${controller} cgroup controller` };
}

export function version(manager: CgroupManager, controller: string): 1 | 2 | undefined {
  return hierarchyOf(manager.layout, controller)?.version;
}
