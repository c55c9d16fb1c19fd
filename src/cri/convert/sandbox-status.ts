// A sandbox as ListPodSandbox and PodSandboxStatus show it.
import { toInt64 } from "../../../cri-api/int64.ts";
import { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { SandboxView } from "../services.ts";
import { namespacesToWire } from "./namespaces.ts";

export function sandboxStateToWire({ isReady }: SandboxView): number {
  return isReady ? v1.PodSandboxState.SANDBOX_READY : v1.PodSandboxState.SANDBOX_NOTREADY;
}

/** What ListPodSandbox and PodSandboxStatus have in common, without the state, which is derived anew each time. */
export function sandboxToWire({ record }: SandboxView): v1.PodSandboxSent {
  return {
    id: record.id,
    metadata: record.config.metadata,
    createdAt: toInt64(record.createdAtNs),
    labels: record.config.labels,
    annotations: record.config.annotations,
    runtimeHandler: record.runtimeHandler,
  };
}

export function sandboxStatusToWire(sandbox: SandboxView): v1.PodSandboxStatusSent {
  const { record } = sandbox;
  const [ip = "", ...others] = record.ips;
  return {
    ...sandboxToWire(sandbox),
    state: sandboxStateToWire(sandbox),
    // Present also on the node's network: the kubelet then takes the node's address.
    network: { ip, additionalIps: others.map((other) => ({ ip: other })) },
    linux: { namespaces: { options: namespacesToWire(record.config.security.namespaces) } },
  };
}
