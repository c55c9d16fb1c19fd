import type { v1 } from "../../../cri-api/cricket/v1/api.js";
import { nonEmpty } from "../convert/field.ts";
import { streamChoice } from "../convert/stream-choice.ts";
import type { StreamingUseCases } from "../services.ts";

export function startAttached(
  streaming: StreamingUseCases,
  request: v1.StartAttachedRequest,
): v1.StartAttachedResponseSent {
  const { stdin, stdout, stderr } = request;
  const containerId = nonEmpty(request.containerId, "container_id");
  // Whether there is a terminal is the container's to say.
  return { url: streaming.startAttached(containerId, streamChoice({ tty: false, stdin, stdout, stderr })) };
}
