// CheckpointContainer: the container's processes as criu writes them, with what else is needed to know and restore it,
// in one archive of the layout that CRI-O introduced and checkpointctl reads.
import { openSync, statSync } from "node:fs";
import { copyFile, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { randomBytes } from "node:crypto";
import { CricketError, errnoOf, failedPrecondition, wrapError } from "../base/errors.ts";
import type { KeyedLock } from "../base/keyed-lock.ts";
import type { Paths } from "../config/paths.ts";
import type { HelperBinary } from "../linux/helper-binary.ts";
import { runExec } from "../linux/run-exec.ts";
import { compileInvocation } from "../oci/external/runtime-command.ts";
import { printable } from "../oci/external/runtime-log.ts";
import type { ImageService } from "../image/image-service.ts";
import { close, O_CLOEXEC, O_DIRECTORY, O_RDONLY, openat } from "../linux/files.ts";
import { parseSpec, stringifySpec } from "../oci/parse-spec.ts";
import { isBind } from "../oci/runtime/criu-externals.ts";
import type { Spec } from "../oci/spec.ts";
import type { LayerStore } from "../snapshot/layer-store.ts";
import { listChanges, type LayerChanges } from "../snapshot/list-changes.ts";
import { createOverlay } from "../snapshot/overlay.ts";
import { criAnnotations, layout } from "./checkpoint-layout.ts";
import type { ContainerRuntimes } from "./container-runtime.ts";
import type { Container, ContainerStore } from "./container-store.ts";
import { checkpointDirectory } from "./prepare-restore.ts";

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
  images: ImageService;
  layers: LayerStore;
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
    const directory = join(parts.paths.containerLayerDir(container.id), checkpointDirectory);
    const deadline = new Deadline(request.timeoutMs);
    const writing = { container, directory, parts, deadline };
    try {
      await rm(directory, { recursive: true, force: true });
      await mkdir(join(directory, layout.images), { recursive: true, mode: 0o700 });
      await runtime.checkpoint(container, {
        images: join(directory, layout.images),
        work: directory,
        // Files and memory are as of one moment.
        whileStopped: () => writeChanges(writing),
        signal: deadline.signal,
      });
      await describe(writing);
      await archive(directory, request.location, writing);
    } catch (error) {
      throw wrapError(`checkpoint container ${container.id}`, error);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
}

interface Writing {
  container: Container;
  directory: string;
  parts: CheckpointParts;
  deadline: Deadline;
}

/** What the files say that are written beside criu's images. */
async function describe({ container, directory, parts }: Writing): Promise<void> {
  const { record } = container;
  const write = (name: string, value: object): Promise<void> =>
    writeFile(join(directory, name), JSON.stringify(value), { mode: 0o600 });
  await write(layout.config, {
    id: record.id,
    name: record.config.metadata.name,
    rootfsImage: record.image.name,
    // CRI-O takes the bare id of an image here and nothing else.
    rootfsImageRef: record.image.id.replace("sha256:", ""),
    rootfsImageName: record.image.name,
    runtime: record.runtimeHandler ?? "",
    createdTime: timeOf(record.createdAtNs),
    checkpointedTime: new Date().toISOString(),
    restored: record.restoredFrom !== undefined,
  });
  const spec = parseSpec(await readFile(parts.paths.containerSpec(record.id), "utf8"));
  const annotations = { ...spec.annotations, [criAnnotations]: JSON.stringify(record.config.annotations) };
  await writeFile(join(directory, layout.spec), stringifySpec({ ...spec, annotations }), { mode: 0o600 });
  await write(layout.bindMounts, bindMounts(spec));
}

/** From which CRI-O makes sources that are missing on another node. */
function bindMounts({ mounts = [] }: Spec): object[] {
  return mounts.filter(isBind).flatMap(({ source = "", destination }) => {
    const status = statSync(source, { throwIfNoEntry: false });
    if (status === undefined) return [];
    const kind = status.isDirectory() ? "directory" : "file";
    return [{ source, destination, file_type: kind, permissions: status.mode & 0o777 }];
  });
}

/** Files of the container's own, and a list of those of its image that it has deleted. */
async function writeChanges({ container, directory, parts, deadline }: Writing): Promise<void> {
  const { id, image, logPath } = container.record;
  const upper = join(parts.paths.containerLayerDir(id), "upper");
  const { chainIds } = parts.images.resolveForContainer(image.id);
  const lowers = chainIds.map((chainId) => parts.layers.path(chainId));
  const { present, deleted } = changesOf(upper, lowers, parts.paths.scratchDir);
  const list = join(directory, "present");
  await writeFile(list, Buffer.from(present.map((path) => `${path}\0`).join(""), "latin1"));
  const attributes = [
    "--xattrs",
    "--xattrs-include=*",
    "--xattrs-exclude=trusted.overlay.*",
    "--numeric-owner",
  ];
  const names = ["--no-recursion", "--null", "--verbatim-files-from", "-T", list];
  const target = join(directory, layout.rootfsDifference);
  await tar(["-C", upper, ...attributes, "-cf", target, ...names], deadline, parts);
  await rm(list);
  const paths = deleted.map((path) => Buffer.from(path, "latin1").toString("utf8"));
  if (paths.length > 0)
    await writeFile(join(directory, layout.deletedFiles), JSON.stringify(paths), { mode: 0o600 });
  // Last, as the monitor may still be writing what the processes wrote before they were stopped.
  if (logPath !== "") for (const name of layout.logs) await copyExisting(logPath, join(directory, name));
}

function changesOf(upper: string, lowers: readonly string[], scratchDir: string): LayerChanges {
  const upperFd = openSync(upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  try {
    const mount = createOverlay({ lowers, scratchDir });
    try {
      const lowerFd = openat(mount, ".", O_RDONLY | O_DIRECTORY);
      try {
        return listChanges(upperFd, lowerFd);
      } finally {
        close(lowerFd);
      }
    } finally {
      close(mount);
    }
  } finally {
    close(upperFd);
  }
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
async function archive(directory: string, location: string, { deadline, parts }: Writing): Promise<void> {
  const unfinished = join(dirname(location), `.cricket-${randomBytes(8).toString("hex")}`);
  try {
    await writeFile(unfinished, "", { mode: 0o600, flag: "wx" });
    const exclude = ["--exclude=./runtime-*", "--exclude=./*.log.tmp"];
    await tar(["-C", directory, "--numeric-owner", ...exclude, "-cf", unfinished, "."], deadline, parts);
    await rename(unfinished, location);
  } finally {
    await rm(unfinished, { force: true });
  }
}

/** Of the whole call. */
class Deadline {
  readonly #timeoutMs: number;
  readonly #endMs: number;
  readonly signal: AbortSignal | undefined;

  /** 0: none. */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
    this.#endMs = performance.now() + timeoutMs;
    this.signal = timeoutMs === 0 ? undefined : AbortSignal.timeout(timeoutMs);
  }

  /** 0: as long as it takes. @throws CricketError deadline-exceeded */
  leftMs(): number {
    if (this.#timeoutMs === 0) return 0;
    const left = Math.floor(this.#endMs - performance.now());
    if (left > 0) return left;
    throw new CricketError("deadline-exceeded", `no end after ${this.#timeoutMs} ms`);
  }
}

async function tar(args: readonly string[], deadline: Deadline, { helper }: CheckpointParts): Promise<void> {
  const timeoutMs = deadline.leftMs();
  const result = await runExec(helper, compileInvocation(["tar", ...args]), { timeoutMs });
  if (result.timedOut) throw new CricketError("deadline-exceeded", `tar: no end after ${timeoutMs} ms`);
  // 1: a file changed while it was read; its container runs on.
  if (result.exitCode > 1)
    throw new CricketError("internal", `tar: ${printable(result.stderr.toString("utf8"))}`);
}
