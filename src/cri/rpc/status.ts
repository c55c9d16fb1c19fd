import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { NodeUseCases } from "../services.ts";
import { verboseInfos } from "../convert/verbose-info.ts";

export async function status(node: NodeUseCases, request: v1.StatusRequest): Promise<v1.StatusResponseSent> {
  const { conditions, handlers, features } = node.status();
  return {
    status: { conditions },
    runtimeHandlers: handlers.map(({ name, recursiveReadOnlyMounts, userNamespaces }) => ({
      name,
      features: { recursiveReadOnlyMounts, userNamespaces },
    })),
    features,
    info: request.verbose ? verboseInfos(await node.describe()) : {},
  };
}
