import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { NodeUseCases } from "../services.ts";

// The kubelet refuses any other version and api version than these, and any empty field.
const kubeletApiVersion = "0.1.0";
const runtimeApiVersion = "v1";

export function version(node: NodeUseCases): v1.VersionResponseSent {
  return { version: kubeletApiVersion, ...node.version(), runtimeApiVersion };
}
