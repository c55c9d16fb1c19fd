// SCMP_ACT_NOTIFY: the notify descriptor goes to the agent behind linux.seccomp.listenerPath, with the container's
// state (config-linux.md#containerprocessstate).
import { wrapError } from "../base/errors.ts";
import { close } from "../linux/files.ts";
import { connectUnix } from "../linux/gate.ts";
import { sendDescriptors } from "../linux/sockets.ts";
import type { Seccomp } from "./linux-spec.ts";

/** runtime.md#state, as far as the agent needs it. */
export interface NotifiedState {
  ociVersion: string;
  id: string;
  status: "creating" | "created" | "running";
  /** Of the container's first process. */
  pid: number;
  bundle: string;
  annotations?: Readonly<Record<string, string>>;
}

/**
 * Sends the descriptor and closes it. `pid`: of the process that is filtered.
 * @throws CricketError when nobody takes it: "If sending to this socket fails, the runtime MUST generate an error"
 */
export function sendListener(
  seccomp: Seccomp | undefined,
  state: NotifiedState,
  listener: number,
  pid: number,
): void {
  const { listenerPath = "", listenerMetadata } = seccomp ?? {};
  try {
    const socket = connectUnix(listenerPath);
    try {
      const { ociVersion } = state;
      const metadata = listenerMetadata === undefined ? {} : { metadata: listenerMetadata };
      const message = { ociVersion, fds: ["seccompFd"], pid, ...metadata, state };
      sendDescriptors(socket, Buffer.from(JSON.stringify(message)), [listener]);
    } finally {
      close(socket);
    }
  } catch (error) {
    throw wrapError(`linux.seccomp.listenerPath ${listenerPath}`, error);
  } finally {
    close(listener);
  }
}
