// Exit statuses for programs that could not be run, from the errno in the daemon's message.
import type { RpcError } from "../../cri-api/client.ts";
import { ExitError, exitStatus } from "./command.ts";

/**
 * 127 when there is no such program, 126 when it cannot be executed, 125 for anything else; the daemon that is gone
 * stays as it is, for whoever explains that.
 */
export function notRunStatus(error: RpcError): Error {
  if (error.status === "UNAVAILABLE") return error;
  return notRunError(error.message, error);
}

/** The same for a message that came over a streaming session. */
export function notRunError(message: string, cause?: Error): ExitError {
  return new ExitError(statusOf(message), message, { cause });
}

// "exec /bin/x: ENOENT (step 14 of 14)". Other steps fail with these errnos too, for other reasons.
function statusOf(message: string): number {
  const errno = /\bexec\b[^;]*: (E[A-Z0-9]+)\b/.exec(message)?.[1];
  if (errno === "ENOENT" || errno === "ENOTDIR") return exitStatus.notFound;
  if (errno === "EACCES" || errno === "ENOEXEC" || errno === "EPERM" || errno === "EISDIR")
    return exitStatus.notExecutable;
  return exitStatus.notRun;
}
