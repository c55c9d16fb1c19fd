import { invalidArgument } from "../../base/errors.ts";
import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { Call } from "../call.ts";
import { each, nonEmpty, text } from "../convert/field.ts";
import { timeoutMsFromWire } from "../convert/timeout.ts";
import type { ContainerUseCases, ExecResult } from "../services.ts";

export async function execSync(
  containers: ContainerUseCases,
  request: v1.ExecSyncRequest,
  call: Call,
): Promise<v1.ExecSyncResponseSent> {
  const containerId = nonEmpty(request.containerId, "container_id");
  const command = each(request.cmd, "cmd", text);
  if (command.length === 0 || command[0] === "") throw invalidArgument("cmd is empty");
  const timeoutMs = timeoutMsFromWire(request.timeout, "timeout");
  return withinLimit(await containers.execSync({ containerId, command, timeoutMs, signal: call.signal }));
}

// CRI ExecSyncResponse: at most 16 MB. The kubelet and crictl refuse a message that is longer, and with it the exit code.
const maxOutputBytes = 16 * 1024 * 1024 - 64;

/** What is too long is cut; of two streams that are, each keeps half. */
function withinLimit({ stdout, stderr, exitCode }: ExecResult): v1.ExecSyncResponseSent {
  const half = maxOutputBytes / 2;
  const ofStderr = Math.min(stderr.length, Math.max(half, maxOutputBytes - stdout.length));
  return {
    stdout: stdout.subarray(0, maxOutputBytes - ofStderr),
    stderr: stderr.subarray(0, ofStderr),
    exitCode,
  };
}
