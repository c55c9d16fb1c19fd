// Command lines of criu(8). Both verbs write a log of their own name into the work directory.

/** Shared by dump and restore, as runc has them. */
export interface CriuOptions {
  tcpEstablished: boolean;
  extUnixSk: boolean;
  shellJob: boolean;
  fileLocks: boolean;
  manageCgroups: CgroupsMode;
}

export const cgroupsModes = ["soft", "full", "strict", "ignore"] as const;
export type CgroupsMode = (typeof cgroupsModes)[number];

export interface DumpOptions extends CriuOptions {
  leaveRunning: boolean;
  /** Memory alone, as a base for a later checkpoint; the container goes on. */
  preDump: boolean;
  /** Relative to the image directory. */
  parentPath: string | undefined;
  autoDedup: boolean;
  emptyNetwork: boolean;
  pageServer: { address: string; port: number } | undefined;
}

/** Existing directories, absolute. */
export interface CriuPlaces {
  images: string;
  /** For the log. */
  work: string;
}

/** What is of the outside, as `--external` names it. */
export type External = string;

export function dumpArgs(
  pid: number,
  options: DumpOptions,
  places: CriuPlaces,
  externals: readonly External[],
): string[] {
  const { leaveRunning, preDump, parentPath, autoDedup, emptyNetwork, pageServer } = options;
  return [
    preDump ? "pre-dump" : "dump",
    "--tree",
    `${pid}`,
    ...placesArgs(places, "dump.log"),
    ...externalArgs(externals),
    ...sharedArgs(options),
    ...(leaveRunning && !preDump ? ["--leave-running"] : []),
    ...(preDump || parentPath !== undefined ? ["--track-mem"] : []),
    ...(parentPath === undefined ? [] : ["--prev-images-dir", parentPath]),
    ...(autoDedup ? ["--auto-dedup"] : []),
    ...(emptyNetwork ? ["--empty-ns", "net"] : []),
    ...(pageServer === undefined
      ? []
      : ["--page-server", "--address", pageServer.address, "--port", `${pageServer.port}`]),
  ];
}

export interface RestorePlan {
  /** A mount point. */
  rootfs: string;
  pidFile: string;
  externals: readonly External[];
  /** What descriptors 3, 4, ... of criu stand for; undefined: nothing. */
  inherited: readonly (string | undefined)[];
  /** "CONTROLLER:/path", or "/path" for what no other names. */
  cgroupRoots: readonly string[];
  emptyNetwork: boolean;
}

export function restoreArgs(options: CriuOptions, places: CriuPlaces, plan: RestorePlan): string[] {
  return [
    "restore",
    "--restore-detached",
    ...placesArgs(places, "restore.log"),
    "--root",
    plan.rootfs,
    "--pidfile",
    plan.pidFile,
    ...externalArgs(plan.externals),
    ...plan.inherited.flatMap((resource, index) =>
      resource === undefined ? [] : ["--inherit-fd", `fd[${3 + index}]:${resource}`],
    ),
    ...sharedArgs(options),
    ...plan.cgroupRoots.flatMap((root) => ["--cgroup-root", root]),
    ...(plan.emptyNetwork ? ["--empty-ns", "net"] : []),
  ];
}

function placesArgs({ images, work }: CriuPlaces, log: string): string[] {
  return ["--images-dir", images, "--work-dir", work, "--log-file", log, "-v4"];
}

function externalArgs(externals: readonly External[]): string[] {
  return externals.flatMap((external) => ["--external", external]);
}

function sharedArgs(options: CriuOptions): string[] {
  return [
    `--manage-cgroups=${options.manageCgroups}`,
    ...(options.tcpEstablished ? ["--tcp-established"] : []),
    ...(options.extUnixSk ? ["--ext-unix-sk"] : []),
    ...(options.shellJob ? ["--shell-job"] : []),
    ...(options.fileLocks ? ["--file-locks"] : []),
  ];
}
