// The CDI devices of this node: read when the first container asks for one, and again when a file has changed.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import {
  CricketError,
  errnoOf,
  failedPrecondition,
  invalidArgument,
  messageOf,
  wrapError,
} from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { checkCdiSpec, parseQualifiedName, type CdiDevice, type CdiSpec } from "./cdi-spec.ts";

export interface FoundDevice {
  device: CdiDevice;
  spec: CdiSpec;
  /** The file. */
  path: string;
}

interface SpecFile {
  path: string;
  /** Place of its directory in the settings: a later one goes before. */
  priority: number;
  /** What changes when the file does. */
  fingerprint: string;
}

const maxSpecBytes = 4 * 1024 * 1024;
const maxSpecFiles = 10_000;

export class CdiRegistry {
  readonly #directories: readonly string[];
  readonly #log: Log;
  #fingerprint: string | undefined;
  #devices = new Map<string, FoundDevice>();
  /** Names that two files of one directory have, and why a file's devices are missing. */
  #conflicts = new Map<string, string>();
  #failures = new Map<string, string>();

  /** A device of a later directory takes the place of one with the same name in an earlier. */
  constructor(directories: readonly string[], log: Log) {
    this.#directories = directories;
    this.#log = log;
  }

  /**
   * Devices by their qualified names, in that order.
   * @throws CricketError invalid-argument for what is no such name, failed-precondition for what is not there
   */
  async find(names: readonly string[]): Promise<FoundDevice[]> {
    for (const name of names)
      if (parseQualifiedName(name) === undefined)
        throw invalidArgument(`CDI device ${JSON.stringify(name)} is not of the form vendor.com/class=name`);
    await this.#refresh();
    return names.map((name) => this.#devices.get(name) ?? this.#refuse(name));
  }

  #refuse(name: string): never {
    const conflict = this.#conflicts.get(name);
    if (conflict !== undefined)
      throw failedPrecondition(`CDI device ${name} is in several files: ${conflict}`);
    const failures = [...this.#failures].map(([path, failure]) => `; ${path} cannot be used: ${failure}`);
    throw failedPrecondition(
      `CDI device ${name} is in no file of ${this.#directories.join(", ")}${failures.join("")}`,
    );
  }

  async #refresh(): Promise<void> {
    const files = this.#directories.flatMap((directory, priority) => specFiles(directory, priority));
    if (files.length > maxSpecFiles)
      throw new CricketError("resource-exhausted", `more than ${maxSpecFiles} CDI files`);
    const fingerprint = files.map((file) => file.fingerprint).join("\n");
    if (fingerprint === this.#fingerprint) return;
    const read = await Promise.all(files.map(async (file) => ({ file, spec: await this.#read(file.path) })));
    this.#failures = new Map(
      read.flatMap(({ file, spec }) => (typeof spec === "string" ? [[file.path, spec]] : [])),
    );
    this.#index(read.flatMap(({ file, spec }) => (typeof spec === "string" ? [] : [{ file, spec }])));
    this.#fingerprint = fingerprint;
    this.#log.info("CDI devices read", { files: files.length, devices: this.#devices.size });
  }

  /** A string says what is wrong with the file: the others can still be used. */
  async #read(path: string): Promise<CdiSpec | string> {
    try {
      return checkCdiSpec(await parseFile(path));
    } catch (error) {
      this.#log.warn("CDI file cannot be used", { path, error: messageOf(error) });
      return messageOf(error);
    }
  }

  #index(specs: readonly { file: SpecFile; spec: CdiSpec }[]): void {
    const devices = new Map<string, FoundDevice & { priority: number }>();
    const conflicts = new Map<string, string>();
    for (const { file, spec } of specs)
      for (const device of spec.devices) {
        const name = `${spec.kind}=${device.name}`;
        const other = devices.get(name);
        if (other?.priority === file.priority) conflicts.set(name, `${other.path}, ${file.path}`);
        else conflicts.delete(name);
        devices.set(name, { device, spec, path: file.path, priority: file.priority });
      }
    for (const name of conflicts.keys()) devices.delete(name);
    this.#devices = devices;
    this.#conflicts = conflicts;
  }
}

/** In the order of their names; a directory that is not there has none. */
function specFiles(directory: string, priority: number): SpecFile[] {
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return [];
    throw wrapError(`list ${directory}`, error);
  }
  return names
    .filter((name) => /\.(?:json|yaml)$/.test(name))
    .toSorted()
    .flatMap((name) => {
      const path = join(directory, name);
      const stats = statSync(path, { throwIfNoEntry: false, bigint: true });
      if (stats?.isFile() !== true) return [];
      const { dev, ino, size, mtimeNs, ctimeNs } = stats;
      return [{ path, priority, fingerprint: [path, dev, ino, size, mtimeNs, ctimeNs].join(" ") }];
    });
}

async function parseFile(path: string): Promise<unknown> {
  const { size } = statSync(path);
  if (size > maxSpecBytes) throw invalidArgument(`it has ${size} bytes: ${maxSpecBytes} at most`);
  const text = readFileSync(path, "utf8");
  if (path.endsWith(".json")) return JSON.parse(text);
  const { parse } = await import("yaml");
  return parse(text, { maxAliasCount: 100 });
}
