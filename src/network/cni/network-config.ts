// A CNI network configuration: the chain of plugins that makes and removes attachments (CNI 1.1, section 1).
import { invalidArgument } from "../../base/errors.ts";
import { usableVersions, type CniVersion } from "./cni-version.ts";
import {
  booleanField,
  isJsonObject,
  objectsField,
  parseJsonObject,
  stringField,
  stringsField,
  type JsonObject,
} from "./json-object.ts";

export interface PluginConfig {
  /** Name of the executable. */
  type: string;
  /** Which capability arguments the plugin wants in `runtimeConfig`. */
  capabilities: ReadonlySet<string>;
  /** As it was read; fields unknown to us go to the plugin unchanged. */
  source: JsonObject;
}

export interface NetworkConfig {
  name: string;
  /** Oldest first, never empty. Which one is spoken depends on the plugins too. */
  versions: readonly CniVersion[];
  disableCheck: boolean;
  disableGc: boolean;
  /** Plugin files beside the configuration are not looked for. */
  inlinedOnly: boolean;
  plugins: readonly PluginConfig[];
}

// It becomes part of a file's name; the pattern is the specification's.
const namePattern = /^[a-zA-Z0-9][\w.-]*$/;
const longestName = 128;

/**
 * Parses a list (`.conflist`) or a single plugin (`.conf`, taken as a list of one). The list of plugins may be empty
 * here: files of a directory named as the network add to it.
 * @throws invalid-argument that names the field
 */
export function parseNetworkConfig(text: string): NetworkConfig {
  const source = parseJsonObject(text, "the configuration");
  const name = stringField(source, "name");
  if (!namePattern.test(name) || name.length > longestName)
    throw invalidArgument(`name ${JSON.stringify(name.slice(0, longestName))} is not a network name`);
  const isList = source["plugins"] !== undefined || source["type"] === undefined;
  const inlinedOnly = !isList || booleanField(source, "loadOnlyInlinedPlugins");
  const plugins = isList ? objectsField(source, "plugins").map(toPlugin) : [toPlugin(source, 0)];
  if (inlinedOnly && plugins.length === 0) throw invalidArgument("plugins is empty");
  return {
    name,
    versions: usableVersions([...versionOf(source), ...stringsField(source, "cniVersions")]),
    disableCheck: booleanField(source, "disableCheck"),
    disableGc: booleanField(source, "disableGC"),
    inlinedOnly,
    plugins,
  };
}

// A configuration without any version is of the oldest kind, which nobody speaks any more.
function versionOf(source: JsonObject): string[] {
  const version = stringField(source, "cniVersion");
  return version === "" ? [] : [version];
}

/** One file of the network's own directory. @throws invalid-argument that names the field */
export function parsePluginConfig(text: string): PluginConfig {
  return toPlugin(parseJsonObject(text, "the plugin configuration"), 0);
}

function toPlugin(source: JsonObject, index: number): PluginConfig {
  const type = stringField(source, "type");
  // The name of a file in the plugin directories, and of nothing outside them.
  if (!/^[^/\\\0]+$/.test(type) || type === "." || type === "..")
    throw invalidArgument(`plugins[${index}].type ${JSON.stringify(type)} is not the name of a plugin`);
  const capabilities = source["capabilities"] ?? {};
  if (!isJsonObject(capabilities)) throw invalidArgument(`plugins[${index}].capabilities is not an object`);
  const wanted = Object.keys(capabilities).filter((name) => capabilities[name] === true);
  return { type, capabilities: new Set(wanted), source };
}

/**
 * The configuration as one text with a fixed version: what an attachment was made with and is removed with, whatever
 * happens to the files meanwhile. parseNetworkConfig reads it.
 */
export function formatNetworkConfig(config: NetworkConfig, version: CniVersion): string {
  return JSON.stringify({
    cniVersion: version,
    name: config.name,
    disableCheck: config.disableCheck,
    disableGC: config.disableGc,
    loadOnlyInlinedPlugins: true,
    plugins: config.plugins.map(({ source }) => source),
  });
}
