// Attachments on disk, one file each, in the layout of libcni's result cache so that its tools read them. Written
// before the first ADD: whoever finds the file knows that there may be something to remove, and how.
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { temporarySuffix, writeFileAtomic, writeFileDurable } from "../../base/atomic-file.ts";
import { CricketError, messageOf, wrapError } from "../../base/errors.ts";
import { isId } from "../../base/ids.ts";
import type { Log } from "../../base/log.ts";
import type { CniArgs } from "./attachment-arguments.ts";
import { isJsonObject, stringField, parseJsonObject, type JsonObject } from "./json-object.ts";
import { formatNetworkConfig, parseNetworkConfig } from "./network-config.ts";
import type { CniAttachment, CniNetworkPlan } from "./plugin-chain.ts";

export interface CachedAttachment {
  plan: CniNetworkPlan;
  attachment: CniAttachment;
  /** Undefined while ADD runs, and for ever where it did not succeed. */
  result: JsonObject | undefined;
}

const kind = "cniCacheV1";

export class AttachmentCache {
  readonly #directory: string;
  readonly #attachments = new Map<string, CachedAttachment>();

  /** Loads all attachments; files that cannot be read stay, with a warning: they may tell somebody what is left. */
  constructor(directory: string, log: Log) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(directory)) {
      const path = join(directory, name);
      if (name.endsWith(temporarySuffix)) {
        rmSync(path, { force: true });
        continue;
      }
      try {
        const cached = parseCached(readFileSync(path, "utf8"));
        this.#attachments.set(cached.attachment.containerId, cached);
      } catch (error) {
        log.warn("record of a network attachment is not readable", { path, error: messageOf(error) });
      }
    }
  }

  get(sandboxId: string): CachedAttachment | undefined {
    return this.#attachments.get(sandboxId);
  }

  list(): CachedAttachment[] {
    return [...this.#attachments.values()];
  }

  /** Records that ADD is about to begin. Survives a power loss, as what plugins make may. */
  async begin(cached: CachedAttachment): Promise<void> {
    this.#attachments.set(cached.attachment.containerId, cached);
    try {
      await writeFileDurable(this.#path(cached), formatCached(cached));
    } catch (error) {
      this.delete(cached);
      throw wrapError("record network attachment", error);
    }
  }

  /** Not synced: DEL works without the result, only less exactly. */
  complete(cached: CachedAttachment, result: JsonObject): void {
    const completed = { ...cached, result };
    writeFileAtomic(this.#path(cached), formatCached(completed));
    this.#attachments.set(cached.attachment.containerId, completed);
  }

  /** Idempotent. */
  delete(cached: CachedAttachment): void {
    rmSync(this.#path(cached), { force: true });
    this.#attachments.delete(cached.attachment.containerId);
  }

  #path({ plan, attachment }: CachedAttachment): string {
    return join(this.#directory, `${plan.config.name}-${attachment.containerId}-${attachment.interfaceName}`);
  }
}

function formatCached({ plan, attachment, result }: CachedAttachment): string {
  return JSON.stringify({
    kind,
    containerId: attachment.containerId,
    config: Buffer.from(formatNetworkConfig(plan.config, plan.version)).toString("base64"),
    ifName: attachment.interfaceName,
    networkName: plan.config.name,
    netns: attachment.netnsPath,
    cniArgs: attachment.args,
    capabilityArgs: attachment.capabilityArguments,
    ...(result === undefined ? {} : { result }),
  });
}

function parseCached(text: string): CachedAttachment {
  const stored = parseJsonObject(text, "the record");
  const containerId = stringField(stored, "containerId");
  if (stringField(stored, "kind") !== kind || !isId(containerId))
    throw new CricketError("internal", "not a record of ours");
  const config = parseNetworkConfig(Buffer.from(stringField(stored, "config"), "base64").toString());
  const version = config.versions.at(-1);
  if (version === undefined) throw new CricketError("internal", "no version");
  const { capabilityArgs, result } = stored;
  return {
    plan: { config, version },
    attachment: {
      containerId,
      interfaceName: stringField(stored, "ifName"),
      netnsPath: stringField(stored, "netns"),
      args: parseArgs(stored["cniArgs"]),
      capabilityArguments: isJsonObject(capabilityArgs) ? capabilityArgs : {},
    },
    result: isJsonObject(result) ? result : undefined,
  };
}

function parseArgs(value: unknown): CniArgs {
  if (!Array.isArray(value)) return [];
  return value.filter(
    (pair): pair is [string, string] =>
      Array.isArray(pair) && pair.length === 2 && pair.every((part) => typeof part === "string"),
  );
}
