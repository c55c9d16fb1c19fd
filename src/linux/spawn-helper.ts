// Starts cricket-init on a launch program.
import { Socket } from "node:net";
import {
  type EncodedProgram,
  type Host,
  encodeProgram,
  fixedDescriptors,
  setTableBase,
} from "./encode-program.ts";
import { close } from "./files.ts";
import type { HelperBinary } from "./helper-binary.ts";
import type { LaunchProgram } from "./launch-program.ts";
import { createMemfd, writeAndSeal } from "./memfd.ts";
import { posixSpawn, tableBase } from "./posix-spawn.ts";
import { reapSoon } from "./reap.ts";
import { DescriptorChannel, createSocketPair, sendDescriptors } from "./sockets.ts";
import { errnoOf } from "../base/errors.ts";

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
  const pair = givesDescriptors(program, host) ? createSocketPair("seqpacket") : undefined;
  const channel = pair && new DescriptorChannel(pair[0]);
  try {
    const encoded = encodeProgram(program, host, pair?.[1]);
    const process = giveToSpare(helper, encoded) ?? spawn(helper, encoded);
    return channel === undefined ? process : { ...process, channel };
  } catch (error) {
    channel?.close();
    throw error;
  } finally {
    if (pair !== undefined) close(pair[1]);
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

// A message has at most SCM_MAX_FD descriptors; one of them is the program.
const maxSpareTable = 252;
const mark = new Uint8Array(1);
const programName = "cricket-program";

function giveToSpare(helper: HelperBinary, encoded: EncodedProgram): HelperProcess | undefined {
  if (encoded.table.length > maxSpareTable) return undefined;
  const spare = helper.spare?.take();
  if (spare === undefined) return undefined;
  const { pid, control, controlFd } = spare;
  try {
    withProgram((program) => {
      writeProgram(program, encoded, fixedDescriptors);
      sendDescriptors(controlFd, mark, [program, ...encoded.table]);
    });
    return { pid, control };
  } catch (error) {
    control.destroy();
    reapSoon(pid);
    // It was killed, and its socket has not said so yet.
    if (errnoOf(error) === "EPIPE") return undefined;
    throw error;
  }
}

function spawn({ initFd, nullFd }: HelperBinary, encoded: EncodedProgram): HelperProcess {
  const [own, theirs] = createSocketPair("stream");
  try {
    const pid = withProgram((program) => {
      const fixed = [nullFd, nullFd, nullFd, theirs, program];
      writeProgram(program, encoded, tableBase(initFd, fixed, encoded.table));
      return posixSpawn(initFd, fixed, encoded.table);
    });
    return { pid, control: new Socket({ fd: own, readable: true, writable: true }) };
  } catch (error) {
    close(own);
    throw error;
  } finally {
    close(theirs);
  }
}

function withProgram<T>(use: (program: number) => T): T {
  const program = createMemfd(programName);
  try {
    return use(program);
  } finally {
    close(program);
  }
}

function writeProgram(memfd: number, encoded: EncodedProgram, base: number): void {
  setTableBase(encoded, base);
  writeAndSeal(memfd, encoded.bytes);
}
