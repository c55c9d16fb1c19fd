// The runtime handlers of the node, as the configuration names them.
import { mkdirSync } from "node:fs";
import { messageOf } from "./base/errors.ts";
import type { RuntimeConfig } from "./config/config.ts";
import { ContainerRuntimes, type RuntimeHandler } from "./container/container-runtime.ts";
import { embeddedRuntime, type EmbeddedRuntimeParts } from "./container/embedded-runtime.ts";
import { ExternalRuntime, type ExternalRuntimeParts } from "./container/external-runtime.ts";
import { invokeRuntime } from "./oci/external/invoke-runtime.ts";
import type { RuntimeCommand } from "./oci/external/runtime-command.ts";
import { noFeatures, parseFeatures, type RuntimeFeatures } from "./oci/external/runtime-features.ts";

/** The embedded runtime is there under its default name and under its own. */
export function runtimeHandlers(
  configured: Readonly<Record<string, RuntimeConfig>>,
  userNamespaces: boolean,
  parts: EmbeddedRuntimeParts,
): ContainerRuntimes {
  const embedded: RuntimeHandler = {
    runtime: embeddedRuntime(parts),
    status: () => ({ recursiveReadOnlyMounts: true, userNamespaces }),
  };
  const handlers = new Map([
    ["", embedded],
    ["cricket", embedded],
  ]);
  for (const [name, config] of Object.entries(configured))
    handlers.set(name, config.type === "embedded" ? embedded : externalHandler(name, config, parts));
  return new ContainerRuntimes(handlers, (name) => new ExternalRuntime(name, undefined, parts));
}

function externalHandler(
  name: string,
  { path, root, timeoutMs }: RuntimeConfig,
  parts: ExternalRuntimeParts,
): RuntimeHandler {
  const systemdCgroup = parts.cgroups.driver === "systemd";
  const command = {
    name,
    path,
    root: root === "" ? parts.paths.runtimeRoot(name) : root,
    timeoutMs,
    systemdCgroup,
  };
  const features = new ProbedFeatures(command, parts);
  return {
    runtime: new ExternalRuntime(name, command, parts),
    status: () => {
      const { recursiveReadOnlyMounts } = features.known;
      return { recursiveReadOnlyMounts, userNamespaces: false };
    },
  };
}

/** Asked for once, in the background: a runtime that hangs must not keep the daemon from starting. */
class ProbedFeatures {
  known: RuntimeFeatures = noFeatures;

  constructor(command: RuntimeCommand, parts: ExternalRuntimeParts) {
    this.#probe(command, parts).catch((error: unknown) => {
      parts.log.info("runtime tells no features", { handler: command.name, error: messageOf(error) });
    });
  }

  async #probe(command: RuntimeCommand, { helper, paths }: ExternalRuntimeParts): Promise<void> {
    mkdirSync(command.root, { recursive: true, mode: 0o700 });
    this.known = parseFeatures(
      await invokeRuntime(command, ["features"], { helper, directory: paths.runRoot }),
    );
  }
}
