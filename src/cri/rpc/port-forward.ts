import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { invalidArgument } from "../../base/errors.ts";
import { each, integerWithin, nonEmpty } from "../convert/field.ts";
import type { StreamingUseCases } from "../services.ts";

// Each has two WebSocket channels, whose numbers are one byte.
const maxPorts = 127;

export function portForward(
  streaming: StreamingUseCases,
  request: v1.PortForwardRequest,
): v1.PortForwardResponseSent {
  const sandboxId = nonEmpty(request.podSandboxId, "pod_sandbox_id");
  const ports = each(request.port, "port", (port, at) => integerWithin(port, { min: 1n, max: 65_535n }, at));
  if (ports.length > maxPorts)
    throw invalidArgument(`port has ${ports.length} entries, more than ${maxPorts}`);
  return { url: streaming.portForward(sandboxId, ports) };
}
