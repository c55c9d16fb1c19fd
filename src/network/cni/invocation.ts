// Every process of a plugin's run carries the run's name in its environment, by which what it forks can be found and
// ended: a daemon of its own is in no process group of ours any more.
import type { ChildProcess } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { descendantsOf, readProcessStat } from "../../linux/proc.ts";
import { reapSoon } from "../../linux/reap.ts";

/** `<container id>/<random>`. */
export const invocationVariable = "CRICKET_CNI_INVOCATION";

const rounds = 20;

/** Ends the plugin with all its descendants; returns when none is left, or after a second. */
export async function killInvocation(invocation: string, child: ChildProcess): Promise<void> {
  for (let round = 1; round <= rounds; round++) {
    // Until libuv has told of its end the pid is taken, so its group and children are still this plugin's.
    const isRoot = child.exitCode === null && child.signalCode === null && child.pid !== undefined;
    const found = new Set(processesOf(invocation));
    if (isRoot && child.pid !== undefined) {
      for (const pid of descendantsOf(child.pid)) found.add(pid);
      found.delete(child.pid);
      // The descendants are known now; they become ours to reap when the plugin goes.
      kill(-child.pid);
      kill(child.pid);
    }
    for (const pid of found) {
      kill(pid);
      reapSoon(pid);
    }
    if (found.size === 0 && !isRoot) return;
    await delay(round * 5);
  }
}

/**
 * Ends what an earlier daemon's run for this container left: a plugin goes on when its daemon is killed, and must not
 * go on beside the DEL that undoes it.
 */
export async function killStrays(containerId: string): Promise<void> {
  for (let round = 1; round <= rounds; round++) {
    const found = processesOf(`${containerId}/`);
    if (found.length === 0) return;
    // Whoever inherited them reaps them.
    for (const pid of found) kill(pid);
    await delay(round * 5);
  }
}

function processesOf(prefix: string): number[] {
  const wanted = `\0${invocationVariable}=${prefix}`;
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => `\0${environmentOf(pid)}`.includes(wanted) && isRunning(pid));
}

function environmentOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1");
  } catch {
    // Gone, or a kernel thread.
    return "";
  }
}

function isRunning(pid: number): boolean {
  const state = readProcessStat(pid)?.state;
  return state !== undefined && state !== "Z" && state !== "X";
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // ESRCH: it has ended meanwhile.
  }
}
