// The writable layers of containers: <root>/<container id>/{upper,work}.
import { randomBytes } from "node:crypto";
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { errnoOf, invalidArgument } from "../base/errors.ts";
import { KeyedLock } from "../base/keyed-lock.ts";
import { spreadSubdirectories } from "../linux/inode-flags.ts";
import { deleteTree, deleteTreeAsync } from "./delete-tree.ts";

export interface ContainerLayer {
  upper: string;
  work: string;
}

export interface Owner {
  uid: number;
  gid: number;
}

const trashName = ".trash";

/**
 * Makes the directories of a container's layer, or finds what an earlier call has made. `top` is the image's top
 * layer: what the container sees as "/" has the owner and mode of the uppermost directory. `mapOwner`: to the host's
 * ids, where the layers are idmapped.
 */
export function prepareContainerLayer(
  root: string,
  id: string,
  top?: string,
  mapOwner: (owner: Owner) => Owner = (owner) => owner,
): ContainerLayer {
  const directory = layerDirectory(root, id);
  const layer = { upper: join(directory, "upper"), work: join(directory, "work") };
  // Only root may pass: images hold setuid programs (CVE-2024-25621).
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  clearWork(directory);
  mkdirSync(layer.work, { mode: 0o700 });
  if (mkdirSync(layer.upper, { recursive: true }) === undefined) return layer;
  const { mode, ...owner } = top === undefined ? { mode: 0o755, uid: 0, gid: 0 } : statSync(top);
  const { uid, gid } = mapOwner(owner);
  chownSync(layer.upper, uid, gid);
  chmodSync(layer.upper, mode & 0o7777);
  return layer;
}

// Overlayfs refuses a work directory that a volatile mount has used.
function clearWork(directory: string): void {
  const fd = openSync(directory, "r");
  try {
    deleteTree(fd, "work");
  } finally {
    closeSync(fd);
  }
}

/** Takes the layer away at once and deletes its files in the background. Unknown id: nothing happens. */
export async function removeContainerLayer(root: string, id: string): Promise<void> {
  const name = discard(root, layerDirectory(root, id));
  if (name !== undefined) void deleteFromTrash(root, name);
}

/** At start: removes every layer whose id is not in `known`, and what earlier deletions have left. */
export async function sweepContainerLayers(root: string, known: ReadonlySet<string>): Promise<void> {
  mkdirSync(root, { recursive: true, mode: 0o700 });
  spreadSubdirectories(root);
  for (const id of readdirSync(root)) {
    if (id !== trashName && !known.has(id)) discard(root, join(root, id));
  }
  for (const name of readTrash(root)) void deleteFromTrash(root, name);
}

function layerDirectory(root: string, id: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(id)) throw invalidArgument(`container id ${JSON.stringify(id)}`);
  return join(root, id);
}

function discard(root: string, path: string): string | undefined {
  const name = randomBytes(12).toString("hex");
  mkdirSync(join(root, trashName), { recursive: true, mode: 0o700 });
  try {
    renameSync(path, join(root, trashName, name));
    return name;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function readTrash(root: string): string[] {
  try {
    return readdirSync(join(root, trashName));
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}

// One deletion at a time and root: they share the thread pool with everything else.
const deletions = new KeyedLock();

// Never fails: nobody waits for it, and what could not be deleted (a mount left inside) is tried again at the next start.
async function deleteFromTrash(root: string, name: string): Promise<void> {
  await deletions.run(root, async () => {
    try {
      const fd = openSync(join(root, trashName), "r");
      try {
        await deleteTreeAsync(fd, name);
      } finally {
        closeSync(fd);
      }
    } catch {
      return;
    }
  });
}
