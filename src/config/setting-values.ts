// All settings by their dotted TOML key, and what files, variables and flags have set them to so far.
import { join } from "node:path";
import { invalidArgument } from "../base/errors.ts";
import type { Config, RuntimeConfig } from "./config.ts";
import { handlerPattern, type ConfigSchema } from "./config-schema.ts";
import { BadValue, type Setting } from "./setting.ts";

export const snakeCase = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

const runtimes = "runtimes";
const embeddedName = "cricket";

interface Slot {
  setting: Setting<unknown>;
  value: unknown;
}

export class SettingValues {
  readonly #schema: ConfigSchema;
  readonly #slots = new Map<string, Slot>();
  readonly #handlers = new Set<string>();

  constructor(schema: ConfigSchema) {
    this.#schema = schema;
    for (const [key, setting] of flatten(schema)) this.#slots.set(key, { setting, value: setting.fallback });
  }

  /** Takes over one parsed file. */
  setAll(table: Record<string, unknown>, source: string): void {
    for (const [name, value] of Object.entries(table)) {
      if (name === runtimes) this.#setRuntimes(value, source);
      else if (isSection(this.#schema, name)) this.#setTable(name, value, source);
      else this.set(name, value, source);
    }
  }

  #setTable(name: string, table: unknown, source: string): void {
    if (!isTable(table)) throw invalidArgument(`${source}: ${name} is not a table`);
    for (const [key, inner] of Object.entries(table)) this.set(`${name}.${key}`, inner, source);
  }

  #setRuntimes(table: unknown, source: string): void {
    if (!isTable(table)) throw invalidArgument(`${source}: ${runtimes} is not a table`);
    for (const [handler, inner] of Object.entries(table)) {
      this.#addRuntime(handler, source);
      this.#setTable(`${runtimes}.${handler}`, inner, source);
    }
  }

  set(key: string, value: unknown, source: string): void {
    const [section, handler, name] = key.split(".", 3);
    if (section === runtimes && handler !== undefined && name !== undefined)
      this.#addRuntime(handler, source);
    const slot = this.#slots.get(key);
    if (slot === undefined) throw invalidArgument(`${source}: ${key} is not a setting`);
    try {
      slot.value = slot.setting.parse(value);
    } catch (error) {
      if (error instanceof BadValue) throw invalidArgument(`${source}: ${key} ${error.message}`);
      throw error;
    }
  }

  /** A handler exists from its first key on. */
  #addRuntime(handler: string, source: string): void {
    if (this.#handlers.has(handler)) return;
    if (!handlerPattern.test(handler))
      throw invalidArgument(`${source}: ${runtimes}.${JSON.stringify(handler)}: not a DNS label`);
    if (handler === embeddedName)
      throw invalidArgument(`${source}: ${runtimes}.${handler}: this is the embedded runtime's name`);
    this.#handlers.add(handler);
    for (const [name, setting] of Object.entries(this.#schema.runtime) as [string, Setting<unknown>][])
      this.#slots.set(`${runtimes}.${handler}.${snakeCase(name)}`, { setting, value: setting.fallback });
  }

  /** @throws CricketError invalid-argument for settings that do not go together */
  config(): Config {
    const config = this.#pick(this.#schema.top, "");
    for (const [name, section] of Object.entries(this.#schema.sections))
      config[name] = this.#pick(section, `${snakeCase(name)}.`);
    config[runtimes] = Object.fromEntries(
      [...this.#handlers].map((handler) => [handler, this.#runtime(handler)]),
    );
    if (config["socket"] === "") config["socket"] = join(String(config["runRoot"]), "cricket.sock");
    // Every member was parsed by the setting of the same name, which `ConfigSchema` ties to its type.
    return config as unknown as Config;
  }

  #runtime(handler: string): RuntimeConfig {
    const key = `${runtimes}.${handler}`;
    const runtime = this.#pick(this.#schema.runtime, `${key}.`) as unknown as RuntimeConfig;
    if (runtime.type === "oci" && runtime.path === "") throw invalidArgument(`${key}.path is not set`);
    if (runtime.type === "embedded" && runtime.path !== "")
      throw invalidArgument(`${key}.path is set, but ${key}.type is "embedded"`);
    return runtime;
  }

  #pick(section: object, prefix: string): Record<string, unknown> {
    return Object.fromEntries(
      Object.keys(section).map((name) => [name, this.#slots.get(prefix + snakeCase(name))?.value]),
    );
  }
}

function flatten(schema: ConfigSchema): [key: string, setting: Setting<unknown>][] {
  const entries: [string, Setting<unknown>][] = [];
  const add = (section: object, prefix: string): void => {
    for (const [name, setting] of Object.entries(section))
      entries.push([prefix + snakeCase(name), setting as Setting<unknown>]);
  };
  add(schema.top, "");
  for (const [name, section] of Object.entries(schema.sections)) add(section, `${snakeCase(name)}.`);
  return entries;
}

const isSection = (schema: ConfigSchema, name: string): boolean => Object.hasOwn(schema.sections, name);

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
