// CreateContainer whose image is a checkpoint: an archive on this node, by its absolute path, or an image whose manifest
// says that it holds one. Its files come into the directory of the container's layer, by whose id a start finds them
// when the daemon dies before there is a record.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { CleanupStack } from "../base/cleanup-stack.ts";
import { CricketError, failedPrecondition, invalidArgument } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Paths } from "../config/paths.ts";
import type { ImageService, ResolvedImage } from "../image/image-service.ts";
import { removeContainerLayer } from "../snapshot/container-layer.ts";
import type { LayerStore } from "../snapshot/layer-store.ts";
import { checkpointAnnotations, missingMounts, type CheckpointDescription } from "./checkpoint-layout.ts";
import type { ContainerConfig } from "./container-config.ts";
import type { RestoredFrom } from "./container-record.ts";
import type { NodeFacts } from "./node-facts.ts";
import { checkpointDirectory } from "./prepare-restore.ts";
import { copyCheckpoint, unpackArchive } from "./unpack-checkpoint.ts";

export interface TakeCheckpointParts {
  images: ImageService;
  layers: LayerStore;
  paths: Paths;
  log: Log;
  facts: Pick<NodeFacts, "checkpointImages">;
}

export interface TakenCheckpoint {
  /** Of the root filesystem. */
  image: ResolvedImage;
  from: RestoredFrom;
}

/** Undefined where the image is an image. @throws CricketError; `cleanup` takes away what was made */
export async function takeCheckpoint(
  id: string,
  config: ContainerConfig,
  parts: TakeCheckpointParts,
  cleanup: CleanupStack,
): Promise<TakenCheckpoint | undefined> {
  const { reference } = config.image;
  const isArchive = reference.startsWith("/");
  if (!isArchive && !isCheckpoint(reference, parts.images)) return undefined;
  if (!isArchive) assertAllowed(reference, parts.facts);
  const directory = join(parts.paths.containerLayerDir(id), checkpointDirectory);
  try {
    cleanup.defer("remove layer", () => removeContainerLayer(parts.paths.containerLayersRoot, id));
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const description = isArchive
      ? await unpackArchive(reference, directory)
      : copyOfImage(reference, directory, parts);
    checkMounts(description, config, reference);
    const image = baseImage(description, reference, parts.images);
    return { image, from: { source: reference, checkpointedAt: description.checkpointedAt } };
  } catch (error) {
    throw await cleanup.fail(error);
  }
}

function isCheckpoint(reference: string, images: ImageService): boolean {
  const { annotations = {} } = images.status(reference) ?? {};
  return checkpointAnnotations.some((name) => Object.hasOwn(annotations, name));
}

/**
 * criu reads a checkpoint as root and was not made for hostile ones. A path of this node is named by the node's root
 * alone, but an image by everybody who may make a pod.
 */
function assertAllowed(reference: string, { checkpointImages }: Pick<NodeFacts, "checkpointImages">): void {
  if (checkpointImages) return;
  throw new CricketError(
    "permission-denied",
    `image ${reference} is a checkpoint, and container.checkpoint_images does not allow any`,
  );
}

function copyOfImage(
  reference: string,
  directory: string,
  { images, layers }: TakeCheckpointParts,
): CheckpointDescription {
  const { imageId, chainIds } = images.resolveForContainer(reference);
  const release = images.hold(imageId);
  try {
    const [layer, ...more] = chainIds;
    if (layer === undefined || more.length > 0)
      throw failedPrecondition(`checkpoint image ${reference}: it has ${chainIds.length} layers, not one`);
    return copyCheckpoint(layers.path(layer), directory, reference);
  } finally {
    release();
  }
}

function checkMounts(description: CheckpointDescription, { mounts }: ContainerConfig, source: string): void {
  const missing = missingMounts(
    description,
    mounts.map(({ containerPath }) => containerPath),
  );
  if (missing.length > 0)
    throw invalidArgument(
      `config.mounts: checkpoint ${source} is of a container with mounts at ${missing.join(", ")}, which must be given`,
    );
}

function baseImage(
  { images: names }: CheckpointDescription,
  source: string,
  images: ImageService,
): ResolvedImage {
  const found = names.find((name) => images.status(name) !== undefined);
  if (found !== undefined) return images.resolveForContainer(found);
  throw new CricketError(
    "not-found",
    `checkpoint ${source}: image ${names.join(" or ")} of its root filesystem is not on this node`,
  );
}
