import type { v1 } from "../../../cri-api/cricket/v1/api.js";
import type { Call } from "../call.ts";
import { nonEmpty } from "../convert/field.ts";
import type { ContainerUseCases } from "../services.ts";

export async function waitContainer(
  containers: ContainerUseCases,
  request: v1.WaitContainerRequest,
  call: Call,
): Promise<v1.WaitContainerResponseSent> {
  const container = await containers.wait(nonEmpty(request.containerId, "container_id"), call.signal);
  const { end } = container.record;
  return { exitCode: end?.exitCode ?? 0, reason: end?.reason ?? "", message: end?.message ?? "" };
}
