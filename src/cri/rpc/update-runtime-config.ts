import { isIP } from "node:net";
import { invalidArgument } from "../../base/errors.ts";
import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { NodeUseCases } from "../services.ts";

/** The kubelet records the node's pod CIDR only after this has succeeded. A dual-stack node sends two, with a comma. */
export async function updateRuntimeConfig(
  node: NodeUseCases,
  request: v1.UpdateRuntimeConfigRequest,
): Promise<v1.UpdateRuntimeConfigResponseSent> {
  const cidr = request.runtimeConfig?.networkConfig?.podCidr ?? "";
  if (cidr === "") return {};
  for (const part of cidr.split(","))
    if (!isCidr(part))
      throw invalidArgument(
        `runtime_config.network_config.pod_cidr is ${JSON.stringify(cidr)}: not an address and prefix length`,
      );
  await node.updatePodCidr(cidr);
  return {};
}

function isCidr(text: string): boolean {
  const [address = "", length = "", ...rest] = text.split("/");
  const family = isIP(address);
  const maxLength = family === 4 ? 32 : 128;
  return family !== 0 && rest.length === 0 && /^\d{1,3}$/.test(length) && Number(length) <= maxLength;
}
