import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { nonEmpty } from "../convert/field.ts";
import { streamChoice } from "../convert/stream-choice.ts";
import type { StreamingUseCases } from "../services.ts";

export function attach(streaming: StreamingUseCases, request: v1.AttachRequest): v1.AttachResponseSent {
  const containerId = nonEmpty(request.containerId, "container_id");
  return { url: streaming.attach(containerId, streamChoice(request)) };
}
