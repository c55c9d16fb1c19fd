import type { v1 } from "../../../cri-api/cricket/v1/api.js";
import { nonEmpty } from "../convert/field.ts";
import type { ContainerUseCases } from "../services.ts";

export async function explainContainer(
  containers: ContainerUseCases,
  request: v1.ExplainContainerRequest,
): Promise<v1.ExplainContainerResponseSent> {
  return { text: await containers.explain(nonEmpty(request.containerId, "container_id")) };
}
