import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { containerConfigFromWire } from "../convert/container-config.ts";
import { nonEmpty } from "../convert/field.ts";
import type { ContainerUseCases } from "../services.ts";

/** `sandbox_config` of the request is not looked at: what the sandbox was made with counts, and that is in its record. */
export async function createContainer(
  containers: ContainerUseCases,
  request: v1.CreateContainerRequest,
): Promise<v1.CreateContainerResponseSent> {
  const sandboxId = nonEmpty(request.podSandboxId, "pod_sandbox_id");
  const { id } = await containers.create(sandboxId, containerConfigFromWire(request.config, "config"));
  return { containerId: id };
}
