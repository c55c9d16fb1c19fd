// The archive of a checkpoint as CRI-O introduced it and checkpointctl reads it: names, and what its documents say. It
// says which image the root filesystem was made of and which mounts there were; what the container may do is never
// taken from it.
import { CricketError, wrapError } from "../base/errors.ts";

export const layout = {
  /** criu's images. */
  images: "checkpoint",
  config: "config.dump",
  spec: "spec.dump",
  rootfsDifference: "rootfs-diff.tar",
  deletedFiles: "deleted.files",
  bindMounts: "bind.mounts",
  dumpLog: "dump.log",
  /** Of containerd and of CRI-O. */
  logs: ["container.log", "io.kubernetes.cri-o.LogPath"],
} as const;

/** CRI-O reads the annotations of the CRI here. */
export const criAnnotations = "io.kubernetes.cri-o.Annotations";

/** By either an image says that it is a checkpoint, and of which container. */
export const checkpointAnnotations = [
  "org.criu.checkpoint.container.name",
  "io.kubernetes.cri-o.annotations.checkpoint.name",
] as const;

/** Bytes that are read into memory at most. */
export const maxDocumentBytes = 4 << 20;
export const maxListBytes = 64 << 20;

export interface CheckpointDescription {
  /** Of the container that was. */
  name: string;
  /** How the image of its root filesystem may be known, the surest first. */
  images: string[];
  /** RFC 3339, or "". */
  checkpointedAt: string;
  /** Destinations of all mounts. */
  mounts: string[];
}

type Json = Record<string, unknown>;

/** @throws CricketError invalid-argument that names document and property */
export function parseDescription(config: string, spec: string): CheckpointDescription {
  const dumped = objectOf(parse(config, layout.config), layout.config);
  const mounts = objectOf(parse(spec, layout.spec), layout.spec)["mounts"] ?? [];
  if (!Array.isArray(mounts)) throw invalid(`${layout.spec}: mounts is no list`);
  const text = (name: string): string => textOf(dumped[name] ?? "", `${layout.config}: ${name}`);
  const reference = text("rootfsImageRef");
  const images = [
    // CRI-O writes the bare id, containerd and podman other things.
    /^[0-9a-f]{64}$/.test(reference) ? `sha256:${reference}` : reference,
    text("rootfsImageName"),
    text("rootfsImage"),
  ].filter((name) => name !== "");
  if (images.length === 0) throw invalid(`${layout.config}: no image of the root filesystem is named`);
  return {
    name: text("name"),
    images: [...new Set(images)],
    checkpointedAt: text("checkpointedTime"),
    mounts: mounts.map((mount: unknown, index) => {
      const where = `${layout.spec}: mounts[${index}]`;
      return textOf(objectOf(mount, where)["destination"], `${where}.destination`);
    }),
  };
}

/** @throws CricketError invalid-argument */
export function parseDeletedFiles(text: string): string[] {
  const list = parse(text, layout.deletedFiles);
  if (!Array.isArray(list) || !list.every((item) => typeof item === "string"))
    throw invalid(`${layout.deletedFiles}: not a list of paths`);
  return list;
}

/** What every engine makes for its containers by itself, at places of its own. */
const ownMounts: ReadonlySet<string> = new Set([
  "/proc",
  "/dev",
  "/dev/pts",
  "/dev/mqueue",
  "/dev/shm",
  "/sys",
  "/sys/fs/cgroup",
  "/etc/resolv.conf",
  "/etc/hostname",
  "/etc/hosts",
  "/etc/passwd",
  "/etc/group",
  "/run/secrets",
  "/run/.containerenv",
]);

/**
 * Mounts of the checkpoint that the new container does not ask for: an archive must not bring any of the host's files
 * into a container by itself.
 */
export function missingMounts(description: CheckpointDescription, given: readonly string[]): string[] {
  const known = new Set(given);
  return description.mounts.filter((path) => !ownMounts.has(path) && !known.has(path));
}

function parse(text: string, name: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw wrapError(name, new CricketError("invalid-argument", "not JSON", { cause: error }));
  }
}

function objectOf(value: unknown, name: string): Json {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw invalid(`${name}: not an object`);
}

function textOf(value: unknown, name: string): string {
  if (typeof value === "string" && value.length <= 4096 && !value.includes("\0")) return value;
  throw invalid(`${name}: not a text`);
}

const invalid = (message: string): CricketError => new CricketError("invalid-argument", message);
