// cricket-init from its start until it has its launch program (pause/receive-program.c).
import { Socket } from "node:net";
import type { EncodedProgram } from "./encode-program.ts";
import { close } from "./files.ts";
import { posixSpawn } from "./posix-spawn.ts";
import { createSocketPair, sendDescriptors } from "./sockets.ts";

/** SCM_MAX_FD: descriptors of one message. */
const maxPassed = 253;

export interface WaitingHelper {
  /** A child of this process; whoever has it reaps it. */
  pid: number;
  control: Socket;
  /** The descriptor of `control`, whose it stays. */
  controlFd: number;
}

/** The descriptors of cricket-init and /dev/null, which stay the caller's. */
export interface HelperDescriptors {
  readonly initFd: number;
  readonly nullFd: number;
}

/** With /dev/null as stdio, the control socket, an empty environment, and nothing else. Throws SyscallError. */
export function startHelper({ initFd, nullFd }: HelperDescriptors): WaitingHelper {
  const [own, theirs] = createSocketPair("stream");
  try {
    const pid = posixSpawn(initFd, [nullFd, nullFd, nullFd, theirs]);
    return { pid, control: new Socket({ fd: own, readable: true, writable: true }), controlFd: own };
  } catch (error) {
    close(own);
    throw error;
  } finally {
    close(theirs);
  }
}

/** Its descriptors are passed on before this returns. Throws SyscallError, EPIPE when the helper has been killed. */
export function sendProgram({ control, controlFd }: WaitingHelper, { bytes, table }: EncodedProgram): void {
  const last = Math.floor(Math.max(0, table.length - 1) / maxPassed) * maxPassed;
  let sent = 0;
  // No message goes without a byte.
  for (let at = 0; at < last; at += maxPassed)
    sent += sendDescriptors(controlFd, bytes.subarray(sent, sent + 1), table.slice(at, at + maxPassed));
  sent += sendDescriptors(controlFd, bytes.subarray(sent), table.slice(last));
  // Megabytes of environment, for which the socket has no room yet.
  if (sent < bytes.length) control.write(bytes.subarray(sent));
}
