// The operations on a network configuration: one run of each of its plugins (CNI 1.1, section 3).
import { accessSync, constants, statSync } from "node:fs";
import { join } from "node:path";
import { CricketError, failedPrecondition, hasCode, messageOf } from "../../base/errors.ts";
import { shortId } from "../../base/ids.ts";
import type { Log } from "../../base/log.ts";
import type { CapabilityArguments, CniArgs } from "./attachment-arguments.ts";
import { formatCniArgs } from "./attachment-arguments.ts";
import { parseResult } from "./attachment-result.ts";
import { atLeast, supportedVersions, type CniVersion } from "./cni-version.ts";
import { parseJsonObject, stringsField, type JsonObject } from "./json-object.ts";
import type { NetworkConfig, PluginConfig } from "./network-config.ts";
import { containerUnknown, oneLine, PluginError } from "./plugin-error.ts";
import { runPlugin, type CniCommand, type PluginOutput } from "./plugin-process.ts";

export interface CniTimeouts {
  /** For the whole chain. */
  addMs: number;
  deleteMs: number;
  checkMs: number;
  /** For each plugin. */
  gcMs: number;
  statusMs: number;
  versionMs: number;
}

/**
 * DEL ends within the minute an undo step has (base/cleanup-stack.ts), the killing of a plugin included. CHECK holds up
 * the DEL of its pod.
 */
export const defaultTimeouts: CniTimeouts = {
  addMs: 5 * 60_000,
  deleteMs: 55_000,
  checkMs: 10_000,
  gcMs: 60_000,
  statusMs: 10_000,
  versionMs: 5_000,
};

/** A configuration and the version that is spoken with its plugins. */
export interface CniNetworkPlan {
  config: NetworkConfig;
  version: CniVersion;
}

/** The parameters of an attachment; the same ones for ADD, CHECK and DEL. */
export interface CniAttachment {
  containerId: string;
  interfaceName: string;
  /** "" when the namespace is gone. */
  netnsPath: string;
  args: CniArgs;
  capabilityArguments: CapabilityArguments;
}

export interface ValidAttachment {
  containerID: string;
  ifname: string;
}

interface Call {
  plan: CniNetworkPlan;
  plugin: PluginConfig;
  command: CniCommand;
  attachment?: CniAttachment;
  prevResult?: JsonObject | undefined;
  /** Fields that are added to the plugin's configuration. */
  extra?: JsonObject;
  timeoutMs: number;
}

export class PluginChain {
  readonly #binDirs: readonly string[];
  readonly #timeouts: CniTimeouts;
  readonly #log: Log;

  constructor(binDirs: readonly string[], timeouts: CniTimeouts, log: Log) {
    this.#binDirs = binDirs;
    this.#timeouts = timeouts;
    this.#log = log;
  }

  /** Runs ADD of all plugins in order; returns the last one's result. The caller runs `delete` where this throws. */
  async add(plan: CniNetworkPlan, attachment: CniAttachment): Promise<JsonObject> {
    const left = countdown(this.#timeouts.addMs);
    let prevResult: JsonObject | undefined;
    for (const plugin of plan.config.plugins) {
      const call = { plan, plugin, command: "ADD", attachment, prevResult, timeoutMs: left() } as const;
      const { stdout } = await this.#run(call);
      prevResult = parseResult(stdout, plan.version, `plugin ${plugin.type} ADD`);
    }
    return prevResult ?? {};
  }

  /** Runs DEL of all plugins in reverse order, each with the result of ADD, and stops at the first that fails. */
  async delete(
    plan: CniNetworkPlan,
    attachment: CniAttachment,
    result: JsonObject | undefined,
  ): Promise<void> {
    const left = countdown(this.#timeouts.deleteMs);
    // DEL gets the result since 0.4.0.
    const prevResult = atLeast(plan.version, "0.4.0") ? result : undefined;
    for (const plugin of plan.config.plugins.toReversed()) {
      try {
        await this.#run({ plan, plugin, command: "DEL", attachment, prevResult, timeoutMs: left() });
      } catch (error) {
        // "The runtime does not need to perform any container network cleanup."
        if (!(error instanceof PluginError && error.pluginCode === containerUnknown)) throw error;
      }
    }
  }

  /** Runs CHECK of all plugins; does nothing where version or configuration rule it out. */
  async check(plan: CniNetworkPlan, attachment: CniAttachment, prevResult: JsonObject): Promise<void> {
    if (plan.config.disableCheck || !atLeast(plan.version, "0.4.0")) return;
    const left = countdown(this.#timeouts.checkMs);
    for (const plugin of plan.config.plugins)
      await this.#run({ plan, plugin, command: "CHECK", attachment, prevResult, timeoutMs: left() });
  }

  /** Throws what the first plugin says that could not serve an ADD now. */
  async status(plan: CniNetworkPlan): Promise<void> {
    if (!atLeast(plan.version, "1.1.0")) return;
    const timeoutMs = this.#timeouts.statusMs;
    for (const plugin of plan.config.plugins) await this.#run({ plan, plugin, command: "STATUS", timeoutMs });
  }

  /** Tells all plugins which attachments there are, so that they drop what belongs to others; returns what failed. */
  async collectGarbage(plan: CniNetworkPlan, valid: readonly ValidAttachment[]): Promise<Error[]> {
    if (plan.config.disableGc || !atLeast(plan.version, "1.1.0")) return [];
    // Plugins of an early 1.1 look for the second name.
    const extra = { "cni.dev/valid-attachments": valid, "cni.dev/attachments": valid };
    const failures: Error[] = [];
    for (const plugin of plan.config.plugins) {
      try {
        await this.#run({ plan, plugin, command: "GC", extra, timeoutMs: this.#timeouts.gcMs });
      } catch (error) {
        failures.push(error instanceof Error ? error : new Error(String(error)));
      }
    }
    return failures;
  }

  /**
   * The latest version that the configuration names and all its plugins speak. A plugin whose answer to VERSION is of
   * no use (many a script knows only ADD and DEL) is taken to speak what it is configured for.
   * @throws failed-precondition where a plugin is not installed, or where there is no common version
   */
  async plan(config: NetworkConfig): Promise<CniNetworkPlan> {
    const types = [...new Set(config.plugins.map(({ type }) => type))];
    const spoken = await Promise.all(types.map((type) => this.#versionsOf(type)));
    const common = config.versions.filter((version) =>
      spoken.every((versions) => versions.includes(version)),
    );
    const version = common.at(-1);
    if (version !== undefined) return { config, version };
    const says = types.map((type, index) => `${type} speaks ${spoken[index]?.join(", ") || "none of them"}`);
    throw failedPrecondition(
      `network ${config.name} is configured for CNI ${config.versions.join(", ")}, but ${says.join("; ")}`,
    );
  }

  async #versionsOf(type: string): Promise<readonly string[]> {
    const path = this.#find(type);
    const highest = supportedVersions.at(-1);
    const config = JSON.stringify({ cniVersion: highest });
    const timeoutMs = this.#timeouts.versionMs;
    // Old plugins insist on all variables.
    const variables = {
      CNI_CONTAINERID: "dummy",
      CNI_NETNS: "dummy",
      CNI_IFNAME: "dummy",
      CNI_PATH: "dummy",
    };
    try {
      const { stdout } = await runPlugin({ path, type, command: "VERSION", variables, config, timeoutMs });
      const versions = stringsField(parseJsonObject(stdout, "the answer"), "supportedVersions");
      if (versions.length > 0) return versions;
      this.#log.debug("plugin names no versions", { plugin: type });
    } catch (error) {
      this.#log.warn("plugin does not tell its versions", { plugin: type, error: messageOf(error) });
      // It would hang or fail on the next command as well, but for longer.
      if (hasCode(error, "deadline-exceeded")) throw error;
    }
    return supportedVersions;
  }

  async #run(call: Call): Promise<PluginOutput> {
    const { plugin, command, attachment, timeoutMs } = call;
    const begunAtMs = performance.now();
    const output = await runPlugin({
      path: this.#find(plugin.type),
      type: plugin.type,
      command,
      variables: { ...attachmentVariables(attachment), CNI_PATH: this.#binDirs.join(":") },
      config: JSON.stringify(requestConfig(call)),
      timeoutMs,
    });
    // Plugins are most of the time a pod takes to start: which of them it is must be easy to see.
    this.#log.debug("plugin ran", {
      plugin: plugin.type,
      command,
      sandbox: attachment === undefined ? undefined : shortId(attachment.containerId),
      durationMs: Math.round(performance.now() - begunAtMs),
      stderr: output.stderr === "" ? undefined : oneLine(output.stderr),
    });
    return output;
  }

  #find(type: string): string {
    const path = this.#binDirs.map((directory) => join(directory, type)).find(isExecutable);
    if (path !== undefined) return path;
    throw failedPrecondition(`plugin ${type} is not in ${this.#binDirs.join(":") || "any directory"}`);
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function attachmentVariables(attachment: CniAttachment | undefined): Record<string, string> {
  if (attachment === undefined) return {};
  return {
    CNI_CONTAINERID: attachment.containerId,
    CNI_NETNS: attachment.netnsPath,
    CNI_IFNAME: attachment.interfaceName,
    CNI_ARGS: formatCniArgs(attachment.args),
  };
}

/** CNI 1.1, section 3, "Deriving request configuration from plugin configuration". */
function requestConfig({ plan, plugin, attachment, prevResult, extra }: Call): JsonObject {
  const { capabilities: _declared, ...source } = plugin.source;
  // Reserved: a result of another time in the file would be taken for that of the plugin before.
  const kept = Object.entries(source).filter(([key]) => !key.startsWith("cni.dev/") && key !== "prevResult");
  const runtimeConfig = Object.entries(attachment?.capabilityArguments ?? {}).filter(([name]) =>
    plugin.capabilities.has(name),
  );
  return {
    ...Object.fromEntries(kept),
    cniVersion: plan.version,
    name: plan.config.name,
    ...(runtimeConfig.length === 0 ? {} : { runtimeConfig: Object.fromEntries(runtimeConfig) }),
    ...(prevResult === undefined ? {} : { prevResult }),
    ...extra,
  };
}

/** What is left of the time, at least a millisecond: a plugin that gets none says so itself. */
function countdown(totalMs: number): () => number {
  const end = performance.now() + totalMs;
  return () => {
    const left = Math.ceil(end - performance.now());
    if (left <= 0) throw new CricketError("deadline-exceeded", `no end after ${totalMs} ms`);
    return left;
  };
}
