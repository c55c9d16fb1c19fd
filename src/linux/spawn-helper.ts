// Starts cricket-init with posix_spawn(3). Through FFI it blocks the event loop for about 0.2 ms; child_process.spawn
// takes several.
import { Socket } from "node:net";
import { type Host, encodeProgram, setTableBase } from "./encode-program.ts";
import { close } from "./files.ts";
import type { HelperBinary } from "./helper-binary.ts";
import type { LaunchProgram } from "./launch-program.ts";
import { errnoName, libc } from "./libc.ts";
import { createMemfd, writeAndSeal } from "./memfd.ts";
import { DescriptorChannel, createSocketPair } from "./sockets.ts";
import { SyscallError } from "../base/errors.ts";

// int posix_spawn(pid_t *restrict pid, const char *restrict path, const posix_spawn_file_actions_t *file_actions,
//                 const posix_spawnattr_t *restrict attrp, char *const argv[restrict], char *const envp[restrict]);
const cPosixSpawn = libc.func(
  "int posix_spawn(_Out_ int32_t *pid, const char *path, void *actions, void *attributes, const char **argv, const char **envp)",
);
// int posix_spawn_file_actions_init(posix_spawn_file_actions_t *file_actions); and its family.
const cActionsInit = libc.func("int posix_spawn_file_actions_init(void *actions)");
const cActionsDup2 = libc.func("int posix_spawn_file_actions_adddup2(void *actions, int fd, int newfd)");
const cActionsDestroy = libc.func("int posix_spawn_file_actions_destroy(void *actions)");
// int posix_spawnattr_setsigdefault(posix_spawnattr_t *restrict attr, const sigset_t *restrict sigdefault); and its family.
const cAttributesInit = libc.func("int posix_spawnattr_init(void *attributes)");
const cSetSigDefault = libc.func("int posix_spawnattr_setsigdefault(void *attributes, const void *signals)");
const cSetFlags = libc.func("int posix_spawnattr_setflags(void *attributes, short flags)");
// posix_spawn_file_actions_t has 80 bytes in glibc and musl.
const actionsBytes = 80;
// posix_spawnattr_t has 336 bytes in both, sigset_t 128.
const attributesBytes = 336;
const signalSetBytes = 128;
const POSIX_SPAWN_SETSIGDEF = 4;

export interface HelperProcess {
  /** A child of this process; whoever has it reaps it. */
  pid: number;
  control: Socket;
  /** Where descriptors come back, if the program has any to give. */
  channel?: DescriptorChannel;
}

/**
 * Encodes `program` and starts the helper on it. The helper gets /dev/null as stdio, the control socket, the program
 * and its descriptors, an empty environment, and nothing else. Throws CricketError "invalid-argument" for a program
 * that cannot be encoded, SyscallError otherwise; then nothing is left.
 */
export function spawnHelper(helper: HelperBinary, program: LaunchProgram, host: Host): HelperProcess {
  // What this process opens for the helper; all of it is closed here again, but for the two ends that stay.
  const open: number[] = [];
  try {
    const channel = givesDescriptors(program, host) ? createSocketPair("seqpacket") : undefined;
    open.push(...(channel ?? []));
    const encoded = encodeProgram(program, host, channel?.[1]);
    const control = createSocketPair("stream");
    open.push(...control);
    const memfd = createMemfd("cricket-program");
    open.push(memfd);
    // Above every descriptor that is to be moved, so that no move overwrites the source of another.
    const base = 1 + Math.max(...open, ...encoded.table, helper.nullFd, helper.initFd);
    setTableBase(encoded, base);
    writeAndSeal(memfd, encoded.bytes);
    const fixed = [helper.nullFd, helper.nullFd, helper.nullFd, control[1], memfd];
    const pid = spawn(helper.initFd, base, encoded.table, fixed);
    return { pid, ...keepOwnEnds(open, control[0], channel?.[0]) };
  } catch (error) {
    for (const fd of open) close(fd);
    throw error;
  }
}

function givesDescriptors(program: LaunchProgram, host: Host): boolean {
  return program.steps.some(
    (step) =>
      (step.op === "fork" && (host.type === "spawn" || host.type === "detached")) ||
      step.op === "sendSocket" ||
      (step.op === "seccomp" && step.listener === true),
  );
}

// `fixed` become 0, 1, 2, ... : stdio, control socket, program.
function spawn(binary: number, base: number, table: readonly number[], fixed: readonly number[]): number {
  const actions = Buffer.alloc(actionsBytes);
  check(cActionsInit(actions) as number, "posix_spawn_file_actions_init");
  try {
    const staged = base + table.length;
    const dup2 = (from: number, to: number): void =>
      check(cActionsDup2(actions, from, to) as number, "posix_spawn_file_actions_adddup2");
    table.forEach((fd, index) => dup2(fd, base + index));
    // By way of high numbers: one of these may itself be below 5.
    fixed.forEach((fd, index) => dup2(fd, staged + index));
    fixed.forEach((_fd, index) => dup2(staged + index, index));
    const pid = new Int32Array(1);
    const path = `/proc/self/fd/${binary}`;
    check(
      cPosixSpawn(
        pid,
        path,
        actions,
        (attributes ??= defaultSignals()),
        ["cricket-init", null],
        [null],
      ) as number,
      "posix_spawn cricket-init",
    );
    return pid[0]!;
  } finally {
    cActionsDestroy(actions);
  }
}

let attributes: Buffer | undefined;

// All signals as they are by default. The C library would look at each of them otherwise, to the same end, while this
// process waits.
function defaultSignals(): Buffer {
  const made = Buffer.alloc(attributesBytes);
  check(cAttributesInit(made) as number, "posix_spawnattr_init");
  const all = Buffer.alloc(signalSetBytes, 0xff);
  check(cSetSigDefault(made, all) as number, "posix_spawnattr_setsigdefault");
  check(cSetFlags(made, POSIX_SPAWN_SETSIGDEF) as number, "posix_spawnattr_setflags");
  return made;
}

// These calls return the errno instead of setting it.
function check(result: number, call: string): void {
  if (result !== 0) throw new SyscallError(call, errnoName(result));
}

function keepOwnEnds(
  open: number[],
  control: number,
  channel: number | undefined,
): Pick<HelperProcess, "control" | "channel"> {
  const socket = new Socket({ fd: control, readable: true, writable: true });
  for (const fd of open.splice(0)) if (fd !== control && fd !== channel) close(fd);
  return channel === undefined
    ? { control: socket }
    : { control: socket, channel: new DescriptorChannel(channel) };
}
