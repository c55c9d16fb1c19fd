// The configuration: defaults, then /etc/cricket/cricket.toml, conf.d/*.toml in lexical order, the environment and
// the command line; each overrides what came before, key by key.
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { parse as parseToml } from "smol-toml";
import { CricketError, errnoOf, invalidArgument, messageOf, wrapError } from "../base/errors.ts";
import type { Config } from "./config.ts";
import { configSchema, type ConfigSchema } from "./config-schema.ts";
import type { Setting } from "./setting.ts";
import { SettingValues, snakeCase } from "./setting-values.ts";

/** Where files come from; `read` gives undefined for a file that is not there, `list` an empty list. */
export interface ConfigFiles {
  read(path: string): string | undefined;
  list(directory: string): string[];
}

export interface ConfigRequest {
  /** The daemon's own arguments, without the command's name. */
  argv?: readonly string[];
  env?: Readonly<Record<string, string | undefined>>;
  files?: ConfigFiles;
}

export interface LoadedConfig {
  config: Config;
  /** The files that were read, in order. */
  files: string[];
}

const defaultFile = "/etc/cricket/cricket.toml";

/** Environment variable and command-line flag of the settings that have one. */
const shortcuts: readonly { key: string; env?: string; flag: string }[] = [
  { key: "socket", env: "CRICKET_SOCKET", flag: "socket" },
  { key: "state_root", env: "CRICKET_STATE_ROOT", flag: "state-root" },
  { key: "run_root", env: "CRICKET_RUN_ROOT", flag: "run-root" },
  { key: "helper_dir", env: "CRICKET_HELPER_DIR", flag: "helper-dir" },
  { key: "log.level", env: "CRICKET_LOG_LEVEL", flag: "log-level" },
  { key: "log.format", env: "CRICKET_LOG_FORMAT", flag: "log-format" },
  { key: "cgroup.parent", flag: "cgroup-parent" },
];

/** For `cricket daemon --help`. */
export const configFlagsHelp = `  --config FILE         configuration file (default ${defaultFile}; also CRICKET_CONFIG)
  --config-dir DIR      drop-in directory (default: conf.d beside the configuration file)
  --set KEY=VALUE       any setting, such as --set network.subnet=10.1.0.0/16; may be repeated
${shortcuts.map(({ flag, key, env }) => `  --${flag.padEnd(20)}${key}${env === undefined ? "" : ` (also ${env})`}`).join("\n")}`;

/**
 * Reads and checks the whole configuration. Throws invalid-argument naming the file (or variable, or flag) and the
 * key: `/etc/cricket/cricket.toml: network.subnet is "x": not an IPv4 CIDR`.
 */
export function loadConfig(request: ConfigRequest = {}): LoadedConfig {
  const { argv = [], env = {}, files = hostFiles } = request;
  const flags = parseFlags(argv);
  const values = new SettingValues(configSchema(builtHelperDir()));
  const read = applyFiles(values, flags.config ?? env["CRICKET_CONFIG"], flags.configDir, files);
  for (const { key, env: name } of shortcuts) {
    const value = name === undefined ? undefined : env[name];
    // An empty variable is how a unit file or a shell says "not set".
    if (name !== undefined && value !== undefined && value !== "") values.set(key, value, name);
  }
  for (const { key, value } of flags.settings) values.set(key, value, "command line");
  return { config: values.config(), files: read };
}

interface Flags {
  config: string | undefined;
  configDir: string | undefined;
  settings: { key: string; value: unknown }[];
}

function parseFlags(argv: readonly string[]): Flags {
  const named = Object.fromEntries(shortcuts.map(({ flag }) => [flag, { type: "string" as const }]));
  const options = {
    ...named,
    config: { type: "string" as const },
    "config-dir": { type: "string" as const },
    set: { type: "string" as const, multiple: true },
  };
  let values: Record<string, string | boolean | (string | boolean)[] | undefined>;
  try {
    ({ values } = parseArgs({ args: [...argv], options, allowPositionals: false, strict: true }));
  } catch (error) {
    throw invalidArgument(messageOf(error).replace(/^./, (first) => first.toLowerCase()));
  }
  const text = (name: string): string | undefined => {
    const value = values[name];
    return typeof value === "string" ? value : undefined;
  };
  const settings: Flags["settings"] = [];
  for (const { key, flag } of shortcuts) {
    const value = text(flag);
    if (value !== undefined) settings.push({ key, value });
  }
  const sets = values["set"];
  for (const line of Array.isArray(sets) ? sets : []) settings.push(parseAssignment(String(line)));
  return { config: text("config"), configDir: text("config-dir"), settings };
}

/** "network.mtu=1400": the value as TOML, or the text itself where it is not TOML, so that strings need no quotes. */
function parseAssignment(line: string): { key: string; value: unknown } {
  const at = line.indexOf("=");
  if (at <= 0) throw invalidArgument(`--set ${line}: not of the form KEY=VALUE`);
  const key = line.slice(0, at);
  const text = line.slice(at + 1);
  try {
    return { key, value: parseToml(`value = ${text}`, { integersAsBigInt: true })["value"] };
  } catch {
    return { key, value: text };
  }
}

function applyFiles(
  values: SettingValues,
  chosen: string | undefined,
  chosenDir: string | undefined,
  files: ConfigFiles,
): string[] {
  const main = chosen ?? defaultFile;
  const dropIns = chosenDir ?? join(dirname(main), "conf.d");
  const names = files.list(dropIns).filter((name) => name.endsWith(".toml") && !name.startsWith("."));
  const read: string[] = [];
  for (const file of [main, ...names.sort().map((name) => join(dropIns, name))]) {
    const text = files.read(file);
    if (text !== undefined) {
      values.setAll(parseFile(file, text), file);
      read.push(file);
    } else if (chosen !== undefined && file === main) {
      throw invalidArgument(`${file}: no such file`);
    }
  }
  return read;
}

function parseFile(file: string, text: string): Record<string, unknown> {
  try {
    return parseToml(text, { integersAsBigInt: true });
  } catch (error) {
    // smol-toml adds a picture of the place after an empty line; the first line says what and where.
    const [first = ""] = messageOf(error).split("\n");
    const place =
      typeof error === "object" && error !== null && "line" in error ? `:${String(error.line)}` : "";
    throw new CricketError("invalid-argument", `${file}${place}: ${first}`, { cause: error });
  }
}

const hostFiles: ConfigFiles = {
  read(file) {
    try {
      return readFileSync(file, "utf8");
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw wrapError(`read ${file}`, error);
    }
  },
  list(directory) {
    try {
      return readdirSync(directory);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return [];
      throw wrapError(`read ${directory}`, error);
    }
  },
};

/** `build` beside package.json, whether this file runs from src or from dist/lib. */
function builtHelperDir(): string {
  let directory = import.meta.dirname;
  while (directory !== "/" && !existsSync(join(directory, "package.json"))) directory = dirname(directory);
  return join(directory, "build");
}

/** Every setting by its TOML key with its value in TOML's notation, for the verbose Status and `cricket config`. */
export function describeConfig(config: Config): Record<string, string> {
  const described: Record<string, string> = {};
  const schema = configSchema(config.helperDir);
  const describe = (section: object, values: object, prefix: string): void => {
    for (const [name, setting] of Object.entries(section) as [string, Setting<unknown>][])
      described[prefix + snakeCase(name)] = setting.format((values as Record<string, unknown>)[name]);
  };
  describe(schema.top, config, "");
  for (const [name, section] of Object.entries(schema.sections))
    describe(section, config[name as keyof ConfigSchema["sections"]], `${snakeCase(name)}.`);
  for (const [handler, runtime] of Object.entries(config.runtimes))
    describe(schema.runtime, runtime, `runtimes.${handler}.`);
  return described;
}
