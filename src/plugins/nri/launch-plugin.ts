// Plugins that are installed on the node and run by the daemon.
import { spawn } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import type { Duplex } from "node:stream";
import { join } from "node:path";
import { CricketError, errnoOf, wrapError } from "../../base/errors.ts";
import type { NriConfig } from "../../config/config.ts";

export interface InstalledPlugin {
  path: string;
  identity: { index: string; name: string };
  /** Its configuration file, or "". */
  config: string;
}

const maxConfigBytes = 1024 * 1024;

/**
 * Executables named "NN-name", in order; others are left alone. The configuration is NN-name.conf, else name.conf.
 * @param refuse is told of those that cannot be used: the others can
 * @throws CricketError when the directory is there and cannot be read
 */
export function installedPlugins(
  { pluginDir, pluginConfigDir }: Pick<NriConfig, "pluginDir" | "pluginConfigDir">,
  refuse: (path: string, error: unknown) => void,
): InstalledPlugin[] {
  return namesIn(pluginDir).flatMap((fileName) => {
    const [, index, name] = /^(\d\d)-([\w.+-]+)$/.exec(fileName) ?? [];
    const path = join(pluginDir, fileName);
    if (index === undefined || name === undefined) return [];
    try {
      if (!isExecutable(path)) return [];
      const config =
        readConfig(join(pluginConfigDir, `${fileName}.conf`)) ??
        readConfig(join(pluginConfigDir, `${name}.conf`));
      return [{ path, identity: { index, name }, config: config ?? "" }];
    } catch (error) {
      refuse(path, error);
      return [];
    }
  });
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).toSorted();
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw wrapError(`list ${directory}`, error);
  }
}

function isExecutable(path: string): boolean {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats?.isFile() === true && (stats.mode & 0o111) !== 0;
}

function readConfig(path: string): string | undefined {
  try {
    const { size } = statSync(path);
    if (size > maxConfigBytes)
      throw new CricketError("invalid-argument", `${path} has ${size} bytes: ${maxConfigBytes} at most`);
    return readFileSync(path, "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw wrapError(`read ${path}`, error);
  }
}

export interface LaunchedPlugin {
  /** Its descriptor 3 is the other end. */
  socket: Duplex;
  kill: () => void;
}

/** @throws CricketError when it cannot be executed */
export function launchPlugin({ path, identity }: InstalledPlugin): Promise<LaunchedPlugin> {
  const child = spawn(path, [], {
    cwd: "/",
    // What it prints is the daemon's log, as with every runtime.
    stdio: ["ignore", "inherit", "inherit", "pipe"],
    env: { NRI_PLUGIN_NAME: identity.name, NRI_PLUGIN_IDX: identity.index, NRI_PLUGIN_SOCKET: "3" },
  });
  return new Promise((resolve, reject) => {
    child.once("error", (error) => reject(wrapError(`launch ${path}`, error)));
    child.once("spawn", () => {
      // Its end closes the socket, which tells.
      child.on("error", () => {});
      resolve({ socket: child.stdio[3] as Duplex, kill: () => void child.kill("SIGKILL") });
    });
  });
}
