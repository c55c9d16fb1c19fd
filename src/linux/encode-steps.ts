// Each step of a launch program as the bytes pause/launch.c reads. The order of the fields is that of the C functions.
import type {
  FsOptionValue,
  LaunchProgram,
  CopyUp,
  Descriptor,
  Made,
  MountSource,
  Tree,
  Step,
  StepAction,
} from "./launch-program.ts";
import type { ProgramWriter } from "./program-writer.ts";
import { CricketError, wrapError } from "../base/errors.ts";

/** The numbers of pause/program.h's enum step_op. */
export const stepOp: Record<StepAction["op"], number> = {
  fork: 1,
  joinNamespaces: 2,
  unshare: 3,
  newSession: 4,
  newKeyring: 5,
  parentDeathSignal: 6,
  joinCgroup: 7,
  rlimit: 8,
  writeProc: 9,
  sethostname: 10,
  setdomainname: 11,
  sendSocket: 12,
  setPropagation: 13,
  attachRootfs: 14,
  mountFs: 15,
  mountTree: 16,
  setMountAttributes: 17,
  mkdirInRoot: 18,
  mknodInRoot: 19,
  symlinkInRoot: 20,
  maskPath: 21,
  readonlyPath: 22,
  openPty: 23,
  pivotRoot: 24,
  umask: 25,
  personality: 26,
  scheduler: 27,
  ioPriority: 28,
  cpuAffinity: 29,
  memoryPolicy: 30,
  apparmorExec: 31,
  selinuxExec: 32,
  setGroups: 33,
  setIds: 34,
  capabilities: 35,
  noNewPrivs: 36,
  seccomp: 37,
  chdir: 38,
  waitGate: 39,
  exec: 40,
  execFd: 41,
  sync: 42,
  runHook: 43,
  changeRoot: 44,
  loopbackUp: 51,
  openMount: 45,
  makeUserNamespace: 46,
  hostDirectory: 47,
  ownStdio: 48,
  setLabel: 49,
  findProgram: 50,
  moveRoot: 52,
};

const stepOptional = 1;
const createTargets = { directory: 0, file: 1, auto: 2, never: 3 } as const;
const mountSources = { fd: 0, hostPath: 1, rootPath: 2 } as const;
const copyUpBits: Record<CopyUp, number> = { content: 1, mode: 2, owner: 4 };
const chdirCreate = 1;
const chdirAttempts = { first: 2, second: 4 } as const;
const fsOptions = { flag: 0, string: 1, fd: 2 } as const;
const maxSteps = 4096;

/** Writes all steps. Throws CricketError "invalid-argument" that names the step with a value that cannot be encoded. */
export function encodeSteps(writer: ProgramWriter, program: LaunchProgram): void {
  const count = program.steps.length;
  if (count === 0 || count > maxSteps)
    throw new CricketError("invalid-argument", `launch program with ${count} steps`);
  program.steps.forEach((step, index) => {
    try {
      encodeStep(writer, step);
    } catch (error) {
      throw wrapError(`step ${index + 1} (${step.op})`, error);
    }
  });
}

function encodeStep(writer: ProgramWriter, step: Step): void {
  writer.u16(stepOp[step.op]);
  writer.u16(step.optional === true ? stepOptional : 0);
  const lengthAt = writer.length;
  writer.u32(0);
  const encode = encoders[step.op] as (writer: ProgramWriter, step: StepAction) => void;
  encode(writer, step);
  writer.patchU32(lengthAt, writer.length - lengthAt - 4);
}

type Encoders = {
  [Op in StepAction["op"]]: (writer: ProgramWriter, step: Extract<StepAction, { op: Op }>) => void;
};

const nothing = (): void => {};

const encoders: Encoders = {
  fork(w, step) {
    w.u64(BigInt(step.flags));
    w.descriptor(step.cgroup);
    w.text(step.idMaps?.uidMap ?? "");
    w.text(step.idMaps?.gidMap ?? "");
  },
  joinNamespaces(w, step) {
    w.descriptor(step.fd);
    w.u32(step.mask);
  },
  unshare: (w, step) => w.u32(step.flags),
  newSession: nothing,
  sync: nothing,
  runHook(w, step) {
    w.text(step.path);
    w.u32(step.timeoutSeconds);
    w.u32(step.argv.length);
    for (const argument of step.argv) w.text(argument);
    w.u32(step.env.length);
    for (const line of step.env) w.text(line);
  },
  newKeyring: (w, step) => w.text(step.name),
  parentDeathSignal: (w, step) => w.u32(step.signal),
  joinCgroup(w, step) {
    w.u32(step.files.length);
    for (const file of step.files) w.descriptor(file);
  },
  rlimit(w, step) {
    w.u32(step.resource);
    w.u64(step.soft);
    w.u64(step.hard);
  },
  writeProc(w, step) {
    w.text(step.path);
    w.text(step.value);
  },
  sethostname: (w, step) => w.text(step.name),
  setdomainname: (w, step) => w.text(step.name),
  sendSocket(w, step) {
    w.u32(step.domain);
    w.u32(step.type);
    w.u32(step.protocol);
  },
  setPropagation(w, step) {
    w.text(step.path);
    w.u32(step.flags);
  },
  attachRootfs(w, step) {
    w.descriptor(step.mount);
    w.text(step.target);
  },
  mountFs(w, step) {
    w.text(step.type);
    w.u32(step.attributes);
    w.text(step.target);
    w.u32(createTargets[step.create]);
    w.u32(copyUpMask(step.copyUp));
    w.u32(step.options.length);
    for (const [key, value] of step.options) encodeFsOption(w, key, value);
  },
  mountTree(w, step) {
    encodeTree(w, step);
    w.text(step.target);
    w.u32(createTargets[step.create]);
    w.u32(copyUpMask(step.copyUp));
  },
  setMountAttributes(w, step) {
    w.text(step.target);
    w.u32(step.set);
    w.u32(step.clear);
    w.u32(step.propagation);
    w.bool(step.recursive);
  },
  mkdirInRoot(w, step) {
    w.text(step.path);
    w.u32(step.mode);
    w.u32(step.uid);
    w.u32(step.gid);
  },
  mknodInRoot(w, step) {
    w.text(step.path);
    w.u32(step.mode);
    w.u64(step.device);
    w.u32(step.uid);
    w.u32(step.gid);
  },
  symlinkInRoot(w, step) {
    w.text(step.linkTarget);
    w.text(step.path);
  },
  maskPath: (w, step) => w.text(step.path),
  readonlyPath: (w, step) => w.text(step.path),
  openPty(w, step) {
    w.u32(step.rows);
    w.u32(step.columns);
    w.bool(step.bindConsole);
  },
  pivotRoot: nothing,
  moveRoot: nothing,
  changeRoot: (w, step) => w.descriptor(step.root),
  loopbackUp: nothing,
  umask: (w, step) => w.u32(step.mask),
  personality: (w, step) => w.u32(step.domain),
  scheduler(w, step) {
    w.u32(step.policy);
    w.u32(step.nice);
    w.u32(step.priority);
    w.u64(step.flags);
    w.u64(step.runtimeNs);
    w.u64(step.deadlineNs);
    w.u64(step.periodNs);
  },
  ioPriority: (w, step) => w.u32(step.value),
  cpuAffinity: (w, step) => w.blob(step.mask),
  memoryPolicy(w, step) {
    w.u32(step.mode);
    w.blob(wholeWords(step.nodes));
  },
  findProgram(w, step) {
    w.text(step.name);
    w.text(step.path);
  },
  setLabel(w, step) {
    w.text(step.target);
    w.text(step.label);
  },
  apparmorExec: (w, step) => w.text(step.profile),
  selinuxExec: (w, step) => w.text(step.label),
  setGroups(w, step) {
    w.u32(4 * step.groups.length);
    for (const group of step.groups) w.u32(group);
  },
  setIds(w, step) {
    w.u32(step.uid);
    w.u32(step.gid);
  },
  capabilities(w, step) {
    const { bounding, effective, permitted, inheritable, ambient } = step.masks;
    for (const mask of [bounding, effective, permitted, inheritable, ambient]) w.u64(mask);
  },
  noNewPrivs: nothing,
  seccomp(w, step) {
    w.u32(step.flags);
    w.bool(step.listener === true);
    w.blob(step.filter);
  },
  chdir(w, step) {
    w.text(step.path);
    const attempt = step.attempt === undefined ? 0 : chdirAttempts[step.attempt];
    w.u32((step.create ? chdirCreate : 0) | attempt);
  },
  waitGate: nothing,
  openMount: encodeTree,
  makeUserNamespace(w, step) {
    w.text(step.uidMap);
    w.text(step.gidMap);
  },
  hostDirectory: (w, step) => w.text(step.path),
  ownStdio: (w, step) => w.u32(step.uid),
  exec(w, step) {
    encodeCommand(w, step.argv, step.env);
  },
  execFd(w, step) {
    w.descriptor(step.fd);
    encodeCommand(w, step.argv, step.env);
  },
};

function copyUpMask(parts: readonly CopyUp[] = []): number {
  return parts.reduce((bits, part) => bits | copyUpBits[part], 0);
}

function encodeFsOption(w: ProgramWriter, key: string, value: FsOptionValue): void {
  w.text(key);
  if (value === true) {
    w.u32(fsOptions.flag);
  } else if (typeof value === "string") {
    w.u32(fsOptions.string);
    w.text(value);
  } else {
    w.u32(fsOptions.fd);
    w.descriptor(value.fd);
  }
}

function encodeTree(w: ProgramWriter, step: Tree): void {
  w.bool(step.recursive);
  encodeMountSource(w, step.source);
  w.u32(step.set);
  w.u32(step.clear);
  w.bool(step.recursiveAttributes);
  w.u32(step.propagation);
  if (step.idmap === undefined) w.descriptor(undefined);
  else encodeReference(w, step.idmap.userNamespace);
  w.bool(step.idmap?.recursive === true);
}

function encodeReference(w: ProgramWriter, reference: { fd: Descriptor } | Made): void {
  if ("fd" in reference) w.descriptor(reference.fd);
  else w.made(reference.made);
}

function encodeMountSource(w: ProgramWriter, source: MountSource): void {
  if ("fd" in source || "made" in source) {
    w.u32(mountSources.fd);
    encodeReference(w, source);
  } else if ("hostPath" in source) {
    w.u32(mountSources.hostPath);
    w.text(source.hostPath);
  } else {
    w.u32(mountSources.rootPath);
    w.text(source.rootPath);
  }
}

function encodeCommand(w: ProgramWriter, argv: string[], env: Uint8Array[]): void {
  if (argv.length === 0) throw new CricketError("invalid-argument", "argv is empty");
  w.u32(argv.length);
  for (const argument of argv) w.text(argument);
  w.u32(env.length);
  for (const variable of env) w.text(variable);
}

// set_mempolicy(2) reads whole words.
function wholeWords(mask: Uint8Array): Uint8Array {
  const padded = new Uint8Array(Math.ceil(mask.length / 8) * 8);
  padded.set(mask);
  return padded;
}
