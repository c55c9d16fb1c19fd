import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { invalidArgument } from "../../base/errors.ts";
import { each, nonEmpty, text } from "../convert/field.ts";
import { streamChoice } from "../convert/stream-choice.ts";
import type { StreamingUseCases } from "../services.ts";

export function exec(streaming: StreamingUseCases, request: v1.ExecRequest): v1.ExecResponseSent {
  const containerId = nonEmpty(request.containerId, "container_id");
  const command = each(request.cmd, "cmd", text);
  if (command.length === 0 || command[0] === "") throw invalidArgument("cmd is empty");
  return { url: streaming.exec(containerId, command, streamChoice(request)) };
}
