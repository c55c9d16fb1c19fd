// What criu(8) is asked for: the options of a dump or a restore as its RPC has them. Both write a log of their own name
// into the work directory.
import type { CriuMessageOptions } from "./criu-message.ts";

/** Shared by dump and restore, as runc has them. */
export interface CriuOptions {
  tcpEstablished: boolean;
  extUnixSk: boolean;
  shellJob: boolean;
  fileLocks: boolean;
  manageCgroups: CgroupsMode;
  lazyPages: boolean;
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
  /** A descriptor that is told with a NUL when the server of lazy pages is ready. */
  statusFd: number | undefined;
}

/** Existing directories, absolute. */
export interface CriuPlaces {
  images: string;
  /** For the log. */
  work: string;
}

/** The two as descriptors of this process: criu opens them by its peer's pid. */
export interface CriuDirectories {
  images: number;
  work: number;
}

export const dumpLog = "dump.log";
export const restoreLog = "restore.log";

/** What is of the outside, as `--external` names it. */
export type External = string;

const verboseLog = 4;
const CLONE_NEWNET = 0x40000000;
/** enum criu_cg_mode. */
const cgroupModeNumbers = { ignore: 0, soft: 3, full: 4, strict: 5 } as const;

export function dumpRequest(
  pid: number,
  options: DumpOptions,
  directories: CriuDirectories,
  externals: readonly External[],
): CriuMessageOptions {
  const { leaveRunning, preDump, parentPath, autoDedup, emptyNetwork, pageServer } = options;
  return {
    ...shared(options, directories, dumpLog),
    pid,
    external: externals,
    ...(leaveRunning && !preDump ? { leaveRunning } : {}),
    ...(preDump || parentPath !== undefined ? { trackMem: true } : {}),
    ...(parentPath === undefined ? {} : { parentImg: parentPath }),
    ...(autoDedup ? { autoDedup } : {}),
    ...(emptyNetwork ? { emptyNs: CLONE_NEWNET } : {}),
    ...(pageServer === undefined ? {} : { pageServer }),
  };
}

/** A descriptor of the criu process in place of something in the images. */
export interface InheritedDescriptor {
  key: string;
  fd: number;
}

export interface RestorePlan {
  /** A mount point. */
  rootfs: string;
  externals: readonly External[];
  inherited: readonly InheritedDescriptor[];
  /** Namespaces that criu enters by path. */
  joined: readonly { ns: string; nsFile: string }[];
  /** `ctrl` absent: for what no other names. */
  cgroupRoots: readonly { ctrl?: string; path: string }[];
  /** A file of criu's configuration. */
  configFile: string;
  emptyNetwork: boolean;
  autoDedup: boolean;
  /** The processes are children of criu's parent from the start: their parent death signal must not be of criu's end. */
  sibling: boolean;
  /** "apparmor:PROFILE" or "selinux:LABEL"; undefined: what the images say. */
  lsmProfile: string | undefined;
  lsmMountContext: string | undefined;
}

export function restoreRequest(
  options: CriuOptions,
  directories: CriuDirectories,
  plan: RestorePlan,
): CriuMessageOptions {
  return {
    ...shared(options, directories, restoreLog),
    root: plan.rootfs,
    external: plan.externals,
    inheritFd: plan.inherited,
    joinNs: plan.joined,
    cgRoot: plan.cgroupRoots,
    configFile: plan.configFile,
    // Devices may have moved on another node (go by path, not by number).
    evasiveDevices: true,
    ...(plan.emptyNetwork ? { emptyNs: CLONE_NEWNET } : {}),
    ...(plan.autoDedup ? { autoDedup: true } : {}),
    ...(plan.sibling ? { rstSibling: true } : {}),
    ...(plan.lsmProfile === undefined ? {} : { lsmProfile: plan.lsmProfile }),
    ...(plan.lsmMountContext === undefined ? {} : { lsmMountContext: plan.lsmMountContext }),
  };
}

function shared(
  options: CriuOptions,
  { images, work }: CriuDirectories,
  logFile: string,
): CriuMessageOptions {
  const { tcpEstablished, extUnixSk, shellJob, fileLocks, lazyPages, manageCgroups } = options;
  return {
    imagesDirFd: images,
    workDirFd: work,
    logLevel: verboseLog,
    logFile,
    notifyScripts: true,
    // A terminal's master is with whoever relays it.
    orphanPtsMaster: true,
    manageCgroups: manageCgroups !== "ignore",
    manageCgroupsMode: cgroupModeNumbers[manageCgroups],
    ...(tcpEstablished ? { tcpEstablished } : {}),
    ...(extUnixSk ? { extUnixSk } : {}),
    ...(shellJob ? { shellJob } : {}),
    ...(fileLocks ? { fileLocks } : {}),
    ...(lazyPages ? { lazyPages } : {}),
  };
}
