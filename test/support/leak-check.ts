// What a test leaves behind in the kernel and on disk. A test file (or a single test) takes a snapshot before and
// must find the same afterwards. Only what carries our name, or lies under a directory the test owns, is looked at:
// the machine is shared with others.

import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

export interface LeakScope {
  /** Names or paths that mark a resource as the test's own; without any, all that says "cricket" is looked at. */
  marks?: string[];
  /** "none": connections of the test's own clients are no leak. */
  descriptorsOf?: "self" | "none";
  /** How long what is asynchronous may take to go: lazy unmounts, PID 1 reaping once a second. */
  graceMs?: number;
}

/** Kind of resource -> its names. */
type Snapshot = Map<string, Set<string>>;

const defaultGraceMs = 3000;

/**
 * Takes a snapshot now; the returned function fails with the list of what is there in addition, after waiting for
 * it to go: `leaked mount /run/cricket-test-x/netns/ab (nsfs)`.
 */
export function startLeakCheck(scope: LeakScope = {}): () => Promise<void> {
  const marks = scope.marks ?? ["cricket"];
  const descriptorsOf = scope.descriptorsOf ?? "self";
  const before = takeSnapshot(marks, descriptorsOf);
  return () =>
    untilNone(() => leaksSince(before, takeSnapshot(marks, descriptorsOf)), scope.graceMs ?? defaultGraceMs);
}

async function untilNone(findLeaks: () => string[], graceMs: number): Promise<void> {
  const deadline = Date.now() + graceMs;
  let leaks = findLeaks();
  while (leaks.length > 0 && Date.now() < deadline) {
    await delay(50);
    leaks = findLeaks();
  }
  if (leaks.length > 0) assert.fail(`left behind:\n  ${leaks.join("\n  ")}`);
}

/** Wraps a test's body: the check runs after every `t.after` of the body. */
export function leakFree(body: (t: TestContext) => Promise<void> | void, scope: LeakScope = {}) {
  return async (t: TestContext): Promise<void> => {
    const check = startLeakCheck(scope);
    try {
      await body(t);
    } finally {
      // Hooks run in the order they were registered in: the last one sees what the others have cleaned up.
      t.after(check);
    }
  };
}

function leaksSince(before: Snapshot, now: Snapshot): string[] {
  const leaks: string[] = [];
  for (const [kind, names] of now)
    for (const name of names) if (before.get(kind)?.has(name) !== true) leaks.push(`${kind} ${name}`);
  return leaks;
}

function takeSnapshot(marks: string[], descriptorsOf: "self" | "none"): Snapshot {
  const isOurs = (text: string): boolean => marks.some((mark) => text.includes(mark));
  return new Map([
    ["mount", mounts(isOurs)],
    ["netns", directoryEntries("/run/netns", isOurs)],
    ["cgroup", cgroups(isOurs)],
    ["interface", interfaces(isOurs)],
    ["process", processes(isOurs)],
    ["descriptor", descriptorsOf === "none" ? new Set() : descriptors("/proc/self/fd")],
    ["directory", privateDirectories(isOurs)],
  ]);
}

function mounts(isOurs: (text: string) => boolean): Set<string> {
  const found = new Set<string>();
  for (const line of fs.readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const fields = line.split(" ");
    const type = fields[fields.indexOf("-") + 1];
    // proc_pid_mountinfo(5): 4th field the root within the filesystem, 5th the mount point.
    if (isOurs(line)) found.add(`${fields[4]} (${type}, root ${fields[3]})`);
  }
  return found;
}

function directoryEntries(directory: string, isOurs: (text: string) => boolean): Set<string> {
  const names = entriesOf(directory).map(({ name }) => name);
  return new Set(names.filter(isOurs).map((name) => path.join(directory, name)));
}

function entriesOf(directory: string): fs.Dirent[] {
  try {
    return fs.readdirSync(directory, { withFileTypes: true });
  } catch {
    // Gone meanwhile, or never there: either way it holds nothing.
    return [];
  }
}

function cgroups(isOurs: (text: string) => boolean): Set<string> {
  const found = new Set<string>();
  const walk = (directory: string, depth: number): void => {
    for (const entry of entriesOf(directory)) {
      if (!entry.isDirectory()) continue;
      const child = path.join(directory, entry.name);
      if (isOurs(child)) found.add(child);
      if (depth < 8) walk(child, depth + 1);
    }
  };
  walk("/sys/fs/cgroup", 0);
  return found;
}

function interfaces(isOurs: (text: string) => boolean): Set<string> {
  const found = new Set<string>();
  for (const { name } of entriesOf("/sys/class/net")) {
    const bridge = readLink(`/sys/class/net/${name}/master`);
    if (isOurs(name) || (bridge !== undefined && isOurs(path.basename(bridge)))) found.add(name);
  }
  return found;
}

// A process counts as ours when it descends from this one, or when its program, command line or working directory
// says so. Kernel threads have no program.
function processes(isOurs: (text: string) => boolean): Set<string> {
  const table = new Map<number, { parent: number; name: string; marks: string }>();
  for (const entry of entriesOf("/proc")) {
    const pid = Number(entry.name);
    const stat = Number.isInteger(pid) ? readFile(`/proc/${pid}/stat`) : undefined;
    if (stat === undefined) continue;
    // The name in parentheses may hold blanks and parentheses itself: fields count from the last one.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
    const program = readLink(`/proc/${pid}/exe`) ?? "";
    const marks = `${program}\n${readLink(`/proc/${pid}/cwd`) ?? ""}\n${readFile(`/proc/${pid}/cmdline`) ?? ""}`;
    table.set(pid, {
      parent: Number(fields[1]),
      // The one that waits for the next launch: a daemon always has one, which is replaced when it was used.
      name: name === "cricket-spare" ? `${name} of ${fields[1]}` : `${pid} ${name} started ${fields[19]}`,
      marks,
    });
  }
  const isDescendant = (pid: number): boolean => {
    for (let at = table.get(pid)?.parent; at !== undefined && at > 1; at = table.get(at)?.parent)
      if (at === process.pid) return true;
    return false;
  };
  const isRunner = ancestors(table);
  const ours = [...table].filter(
    ([pid, entry]) =>
      !isRunner.has(pid) &&
      !isToolOfOurs(entry.marks) &&
      (isDescendant(pid) || ownProgram(entry.marks, isOurs)),
  );
  return new Set(ours.map(([, entry]) => entry.name));
}

// esbuild is tsx's compiler: it starts when a module is first loaded and stays for the life of the process.
const isToolOfOurs = (marks: string): boolean =>
  marks.startsWith("/") && marks.split("\n")[0]?.endsWith("/esbuild") === true;

/** Other test files, editors and shells have the checkout's name in their command lines: only programs count there. */
function ownProgram(marks: string, isOurs: (text: string) => boolean): boolean {
  const [program = "", directory = ""] = marks.split("\n");
  const isPrivate = /^\/(?:run|tmp|var\/lib)\//.test(directory) && isOurs(directory);
  return isPrivate || (!/\/(?:node|bash|sh|git|make)$/.test(program) && isOurs(program));
}

function ancestors(table: Map<number, { parent: number }>): Set<number> {
  const found = new Set<number>();
  for (let pid: number | undefined = process.pid; pid !== undefined && pid > 1; pid = table.get(pid)?.parent)
    found.add(pid);
  return found;
}

// By what they refer to and how many there are of each: numbers are reused.
function descriptors(directory: string): Set<string> {
  const counts = new Map<string, number>();
  for (const { name } of entriesOf(directory)) {
    const target = readLink(path.join(directory, name))?.replace(/:\[\d+\]$/, "");
    // The directory being listed is itself open; node opens epoll and event descriptors when it likes.
    if (target === undefined || /^\/proc\/\d+\/fd$|^anon_inode:\[(?:event|io_uring|timerfd)/.test(target))
      continue;
    counts.set(target, (counts.get(target) ?? 0) + 1);
  }
  const found = new Set<string>();
  for (const [target, count] of counts) for (let i = 1; i <= count; i++) found.add(`${target} #${i}`);
  return found;
}

/**
 * As `startLeakCheck`, of the descriptors of another process alone, and without sockets and pipes, which come and go
 * with its clients and worker threads: files, directories, mounts, namespaces, pidfds, memfds.
 */
export function startDescriptorCheck(pid: number): () => Promise<void> {
  const list = (): Snapshot => {
    const all = [...descriptors(`/proc/${pid}/fd`)];
    return new Map([["descriptor", new Set(all.filter((name) => !/^(?:socket|pipe|\/dev\/)/.test(name)))]]);
  };
  const before = list();
  return () => untilNone(() => leaksSince(before, list()), defaultGraceMs);
}

function privateDirectories(isOurs: (text: string) => boolean): Set<string> {
  const parents = new Set([os.tmpdir(), "/tmp", "/run", "/var/lib", "/var/tmp"]);
  return new Set([...parents].flatMap((parent) => [...directoryEntries(parent, isOurs)]));
}

function readLink(file: string): string | undefined {
  try {
    return fs.readlinkSync(file);
  } catch {
    return undefined;
  }
}

function readFile(file: string): string | undefined {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}
