// Starts cricket-init on a launch program.
import type { Socket } from "node:net";
import { type EncodedProgram, type Host, encodeProgram } from "./encode-program.ts";
import { close } from "./files.ts";
import type { HelperBinary } from "./helper-binary.ts";
import type { LaunchProgram } from "./launch-program.ts";
import { reapSoon } from "./reap.ts";
import { DescriptorChannel, createSocketPair } from "./sockets.ts";
import { sendProgram, startHelper, type WaitingHelper } from "./waiting-helper.ts";
import { CricketError, errnoOf } from "../base/errors.ts";

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
    const { pid, control } = giveToSpare(helper, encoded) ?? giveToNew(helper, encoded);
    return channel === undefined ? { pid, control } : { pid, control, channel };
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

function giveToSpare({ spare }: HelperBinary, encoded: EncodedProgram): WaitingHelper | undefined {
  const waiting = spare?.take();
  if (waiting === undefined) return undefined;
  try {
    return give(waiting, encoded);
  } catch (error) {
    // It was killed, and its socket has not said so yet.
    if (errnoOf(error) === "EPIPE") return undefined;
    throw error;
  }
}

function giveToNew(helper: HelperBinary, encoded: EncodedProgram): WaitingHelper {
  const waiting = startHelper(helper);
  try {
    return give(waiting, encoded);
  } catch (error) {
    if (errnoOf(error) !== "EPIPE") throw error;
    throw new CricketError("unavailable", "cricket-init was killed before it had its program", {
      cause: error,
    });
  }
}

function give(waiting: WaitingHelper, encoded: EncodedProgram): WaitingHelper {
  try {
    sendProgram(waiting, encoded);
    return waiting;
  } catch (error) {
    waiting.control.destroy();
    reapSoon(waiting.pid);
    throw error;
  }
}
