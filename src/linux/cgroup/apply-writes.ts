// Writing limits: at once into a cgroup that has no processes yet, or in the background into a live one.
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { errnoOf, failedPrecondition } from "../../base/errors.ts";
import { readNumber, writeCgroupFile, writeError } from "./cgroup-file.ts";
import { failedWrite, type CgroupWrite } from "./cgroup-write.ts";

export function applyWrites(writes: readonly CgroupWrite[]): void {
  for (const write of writes) {
    try {
      writeCgroupFile(write.file, write.value);
    } catch (error) {
      refuse(write, error);
    }
  }
}

export interface LiveOptions {
  /** Memory in use is not reclaimed to make room for a lower limit. */
  checkBeforeUpdate: boolean;
}

/**
 * Lowering a memory limit makes the kernel reclaim memory, which can take seconds and so happens off the main thread.
 * v2 would kill what does not fit; here, as in v1, it is EBUSY.
 */
export async function applyWritesLive(writes: readonly CgroupWrite[], options: LiveOptions): Promise<void> {
  for (const write of writes) {
    const used = memoryUsage[write.file.slice(write.file.lastIndexOf("/") + 1)];
    if (used !== undefined) await makeRoom(write, used, options);
    await writeInBackground(write);
  }
}

const memoryUsage: Readonly<Record<string, string>> = {
  "memory.max": "memory.current",
  "memory.limit_in_bytes": "memory.usage_in_bytes",
};

async function writeInBackground(write: CgroupWrite): Promise<void> {
  try {
    const handle = await open(write.file, constants.O_WRONLY);
    try {
      await handle.write(write.value);
    } finally {
      await handle.close();
    }
  } catch (error) {
    refuse(write, writeError(write.file, write.value, error));
  }
}

function refuse(write: CgroupWrite, error: unknown): void {
  const isMissing = errnoOf(error) === "ENOENT";
  if (write.ifMissing === "skip" && isMissing) return;
  throw failedWrite(write, error, isMissing);
}

async function makeRoom(write: CgroupWrite, usageFile: string, options: LiveOptions): Promise<void> {
  const { file, value, field } = write;
  if (value === "max" || value === "-1") return;
  const directory = file.slice(0, file.lastIndexOf("/"));
  const excess = (): bigint => (readNumber(`${directory}/${usageFile}`) ?? 0n) - BigInt(value);
  if (excess() <= 0n) return;
  if (!options.checkBeforeUpdate) {
    // v1 reclaims by itself when the limit is written, and refuses what cannot be.
    if (usageFile === "memory.usage_in_bytes") return;
    // Linux 5.19. EAGAIN: less could be reclaimed than was asked; the look after it decides.
    const reclaim: CgroupWrite = {
      file: `${directory}/memory.reclaim`,
      value: String(excess()),
      field,
      ifMissing: "skip",
    };
    await writeInBackground(reclaim).catch(() => {});
    if (excess() <= 0n) return;
  }
  const why = options.checkBeforeUpdate ? "is in use" : "is in use and cannot be reclaimed";
  throw failedPrecondition(`${field}: write ${value} to ${file}: EBUSY (more than that ${why})`);
}
