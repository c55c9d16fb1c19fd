// The cgroupfs driver: what sandboxes and containers ask of cgroups, whichever versions the machine has.
import { closeSync, constants, mkdirSync } from "node:fs";
import { errnoOf, failedPrecondition, invalidArgument, SyscallError } from "../../base/errors.ts";
import { replaceDeviceFilter } from "../bpf.ts";
import { openFile, openJoin, tryOpen, type CgroupJoin, type SubCgroups } from "./cgroup-join.ts";
import { applyWrites, applyWritesLive } from "./apply-writes.ts";
import { readCgroupFile, writeCgroupFile, writeCgroupFileLines } from "./cgroup-file.ts";
import { readCgroupCounters, type CgroupCounters, type CounterGroup } from "./cgroup-counters.ts";
import { checkCgroupPath } from "./cgroup-path.ts";
import type { CgroupLimits, CgroupResources } from "./cgroup-resources.ts";
import type { CgroupWrite, PlanContext } from "./cgroup-write.ts";
import { oomEventsPath, readCgroupStats, readOomKills, type CgroupStats } from "./cgroup-stats.ts";
import {
  createCgroup,
  enableControllers,
  listChildren,
  removeCgroup,
  removeTree,
  tryRmdir,
  usualControllers,
} from "./cgroup-tree.ts";
import { encodeDeviceFilter } from "./device-filter.ts";
import { criFieldNames, type FieldNames } from "./field-names.ts";
import { formatException, resolveDeviceRules, type DeviceRule } from "./device-rules.ts";
import { freeze, hasProcesses, isFrozen, killProcesses, processesOf, thaw } from "./kill-processes.ts";
import {
  allHierarchies,
  allRoots,
  detectCgroupLayout,
  hierarchyOf,
  trackingHierarchy,
  type CgroupLayout,
} from "./layout.ts";
import { controllersFor, planWrites } from "./plan-writes.ts";
import { readLimits } from "./read-limits.ts";

/** Keeps a cgroup that has no process of its own yet. */
export interface CgroupHold {
  /** To be called when the process is in, and also when it will never be; a second time does nothing. */
  release(): Promise<void>;
}

const nothingHeld: CgroupHold = { release: () => Promise.resolve() };

export class CgroupManager {
  readonly driver: "cgroupfs" | "systemd" = "cgroupfs";
  readonly layout: CgroupLayout;
  readonly #names: FieldNames;

  /**
   * Without `layout` the machine's mounts are looked at; throws failed-precondition when there is no cgroup mount.
   * `names`: what errors call the limits.
   */
  constructor(layout: CgroupLayout = detectCgroupLayout(), names: FieldNames = criFieldNames) {
    this.layout = layout;
    this.#names = names;
  }

  /** The cgroup that a `cgroup_parent` names. Throws invalid-argument where the driver has no such. */
  parentPath(parent: string): string {
    if (parent.endsWith(".slice"))
      throw invalidArgument(
        `cgroup_parent ${JSON.stringify(parent)} is a systemd slice, but the cgroup driver is cgroupfs`,
      );
    return checkCgroupPath(parent);
  }

  /** Where a pod goes that came without a `cgroup_parent`. */
  podPath(parent: string, id: string): string {
    return `${parent}/pod-${id}`;
  }

  /**
   * To be called before `create`, with the same limits, for a cgroup that is to get a process: here nothing has to be
   * done for it; systemd is asked for it.
   */
  reserve(_path: string, _resources?: CgroupResources): Promise<CgroupHold> {
    return Promise.resolve(nothingHeld);
  }

  /**
   * Makes the cgroup in every hierarchy, with what is missing above it, and sets limits. Existing ones are used.
   * When it fails in the middle, `remove` takes away what is there.
   */
  create(path: string, resources?: CgroupResources): void {
    const checked = checkCgroupPath(path);
    createCgroup(this.layout, checked);
    if (resources !== undefined) this.setResources(checked, resources);
  }

  exists(path: string): boolean {
    const { root } = trackingHierarchy(this.layout);
    return readCgroupFile(`${root}${checkCgroupPath(path)}/cgroup.procs`) !== undefined;
  }

  /** Names of the cgroups directly below `path`, in any hierarchy: orphans may be left in only some. */
  list(path: string): string[] {
    return listChildren(this.layout, checkCgroupPath(path));
  }

  /**
   * What a process needs to enter the cgroup. Where the cgroup has gone although `member` lives, a process of it, that
   * one's own is entered: systemd can lose a scope whose container runs on (runc#4620).
   */
  joinFiles(path: string, member?: number): CgroupJoin {
    return openJoin(this.layout, checkCgroupPath(path), member === undefined ? {} : { member });
  }

  /** As `joinFiles`, of cgroups below. @throws CricketError invalid-argument for a controller that is not on v1 here */
  joinBelow(path: string, below: SubCgroups, member?: number): CgroupJoin {
    for (const name of below.byController.keys())
      if (!this.layout.v1.some(({ controllers }) => controllers.includes(name)))
        throw invalidArgument(`no cgroup v1 hierarchy has the controller ${JSON.stringify(name)}`);
    for (const name of [below.all ?? "", ...below.byController.values()])
      if (name !== "") checkCgroupPath(name);
    return openJoin(this.layout, checkCgroupPath(path), {
      below,
      ...(member === undefined ? {} : { member }),
    });
  }

  /**
   * As `joinFiles`, but in v2 a cgroup of its own below the container's, so that an exec can be killed with all its
   * children. No controller is switched on for it: it shares the container's limits, and the container's own
   * processes may stay where they are. Disposing removes it; while something daemonised lives in it, it stays until
   * the container's cgroup is removed. Without v2 there is no `directory` and no `killFile`.
   */
  execSubgroup(path: string, id: string, member?: number): CgroupJoin {
    const checked = checkCgroupPath(path);
    const { unified } = this.layout;
    if (unified === undefined || (member !== undefined && !this.exists(checked)))
      return this.joinFiles(checked, member);
    const subgroup = `/exec-${id.slice(0, 24)}`;
    const directory = unified.root + checkCgroupPath(`${checked}${subgroup}`);
    makeDirectory(directory);
    try {
      const join = openJoin(this.layout, checked, { subgroup, ...(member === undefined ? {} : { member }) });
      return {
        ...join,
        [Symbol.dispose]: () => {
          join[Symbol.dispose]();
          removeTree(directory);
        },
      };
    } catch (error) {
      removeTree(directory);
      throw error;
    }
  }

  /** An open, readable descriptor of the file with the "oom_kill N" line; the caller closes it. */
  oomEventsFile(path: string): number | undefined {
    const file = oomEventsPath(this.layout, checkCgroupPath(path));
    return file === undefined ? undefined : tryOpen(file, constants.O_RDONLY);
  }

  /** A write-only descriptor of `cgroup.kill`, where there is one; the caller closes it. */
  killFile(path: string): number | undefined {
    const { unified } = this.layout;
    return unified && tryOpen(`${unified.root}${checkCgroupPath(path)}/cgroup.kill`, constants.O_WRONLY);
  }

  oomKills(path: string): bigint {
    return readOomKills(this.layout, checkCgroupPath(path));
  }

  /**
   * Sets limits. Throws invalid-argument or failed-precondition naming the file and value that the kernel refused:
   * `write 5 to .../memory.limit_in_bytes: EBUSY`. For a cgroup with processes use `updateResources`.
   */
  setResources(path: string, resources: CgroupResources): void {
    applyWrites(this.plan(path, resources));
  }

  /** Sets limits of a live cgroup: as `setResources`, but a memory limit below what is in use kills nobody. */
  updateResources(path: string, resources: CgroupResources): Promise<void> {
    const checkBeforeUpdate = resources.checkMemoryBeforeUpdate === true;
    return applyWritesLive(this.plan(path, resources), { checkBeforeUpdate });
  }

  /** The writes for limits; what they need is switched on first. */
  protected plan(path: string, resources: CgroupResources): CgroupWrite[] {
    const checked = checkCgroupPath(path);
    const { unified, kind } = this.layout;
    // On a hybrid machine nobody switched the unified hierarchy's controllers on for this path yet, and on v2 the
    // usual ones are on.
    const needed = controllersFor(resources).filter(
      (controller) => kind !== "v2" || !usualControllers.includes(controller),
    );
    if (unified !== undefined && needed.length > 0) enableControllers(unified, checked, needed);
    return this.planFor(checked, resources, readCgroupFile);
  }

  protected planFor(path: string, resources: CgroupResources, read: PlanContext["read"]): CgroupWrite[] {
    return planWrites(resources, { layout: this.layout, path, read, names: this.#names });
  }

  /** What is set now; 0 and "" for no limit. `asked`: the resources set last, see readLimits. */
  readResources(path: string, asked: CgroupResources = {}): CgroupLimits {
    return readLimits({ layout: this.layout, path: checkCgroupPath(path), read: readCgroupFile }, asked);
  }

  /** Replaces the device rules; see resolveDeviceRules for what they mean. Only for a cgroup without children. */
  setDevices(path: string, rules: readonly DeviceRule[]): void {
    const checked = checkCgroupPath(path);
    const policy = resolveDeviceRules(rules);
    const hierarchy = hierarchyOf(this.layout, "devices");
    if (hierarchy !== undefined) {
      const directory = `${hierarchy.root}${checked}`;
      const [base, other] = policy.allowByDefault ? ["allow", "deny"] : ["deny", "allow"];
      writeCgroupFile(`${directory}/devices.${base}`, "a");
      const lines = policy.exceptions.map(formatException);
      if (lines.length > 0) writeCgroupFileLines(`${directory}/devices.${other}`, lines);
    } else if (this.layout.unified !== undefined) {
      const fd = openFile(
        `${this.layout.unified.root}${checked}`,
        constants.O_RDONLY | constants.O_DIRECTORY,
      );
      try {
        replaceDeviceFilter(fd, encodeDeviceFilter(policy));
      } finally {
        closeSync(fd);
      }
    } else {
      throw failedPrecondition("device rules cannot be set: the machine has no devices cgroup controller");
    }
  }

  /** Undefined when the cgroup does not exist. */
  stats(path: string): CgroupStats | undefined {
    return readCgroupStats(this.layout, checkCgroupPath(path));
  }

  /** All that the cgroup counts, for metrics, or some of it. */
  counters(path: string, groups?: ReadonlySet<CounterGroup>): CgroupCounters {
    return readCgroupCounters(this.layout, checkCgroupPath(path), groups);
  }

  /** Pids in the cgroup and below it. */
  pids(path: string): number[] {
    return processesOf(this.layout, checkCgroupPath(path));
  }

  hasProcesses(path: string): boolean {
    return hasProcesses(this.layout, checkCgroupPath(path));
  }

  /** Stops all processes; false when some had not stopped within a quarter of a second (they still will). */
  freeze(path: string): Promise<boolean> {
    return freeze(this.layout, checkCgroupPath(path));
  }

  thaw(path: string): void {
    thaw(this.layout, checkCgroupPath(path));
  }

  /** Whether its processes are stopped, or are to be. */
  isFrozen(path: string): boolean {
    return isFrozen(this.layout, checkCgroupPath(path));
  }

  /**
   * SIGKILL to everything in the cgroup and below it. True when it is empty in the end, also when it did not exist;
   * false when something has not died within about a second.
   */
  kill(path: string): Promise<boolean> {
    return killProcesses(this.layout, checkCgroupPath(path));
  }

  /** Removes the cgroup and all below it everywhere. Idempotent. Throws failed-precondition while it has processes. */
  remove(path: string): Promise<void> {
    return removeCgroup(this.layout, checkCgroupPath(path));
  }

  /**
   * Removes the cgroup where nothing is left in it, neither processes nor cgroups, and leaves it elsewhere: for the
   * parent of all pods, when the daemon's host is to look as if it had never run.
   */
  prune(path: string): Promise<void> {
    const checked = checkCgroupPath(path);
    for (const root of allRoots(this.layout)) tryRmdir(root + checked);
    return Promise.resolve();
  }

  /** Moves a running process in, with all its threads: for processes that did not enter by themselves. */
  addProcess(path: string, pid: number): void {
    const checked = checkCgroupPath(path);
    for (const { root } of allHierarchies(this.layout))
      writeCgroupFile(`${root}${checked}/cgroup.procs`, String(pid));
  }
}

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory);
  } catch (error) {
    throw new SyscallError("mkdir", errnoOf(error) ?? "EIO", directory);
  }
}
