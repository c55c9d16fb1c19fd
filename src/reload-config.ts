// SIGHUP: what can change while the daemon runs is read again from the configuration.
import { messageOf } from "./base/errors.ts";
import type { Log } from "./base/log.ts";
import type { Config } from "./config/config.ts";
import { describeConfig, loadConfig, type ConfigRequest } from "./config/load-config.ts";

export interface ReloadParts {
  /** Of the running daemon; what is applied is changed in it. */
  config: Config;
  log: Log;
  images: { setPinned(patterns: readonly string[]): void };
}

/** Keys that are applied; registries.conf, policy.json, certificates and CNI configurations are read when needed anyway. */
const applied = new Set(["log.level", "log.format", "image.pinned"]);

/** Applies what it can and says what needs a restart. A configuration that is wrong changes nothing. Never throws. */
export function reloadConfig(request: ConfigRequest, { config, log, images }: ReloadParts): void {
  let next: Config;
  try {
    ({ config: next } = loadConfig(request));
  } catch (error) {
    log.warn("configuration not reloaded", { error: messageOf(error) });
    return;
  }
  const changed = changedKeys(config, next);
  Object.assign(config.log, next.log);
  config.image.pinned = next.image.pinned;
  log.configure(next.log);
  images.setPinned(next.image.pinned);
  const waiting = changed.filter((key) => !applied.has(key));
  log.info("configuration reloaded", { changed: changed.filter((key) => applied.has(key)).join(",") });
  if (waiting.length > 0)
    log.warn("settings that need a restart have changed", { settings: waiting.join(",") });
}

function changedKeys(before: Config, after: Config): string[] {
  const [old, now] = [describeConfig(before), describeConfig(after)];
  return [...new Set([...Object.keys(old), ...Object.keys(now)])].filter((key) => old[key] !== now[key]);
}
