import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { singleLine } from "../convert/field.ts";
import { sandboxConfigFromWire } from "../convert/sandbox-config.ts";
import type { SandboxUseCases } from "../services.ts";

export async function runPodSandbox(
  sandboxes: SandboxUseCases,
  request: v1.RunPodSandboxRequest,
): Promise<v1.RunPodSandboxResponseSent> {
  const config = sandboxConfigFromWire(request.config, "config");
  const runtimeHandler = singleLine(request.runtimeHandler, "runtime_handler");
  const { id } = await sandboxes.run(config, runtimeHandler);
  return { podSandboxId: id };
}
