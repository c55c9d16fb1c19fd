// The containers of one --root: a directory each, with state.json, config.json and, until it is started, the gate.
// What a container is doing is never stored: it follows from its process, its gate and its cgroup.
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomic } from "../../base/atomic-file.ts";
import { CricketError, errnoOf, invalidArgument, wrapError } from "../../base/errors.ts";
import { parseExact, stringifyExact } from "../../base/json.ts";
import { CgroupManager } from "../../linux/cgroup/cgroup-manager.ts";
import { ociFieldNames } from "../../linux/cgroup/field-names.ts";
import { gateName } from "../../linux/gate.ts";
import { initProgram } from "../../linux/helper-binary.ts";
import { openSameProcess } from "../../linux/pidfd.ts";
import { isAlive } from "../../linux/proc.ts";
import { parseSpec, stringifySpec } from "../parse-spec.ts";
import type { Spec } from "../spec.ts";

export interface ContainerState {
  version: 1;
  id: string;
  ociVersion: string;
  /** Absolute. */
  bundle: string;
  rootfs: string;
  cgroupPath: string;
  /** Absent: plain directories. */
  cgroupManager?: "systemd";
  /** RFC 3339. */
  created: string;
  annotations: Record<string, string>;
  owner: string;
  /** --no-new-keyring: execs keep that of their caller, too. */
  noNewKeyring?: true;
  /** Absent while it is being created. */
  process?: { pid: number; startTimeTicks: bigint };
}

export type ContainerStatus = "creating" | "created" | "running" | "paused" | "stopped";

/** What `state` prints and hooks read (runtime.md#state). */
export interface PublicState {
  ociVersion: string;
  id: string;
  pid: number;
  status: ContainerStatus;
  bundle: string;
  rootfs: string;
  created: string;
  annotations?: Record<string, string>;
  owner: string;
}

const idPattern = /^[\w+.-]{1,1024}$/;

export class RuntimeStore {
  readonly root: string;
  #cgroups: CgroupManager | undefined;

  constructor(root: string) {
    this.root = root;
  }

  /** Looked at when it is needed first: `list` and `state` of stopped containers go without. */
  get cgroups(): CgroupManager {
    return (this.#cgroups ??= new CgroupManager(undefined, ociFieldNames));
  }

  directory(id: string): string {
    return join(this.root, id);
  }

  /** Makes the container's directory. @throws CricketError invalid-argument, already-exists */
  reserve(id: string): void {
    assertId(id);
    mkdirSync(this.root, { recursive: true, mode: 0o700 });
    try {
      mkdirSync(this.directory(id), { mode: 0o700 });
    } catch (error) {
      if (errnoOf(error) === "EEXIST")
        throw new CricketError("already-exists", "container with given ID already exists");
      throw wrapError(`make ${this.directory(id)}`, error);
    }
  }

  save(state: ContainerState): void {
    writeFileAtomic(join(this.directory(state.id), "state.json"), stringifyExact(state));
  }

  saveSpec(id: string, spec: Spec): void {
    writeFileAtomic(join(this.directory(id), "config.json"), stringifySpec(spec));
  }

  loadSpec(id: string): Spec {
    return parseSpec(readFileSync(join(this.directory(id), "config.json"), "utf8"));
  }

  find(id: string): ContainerState | undefined {
    assertId(id);
    try {
      const text = readFileSync(join(this.directory(id), "state.json"), "utf8");
      return parseExact(text) as ContainerState;
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === "ENOENT" || errno === "ENOTDIR") return undefined;
      throw wrapError(`read the state of ${id}`, error);
    }
  }

  /** @throws CricketError not-found */
  get(id: string): ContainerState {
    const state = this.find(id);
    if (state === undefined) throw new CricketError("not-found", "container does not exist");
    return state;
  }

  exists(id: string): boolean {
    return existsSync(this.directory(id));
  }

  list(): ContainerState[] {
    let names: string[];
    try {
      names = readdirSync(this.root);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return [];
      throw wrapError(`read ${this.root}`, error);
    }
    return names
      .filter((name) => idPattern.test(name))
      .map((name) => this.find(name))
      .filter((state) => state !== undefined);
  }

  remove(id: string): void {
    rmSync(this.directory(id), { recursive: true, force: true });
  }

  status(state: ContainerState): ContainerStatus {
    const { process } = state;
    if (process === undefined) return "creating";
    if (!isAlive(process.pid, process.startTimeTicks)) return "stopped";
    if (this.cgroups.isFrozen(state.cgroupPath)) return "paused";
    return existsSync(join(this.directory(state.id), gateName)) && isInLaunch(process.pid)
      ? "created"
      : "running";
  }

  /** A pidfd of the container's first process, which the caller closes; undefined when it has ended. */
  openProcess({ process }: ContainerState): number | undefined {
    return process === undefined ? undefined : openSameProcess(process.pid, process.startTimeTicks);
  }

  describe(state: ContainerState): PublicState {
    const status = this.status(state);
    const { ociVersion, id, bundle, rootfs, created, annotations, owner } = state;
    return {
      ociVersion,
      id,
      pid: status === "stopped" ? 0 : (state.process?.pid ?? 0),
      status,
      bundle,
      rootfs,
      created,
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
      owner,
    };
  }
}

/**
 * A start that is killed leaves its gate behind: what counts is that the container's program has not been executed yet
 * (pause/init.c runs from a memfd).
 */
function isInLaunch(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/exe`).startsWith(`/memfd:${initProgram}`);
  } catch {
    // Not root, or it has ended by now.
    return true;
  }
}

function assertId(id: string): void {
  if (!idPattern.test(id) || id === "." || id === "..") throw invalidArgument("invalid container ID format");
}
