// CheckpointContainer: the container's processes as criu writes them, with what else is needed to know and restore it,
// in one archive of the layout that CRI-O introduced and checkpointctl reads.
import { copyFile, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { randomBytes } from "node:crypto";
import { CricketError, errnoOf, failedPrecondition, wrapError } from "../base/errors.ts";
import type { KeyedLock } from "../base/keyed-lock.ts";
import type { Paths } from "../config/paths.ts";
import type { HelperBinary } from "../linux/helper-binary.ts";
import { runExec } from "../linux/run-exec.ts";
import { compileInvocation } from "../oci/external/runtime-command.ts";
import { printable } from "../oci/external/runtime-log.ts";
import type { ContainerRuntimes } from "./container-runtime.ts";
import type { Container, ContainerStore } from "./container-store.ts";

export interface CheckpointRequest {
  containerId: string;
  /** Absolute path of the archive to write. */
  location: string;
  /** 0: none. */
  timeoutMs: number;
}

export interface CheckpointParts {
  store: ContainerStore;
  runtimes: ContainerRuntimes;
  locks: KeyedLock;
  helper: HelperBinary;
  paths: Paths;
}

/**
 * The container runs on. A file at `location` is replaced when the archive is whole.
 * @throws CricketError unimplemented with the reason where the container's runtime or this machine cannot do it
 */
export async function checkpointContainer(request: CheckpointRequest, parts: CheckpointParts): Promise<void> {
  const container = parts.store.get(request.containerId);
  const runtime = parts.runtimes.of(container.record);
  const missing = runtime.missingForCheckpoints();
  if (missing !== undefined)
    throw new CricketError("unimplemented", `checkpoint container ${container.id}: ${missing}`);
  await parts.locks.run(container.id, async () => {
    if (container.state !== "running")
      throw failedPrecondition(
        `container ${container.id} is ${container.state}, a checkpoint needs a running one`,
      );
    // Beside the writable layer, on a disk: images are as large as the container's memory. It goes with the layer.
    const directory = join(parts.paths.containerLayerDir(container.id), "checkpoint");
    try {
      await rm(directory, { recursive: true, force: true });
      await mkdir(join(directory, images), { recursive: true, mode: 0o700 });
      await runtime.checkpoint(container, { images: join(directory, images), work: directory });
      await describe(container, directory, parts);
      await archive(directory, request, parts);
    } catch (error) {
      throw wrapError(`checkpoint container ${container.id}`, error);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
}

/** Names of the layout. */
const images = "checkpoint";
const rootfsDiff = "rootfs-diff.tar";

async function describe(container: Container, directory: string, parts: CheckpointParts): Promise<void> {
  const { record } = container;
  const write = (name: string, value: object): Promise<void> =>
    writeFile(join(directory, name), JSON.stringify(value), { mode: 0o600 });
  await write("config.dump", {
    id: record.id,
    name: record.config.metadata.name,
    rootfsImage: record.image.id,
    rootfsImageRef: record.image.ref,
    rootfsImageName: record.image.name,
    runtime: record.runtimeHandler ?? "",
    createdTime: timeOf(record.createdAtNs),
    checkpointedTime: new Date().toISOString(),
  });
  await copyFile(parts.paths.containerSpec(record.id), join(directory, "spec.dump"));
  if (record.logPath !== "") await copyExisting(record.logPath, join(directory, "container.log"));
  const upper = join(parts.paths.containerLayerDir(record.id), "upper");
  // Whiteouts (devices 0:0) are part of it, as overlayfs has them.
  const attributes = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "--sparse"];
  await tar(["-C", upper, ...attributes, "-cf", join(directory, rootfsDiff), "."], 0, parts);
}

const timeOf = (ns: bigint): string => new Date(Number(ns / 1_000_000n)).toISOString();

async function copyExisting(from: string, to: string): Promise<void> {
  try {
    await copyFile(from, to);
  } catch (error) {
    // A log that is just being rotated.
    if (errnoOf(error) !== "ENOENT") throw error;
  }
}

/** Under a name of its own first: nothing that is at `location`, no link either, is followed or half replaced. */
async function archive(
  directory: string,
  { location, timeoutMs }: CheckpointRequest,
  parts: CheckpointParts,
): Promise<void> {
  const unfinished = join(dirname(location), `.cricket-${randomBytes(8).toString("hex")}`);
  try {
    await writeFile(unfinished, "", { mode: 0o600, flag: "wx" });
    const exclude = ["--exclude=./runtime-*", "--exclude=./*.log.tmp"];
    await tar(["-C", directory, "--numeric-owner", ...exclude, "-cf", unfinished, "."], timeoutMs, parts);
    await rename(unfinished, location);
  } finally {
    await rm(unfinished, { force: true });
  }
}

async function tar(args: readonly string[], timeoutMs: number, { helper }: CheckpointParts): Promise<void> {
  const result = await runExec(helper, compileInvocation(["tar", ...args]), { timeoutMs });
  if (result.timedOut) throw new CricketError("deadline-exceeded", `tar: no end after ${timeoutMs} ms`);
  // 1: a file changed while it was read; its container runs on.
  if (result.exitCode > 1)
    throw new CricketError("internal", `tar: ${printable(result.stderr.toString("utf8"))}`);
}
