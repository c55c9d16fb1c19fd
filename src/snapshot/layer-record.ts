// The small file beside a layer's content: what was measured and verified when it was unpacked.
import { readFileSync } from "node:fs";
import { writeFileAtomic } from "../base/atomic-file.ts";
import { CricketError, messageOf } from "../base/errors.ts";
import { isSha256Digest } from "./chain-id.ts";
import type { DiskUsage } from "./layer-store.ts";

const version = 1;

export interface LayerRecord {
  diffId: string;
  usage: DiskUsage;
}

/** Not durable by itself: the layer's sync follows. */
export function writeLayerRecord(path: string, record: LayerRecord): void {
  writeFileAtomic(path, `${JSON.stringify({ version, ...record })}\n`);
}

/** Throws "internal" for a record that is missing or not whole. */
export function readLayerRecord(path: string): LayerRecord {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new CricketError("internal", `layer record ${path}: ${messageOf(error)}`, { cause: error });
  }
  if (!isLayerRecord(value)) throw new CricketError("internal", `layer record ${path}: unknown form`);
  const { bytes, inodes } = value.usage;
  return { diffId: value.diffId, usage: { bytes, inodes } };
}

function isLayerRecord(value: unknown): value is LayerRecord {
  if (typeof value !== "object" || value === null) return false;
  const record = value as Partial<Record<string, unknown>>;
  const usage = record.usage as Partial<Record<string, unknown>> | undefined;
  const counts = [usage?.bytes, usage?.inodes];
  return (
    record.version === version &&
    typeof record.diffId === "string" &&
    isSha256Digest(record.diffId) &&
    counts.every((count) => Number.isSafeInteger(count))
  );
}
