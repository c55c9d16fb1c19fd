// The notify descriptor of a container or exec that a host watches: it arrives in the middle of the launch.
import { type Frame, decodeNumber } from "./frames.ts";
import { close } from "./files.ts";
import { type HandedDescriptor, handedOver } from "./sockets.ts";
import type { HelperProcess } from "./spawn-helper.ts";
import { CricketError } from "../base/errors.ts";

/**
 * Called with the notify descriptor of a `seccomp` step, which is the callee's to close, and the pid of the filtered
 * process, which may already wait for an answer to a notification. When it throws, the launch ends.
 */
export type OnListener = (listener: number, pid: number) => void;

/** For a `listener` frame. Gives back what else has come by now. @throws what the callee throws */
export function giveListener(
  { channel }: HelperProcess,
  frame: Frame,
  onListener: OnListener | undefined,
): HandedDescriptor[] {
  const descriptors = channel?.takeAll() ?? [];
  const listener = descriptors.find(({ kind }) => kind === handedOver.listener);
  if (listener === undefined || onListener === undefined) {
    for (const { fd } of descriptors) close(fd);
    throw new CricketError("internal", "launch: a seccomp notify descriptor, and nobody to take it");
  }
  onListener(listener.fd, decodeNumber(frame.payload));
  return descriptors.filter((item) => item !== listener);
}
