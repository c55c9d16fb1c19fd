import { invalidArgument } from "../../base/errors.ts";
import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { Call } from "../call.ts";
import { each, nonEmpty, text } from "../convert/field.ts";
import { timeoutMsFromWire } from "../convert/timeout.ts";
import type { ContainerUseCases } from "../services.ts";

export async function execSync(
  containers: ContainerUseCases,
  request: v1.ExecSyncRequest,
  call: Call,
): Promise<v1.ExecSyncResponseSent> {
  const containerId = nonEmpty(request.containerId, "container_id");
  const command = each(request.cmd, "cmd", text);
  if (command.length === 0 || command[0] === "") throw invalidArgument("cmd is empty");
  const timeoutMs = timeoutMsFromWire(request.timeout, "timeout");
  return containers.execSync({ containerId, command, timeoutMs, signal: call.signal });
}
