// The directory of network configurations (/etc/cni/net.d): which one is in use, and word of changes.
import { readdirSync, readFileSync, statSync, watch, type FSWatcher } from "node:fs";
import { basename, dirname, extname, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { CricketError, errnoOf, invalidArgument, messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { parseNetworkConfig, parsePluginConfig, type NetworkConfig } from "./network-config.ts";

/** `configured` is false only where no file asks for CNI at all. */
export type LoadedConfig =
  | { configured: false }
  | { configured: true; config: NetworkConfig; path: string }
  | { configured: true; config: undefined; problem: string };

const extensions = new Set([".conf", ".conflist", ".json"]);
const maxConfigBytes = 1024 * 1024;

/**
 * Reads the first valid configuration by name. Files that are not valid are passed over, as every other runtime does,
 * but a directory with nothing else is a network that does not work, not a node without one: its pods must not end up
 * in another network than the one that was meant.
 */
export function loadNetworkConfig(directory: string): LoadedConfig {
  const names = configNames(directory, extensions);
  const problems: string[] = [];
  for (const name of names) {
    const path = join(directory, name);
    try {
      const config = withPluginFiles(parseNetworkConfig(readBounded(path)), directory);
      return { configured: true, config, path };
    } catch (error) {
      problems.push(`${path}: ${messageOf(error)}`);
    }
  }
  if (problems.length === 0) return { configured: false };
  return { configured: true, config: undefined, problem: problems.join("; ") };
}

function configNames(directory: string, wanted: ReadonlySet<string>): string[] {
  try {
    return readdirSync(directory)
      .filter((name) => wanted.has(extname(name)))
      .sort();
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ENOENT" || errno === "ENOTDIR") return [];
    throw new CricketError("internal", `read ${directory}: ${messageOf(error)}`, { cause: error });
  }
}

// CNI 1.1: `<directory>/<network>/*.conf` are plugins that are added to the end of the chain.
function withPluginFiles(config: NetworkConfig, directory: string): NetworkConfig {
  if (config.inlinedOnly) return config;
  const folder = join(directory, config.name);
  const added = configNames(folder, new Set([".conf"])).map((name) => {
    const path = join(folder, name);
    try {
      return parsePluginConfig(readBounded(path));
    } catch (error) {
      throw invalidArgument(`${path}: ${messageOf(error)}`);
    }
  });
  const plugins = [...config.plugins, ...added];
  if (plugins.length === 0) throw invalidArgument("plugins is empty");
  return { ...config, plugins };
}

// A fifo would hold the daemon up, and a huge file is no configuration.
function readBounded(path: string): string {
  const { size } = statSync(path);
  if (!statSync(path).isFile()) throw invalidArgument("not a regular file");
  if (size > maxConfigBytes)
    throw invalidArgument(`${size} bytes are more than the ${maxConfigBytes} allowed`);
  return readFileSync(path, "utf8");
}

// Writers replace a file in several steps; what lies between them is of no interest.
const settleMs = 50;
const pollMs = 5_000;
const armRounds = 5;

/**
 * Calls back when something in the directory or one of its folders may have changed, also where the directory appears
 * later. All watches share the one inotify descriptor of libuv (containerd#10468: instances are scarce).
 */
export class DirectoryWatch {
  readonly #directory: string;
  readonly #onChange: () => void;
  readonly #log: Log;
  #watchers: FSWatcher[] = [];
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(directory: string, onChange: () => void, log: Log) {
    this.#directory = directory;
    this.#onChange = onChange;
    this.#log = log;
    this.#arm();
  }

  close(): void {
    this.#closed = true;
    this.#disarm();
  }

  #disarm(): void {
    for (const watcher of this.#watchers) watcher.close();
    this.#watchers = [];
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #arm(): void {
    this.#disarm();
    if (this.#closed) return;
    try {
      // What came or went between the look and the watch has nobody to tell of it: looked at again, a few times.
      for (let round = 0; round < armRounds; round++) {
        const paths = watchedPaths(this.#directory);
        for (const { path, entry } of paths) this.#watch(path, entry);
        if (isDeepStrictEqual(paths, watchedPaths(this.#directory))) return;
        this.#disarm();
      }
      throw new CricketError("unavailable", `${this.#directory} changes faster than it can be watched`);
    } catch (error) {
      this.#disarm();
      this.#log.warn("network configuration is polled, not watched", { error: messageOf(error) });
      this.#schedule(pollMs);
    }
  }

  #watch(path: string, entry: string | undefined): void {
    const watcher = watch(path, { persistent: false }, (_event, name) => {
      // A directory's own name is told when it goes itself.
      const concerns = entry === undefined || name === null || name === entry || name === basename(path);
      if (concerns) this.#schedule(settleMs);
    });
    // The directory may go, and come back.
    watcher.on("error", () => this.#schedule(settleMs));
    this.#watchers.push(watcher);
  }

  // From the first event on, so that a writer that never rests does not put it off for ever.
  #schedule(delayMs: number): void {
    if (this.#timer !== undefined || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      // Armed before the look, so that no change falls between the two.
      this.#arm();
      this.#onChange();
    }, delayMs);
    this.#timer.unref();
  }
}

interface WatchedPath {
  path: string;
  /** The only entry of interest; undefined for all. */
  entry: string | undefined;
  /** Which directory it was: another one may have taken its name. */
  identity: string;
}

/**
 * The directory with its folders, and all directories above it, as far as they exist: one that is put in place of any of
 * them takes the configuration along, of which the old one is never told.
 */
function watchedPaths(directory: string): WatchedPath[] {
  const watched: WatchedPath[] = [];
  const note = (path: string, entry?: string): void => {
    const identity = tryIdentify(path);
    if (identity !== undefined) watched.push({ path, entry, identity });
  };
  for (let path = directory; path !== dirname(path); path = dirname(path))
    note(dirname(path), basename(path));
  note(directory);
  for (const name of tryListFolders(directory)) note(join(directory, name));
  return watched;
}

function tryIdentify(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path);
    return statSync(path).isDirectory() ? `${dev}:${ino}` : undefined;
  } catch {
    return undefined;
  }
}

function tryListFolders(directory: string): string[] {
  try {
    const entries = readdirSync(directory, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch {
    return [];
  }
}
