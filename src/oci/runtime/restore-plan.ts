// What criu is given for a restore: the root, what of the container is of the outside, and in which descriptors. Privileges
// are not its affair: criu gives processes back what the images say they had.
import { fchmodSync, fstatSync } from "node:fs";
import { failedPrecondition, invalidArgument } from "../../base/errors.ts";
import type { CgroupLayout } from "../../linux/cgroup/layout.ts";
import { CLONE_NEWNS, type Descriptor, type LaunchProgram } from "../../linux/launch-program.ts";
import { createSealedMemfd } from "../../linux/memfd.ts";
import { MS_PRIVATE, MS_REC } from "../../linux/mount.ts";
import { readProcessCgroups } from "../../linux/proc.ts";
import type { Spec } from "../spec.ts";
import { externalsOfRestore, joinedNamespaces } from "./criu-externals.ts";
import { criuSessionFd, criuStep } from "./criu-process.ts";
import type { InheritedDescriptor, RestorePlan } from "./criu-request.ts";
import { openNamespaces, type LaunchDescriptors } from "./descriptors.ts";

export interface RestoredPlace {
  spec: Spec;
  /** A mount point where criu runs. */
  rootfs: string;
  cgroupPath: string;
  layout: CgroupLayout;
  /** What the images call standard input, output and error; undefined: criu's to restore. */
  streams: readonly (string | undefined)[];
  /** The descriptors of criu that they become. */
  streamFds: readonly [number, number, number];
}

/**
 * criu mounts in its work directory, which must be one of its own mount namespace for that and not this process's: it is
 * where it was started.
 */
const configuration = "work-dir .\n";

const ownFile = (fd: number): string => `/proc/${process.pid}/fd/${fd}`;

export type PlannedRestore = Pick<
  RestorePlan,
  "rootfs" | "externals" | "inherited" | "joined" | "cgroupRoots" | "configFile"
>;

/** `kept` are what criu needs from `firstFd` on. */
export function planRestore(
  place: RestoredPlace,
  firstFd: number,
  descriptors: LaunchDescriptors,
): { plan: PlannedRestore; kept: number[] } {
  const { spec, rootfs, cgroupPath, layout, streams, streamFds } = place;
  const kept: number[] = [];
  const inherited: InheritedDescriptor[] = streamFds.flatMap((fd, index) => {
    const key = streams[index];
    return key === undefined ? [] : [{ key, fd }];
  });
  const joined: { ns: string; nsFile: string }[] = [];
  for (const { fd, types } of openNamespaces(spec.linux, descriptors))
    for (const type of types) {
      if (type === "network" || type === "pid") {
        inherited.push({ key: joinedNamespaces[type], fd: firstFd + kept.length });
        kept.push(fd);
        // By the descriptor: a path below /proc may be another process's by then.
      } else if (type === "ipc" || type === "uts") joined.push({ ns: type, nsFile: ownFile(fd) });
    }
  const externals = externalsOfRestore(spec, cgroupPath, layout);
  const config = descriptors.add(createSealedMemfd("criu.conf", Buffer.from(configuration)));
  const configFile = ownFile(config);
  return {
    plan: { rootfs, externals, inherited, joined, cgroupRoots: cgroupRoots(cgroupPath, layout), configFile },
    kept,
  };
}

const enteredNamespaces: ReadonlySet<string> = new Set(["network", "pid", "ipc", "uts"]);

/** What a restore cannot give is refused before anything is made; what differs is a warning. */
export function checkRestorable({ root, hooks = {}, linux }: Spec): string[] {
  if (root === undefined) throw invalidArgument("root is missing");
  if (linux?.intelRdt !== undefined)
    throw failedPrecondition("linux.intelRdt: restored processes do not enter groups of resctrl");
  const joined = (linux?.namespaces ?? []).filter(({ path }) => path !== undefined);
  if (joined.some(({ type }) => type === "user"))
    throw failedPrecondition(
      "linux.namespaces: a user namespace that exists cannot be joined by a restore, criu makes its own",
    );
  // As with runc: those are the program's, which is behind them already.
  const unrun = (["createContainer", "startContainer"] as const).filter(
    (kind) => (hooks[kind] ?? []).length > 0,
  );
  return [
    ...joined
      .filter(({ type }) => !enteredNamespaces.has(type))
      .map(({ type }) => `linux.namespaces: a restored container has a ${type} namespace of its own`),
    ...unrun.map((kind) => `hooks.${kind}: not run at a restore`),
  ];
}

export interface AttachedMount {
  mount: Descriptor;
  /** An existing directory or file. */
  target: string;
}

/** criu in a mount namespace of its own, so that no mount is left when something fails. */
export function restoreProgram(criu: string, work: string, mounts: readonly AttachedMount[]): LaunchProgram {
  return {
    steps: [
      {
        op: "fork",
        flags: CLONE_NEWNS,
        because: { why: "criu's mounts go with it", source: "man 7 mount_namespaces" },
      },
      { op: "newSession", because: { why: "no terminal and no process group of the caller's" } },
      {
        op: "setPropagation",
        path: "/",
        flags: MS_PRIVATE | MS_REC,
        because: {
          why: "nothing that is mounted here may appear on the host",
          source: "man 7 mount_namespaces",
        },
      },
      ...mounts.map(({ mount, target }) => ({
        op: "attachRootfs" as const,
        mount,
        target,
        because: { why: "criu finds it by a path, and the root as a mount point", source: "criu(8) --root" },
      })),
      {
        op: "hostDirectory",
        path: work,
        because: { why: "criu's log and its mounts", source: "criu(8) --work-dir" },
      },
      criuStep(criu),
    ],
  };
}

/** The first descriptor behind the session's. */
export const firstKeptFd = criuSessionFd + 1;

/**
 * Tasks look for images as root of their user namespace, who is somebody else here; what they have to read of them was
 * opened before. The images themselves stay root's alone.
 */
export function letSearch(images: number): Disposable {
  const mode = fstatSync(images).mode & 0o7777;
  fchmodSync(images, mode | 0o011);
  return { [Symbol.dispose]: () => fchmodSync(images, mode) };
}

/** The images name the cgroups of the container that was; hierarchies that are not cricket's stay the caller's. */
export function cgroupRoots(path: string, layout: CgroupLayout): { ctrl?: string; path: string }[] {
  if (layout.kind === "v2") return [{ path }];
  const own = layout.v1.flatMap(({ controllers }) => controllers);
  const others = [...readProcessCgroups("self")].filter(
    ([names]) => names !== "" && !own.includes(names.split(",")[0] ?? ""),
  );
  return [
    ...(layout.unified === undefined ? [] : [{ path }]),
    ...own.map((ctrl) => ({ ctrl, path })),
    ...others.map(([ctrl, place]) => ({ ctrl, path: place })),
  ];
}
