// A launch step in a few words, and the error of the one that failed: `mount proc on /proc: EPERM (step 14 of 37)`.
import { type Frame, decodeReport } from "./frames.ts";
import { errnoName } from "./libc.ts";
import type { LaunchProgram, MountSource, Step, StepAction } from "./launch-program.ts";
import { LaunchError } from "../base/errors.ts";

type Descriptions = {
  [Op in StepAction["op"]]?: (step: Extract<StepAction, { op: Op }>) => string;
};

const descriptions: Descriptions = {
  joinNamespaces: () => "join namespaces",
  unshare: () => "unshare namespaces",
  newSession: () => "make a session",
  newKeyring: (step) => `make session keyring ${step.name}`,
  parentDeathSignal: () => "set the parent death signal",
  joinCgroup: (step) => (step.of === "resctrl" ? "enter the groups of resctrl" : "join the cgroup"),
  rlimit: (step) => `set resource limit ${step.resource}`,
  writeProc: (step) => `write ${step.path}`,
  sethostname: (step) => `set hostname ${step.name}`,
  setdomainname: (step) => `set domain name ${step.name}`,
  sendSocket: () => "make a socket",
  setPropagation: (step) => `set propagation of ${step.path}`,
  attachRootfs: (step) => `attach the rootfs to ${step.target}`,
  mountFs: (step) => `mount ${step.type} on ${step.target}`,
  mountTree: (step) => `mount ${describeSource(step.source)} on ${step.target}`,
  setMountAttributes: (step) => `set mount attributes of ${step.target === "" ? "the rootfs" : step.target}`,
  setLabel: (step) => `label ${step.target} ${step.label}`,
  mkdirInRoot: (step) => `make directory ${step.path}`,
  mknodInRoot: (step) => `make device ${step.path}`,
  symlinkInRoot: (step) => `make link ${step.path}`,
  maskPath: (step) => `mask ${step.path}`,
  readonlyPath: (step) => `make ${step.path} read-only`,
  openPty: () => "open a terminal",
  pivotRoot: () => "change the root",
  moveRoot: () => "move the root",
  changeRoot: () => "change the root",
  loopbackUp: () => "set the loopback device up",
  scheduler: () => "set the scheduler",
  ioPriority: () => "set the I/O priority",
  cpuAffinity: () => "set the CPU affinity",
  memoryPolicy: () => "set the memory policy",
  apparmorExec: (step) => `set AppArmor profile ${step.profile}`,
  selinuxExec: (step) => `set SELinux label ${step.label}`,
  setGroups: () => "set supplementary groups",
  setIds: (step) => `become user ${step.uid}:${step.gid}`,
  capabilities: () => "set capabilities",
  noNewPrivs: () => "set no_new_privs",
  seccomp: () => "install the seccomp filter",
  chdir: (step) => `change directory to ${step.path}`,
  sync: () => "wait for the runtime's hooks",
  findProgram: (step) => `find ${step.name}`,
  runHook: (step) => `run hook ${step.path}`,
  openMount: (step) => `open ${describeSource(step.source)} to mount it`,
  makeUserNamespace: () => "make a user namespace for mounts",
  hostDirectory: (step) => `change directory to ${step.path} of the host`,
  ownStdio: (step) => `give stdio to user ${step.uid} of the host`,
  waitGate: () => "wait for start",
  exec: (step) => `exec ${step.argv[0] ?? ""}`,
  execFd: (step) => `exec ${step.argv[0] ?? ""}`,
};

function describeSource(source: MountSource): string {
  if ("hostPath" in source) return source.hostPath;
  if ("made" in source) return "what was opened";
  return "rootPath" in source ? `${source.rootPath} of the rootfs` : `fd ${source.fd}`;
}

/** "mount proc on /proc". */
export function describeStep(step: Step): string {
  const describe = descriptions[step.op] as ((step: Step) => string) | undefined;
  return describe === undefined ? step.op : describe(step);
}

/** What the C side says of a step: its index, an errno, and the call that failed. */
export interface StepReport {
  step: number;
  errno: number;
  call: string;
}

const noStep = 0xffffffff;

/** The content of a warning or failed frame. */
export function reportOf(frame: Frame): StepReport {
  const { first, second, text } = decodeReport(frame.payload);
  return { step: first, errno: second, call: text };
}

/**
 * `<step>: <call>: <errno> (step n of m)`; without a step (the host itself failed, or the program is not known any
 * more) `<call>: <errno>`.
 */
export function describeReport(program: LaunchProgram | undefined, report: StepReport): string {
  const errno = errnoName(report.errno);
  const call = report.call === "" ? "" : `${report.call}: `;
  const step = report.step === noStep ? undefined : program?.steps[report.step];
  if (program === undefined || step === undefined) return `${call === "" ? "launch: " : call}${errno}`;
  return `${describeStep(step)}: ${call}${errno} (step ${report.step + 1} of ${program.steps.length})`;
}

export function launchErrorOf(program: LaunchProgram | undefined, report: StepReport): LaunchError {
  const step = report.step === noStep ? undefined : program?.steps[report.step];
  return new LaunchError(
    describeReport(program, report),
    step === undefined ? report.call : step.op,
    errnoName(report.errno),
  );
}
