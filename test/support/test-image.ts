// Builds OCI and Docker images in memory: layers from a list of entries, configs, manifests and indexes.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { gzipSync } from "node:zlib";
import { pack, type Headers } from "tar-stream";

/** One entry of a layer, in the order of the archive. `name` is stored as it is: `../x` makes a hostile archive. */
export interface LayerEntry {
  name: string;
  type?: "file" | "directory" | "symlink" | "link" | "character-device" | "block-device" | "fifo";
  content?: string | Uint8Array;
  /** Of a symlink or hardlink. */
  linkname?: string;
  mode?: number;
  uid?: number;
  gid?: number;
  devmajor?: number;
  devminor?: number;
  /** Extended attributes and other pax records: `{"SCHILY.xattr.user.a": "b"}`. */
  pax?: Record<string, string>;
}

export type Compression = "gzip" | "zstd" | "none";
export type Flavor = "oci" | "docker";

export interface Layer {
  blob: Buffer;
  digest: string;
  diffId: string;
  compression: Compression;
}

/** The parts of an image config that a runtime reads. */
export interface RunConfig {
  User?: string;
  Env?: string[];
  Entrypoint?: string[];
  Cmd?: string[];
  WorkingDir?: string;
  StopSignal?: string;
  Volumes?: Record<string, object>;
  Labels?: Record<string, string>;
  ExposedPorts?: Record<string, object>;
}

export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  platform?: { os: string; architecture: string; variant?: string };
}

/** A manifest or index with everything below it. `manifests` are those an index names, to be pushed before it. */
export interface TestImage {
  mediaType: string;
  digest: string;
  manifest: Buffer;
  manifests: { mediaType: string; digest: string; manifest: Buffer }[];
  /** Layers and configs by digest. */
  blobs: Map<string, Buffer>;
  /** "sha256:<config digest>"; of an index, that of its entry for this machine. */
  imageId: string;
}

const mediaTypes = {
  oci: {
    index: "application/vnd.oci.image.index.v1+json",
    manifest: "application/vnd.oci.image.manifest.v1+json",
    config: "application/vnd.oci.image.config.v1+json",
    layer: "application/vnd.oci.image.layer.v1.tar",
    suffix: { gzip: "+gzip", zstd: "+zstd", none: "" },
  },
  docker: {
    index: "application/vnd.docker.distribution.manifest.list.v2+json",
    manifest: "application/vnd.docker.distribution.manifest.v2+json",
    config: "application/vnd.docker.container.image.v1+json",
    layer: "application/vnd.docker.image.rootfs.diff.tar",
    suffix: { gzip: ".gzip", zstd: ".zstd", none: "" },
  },
} as const;

export const digestOf = (bytes: Uint8Array): string =>
  `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** This machine in the words of image platforms. */
export const thisArchitecture = process.arch === "x64" ? "amd64" : process.arch;

/** An uncompressed tar archive of the entries. */
async function buildTar(entries: readonly LayerEntry[]): Promise<Buffer> {
  const archive = pack();
  const chunks: Buffer[] = [];
  archive.on("data", (chunk: Buffer) => chunks.push(chunk));
  const ended = new Promise((resolve, reject) => archive.once("end", resolve).once("error", reject));
  for (const entry of entries) {
    const content = Buffer.from(entry.content ?? "");
    archive.entry(tarHeader(entry), content);
  }
  archive.finalize();
  await ended;
  return Buffer.concat(chunks);
}

function tarHeader(entry: LayerEntry): Headers {
  const type = entry.type ?? "file";
  const header = {
    name: entry.name,
    type,
    mode: entry.mode ?? (type === "directory" ? 0o755 : 0o644),
    uid: entry.uid ?? 0,
    gid: entry.gid ?? 0,
    mtime: new Date(1_700_000_000_000),
    ...(entry.linkname === undefined ? {} : { linkname: entry.linkname }),
    ...(entry.devmajor === undefined ? {} : { devmajor: entry.devmajor }),
    ...(entry.devminor === undefined ? {} : { devminor: entry.devminor }),
    ...(entry.pax === undefined ? {} : { pax: entry.pax }),
  };
  // "fifo" is missing from the published types of tar-stream, not from tar-stream.
  return header as Headers;
}

/** Compresses a tar archive into a layer. zstd wants the package zstd. */
function layerOfTar(tar: Buffer, compression: Compression = "gzip"): Layer {
  const blob = compress(tar, compression);
  return { blob, digest: digestOf(blob), diffId: digestOf(tar), compression };
}

/** A layer of these entries. */
export async function buildLayer(
  entries: readonly LayerEntry[],
  compression: Compression = "gzip",
): Promise<Layer> {
  return layerOfTar(await buildTar(entries), compression);
}

function compress(tar: Buffer, compression: Compression): Buffer {
  if (compression === "none") return tar;
  if (compression === "gzip") return gzipSync(tar, { level: 6 });
  const result = spawnSync("zstd", ["-q", "-c"], { input: tar, maxBuffer: 1 << 30 });
  if (result.status !== 0) throw new Error(`zstd: ${result.error?.message ?? result.stderr.toString()}`);
  return result.stdout;
}

/** An image of these layers, bottom first, for one platform. */
export function buildImage(
  layers: readonly Layer[],
  options: {
    config?: RunConfig;
    flavor?: Flavor;
    architecture?: string;
    annotations?: Record<string, string>;
  } = {},
): TestImage {
  const { config = {}, flavor = "oci", architecture = thisArchitecture, annotations } = options;
  const types = mediaTypes[flavor];
  const configBlob = json({
    architecture,
    os: "linux",
    created: "2024-01-01T00:00:00Z",
    config,
    rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.diffId) },
    history: layers.map((_, number) => ({ created: "2024-01-01T00:00:00Z", created_by: `layer ${number}` })),
  });
  const imageId = digestOf(configBlob);
  const manifest = json({
    schemaVersion: 2,
    mediaType: types.manifest,
    config: { mediaType: types.config, digest: imageId, size: configBlob.length },
    layers: layers.map(({ blob, digest, compression }) => ({
      mediaType: types.layer + types.suffix[compression],
      digest,
      size: blob.length,
    })),
    ...(annotations === undefined ? {} : { annotations }),
  });
  const blobs = new Map(layers.map((layer) => [layer.digest, layer.blob]));
  blobs.set(imageId, configBlob);
  return { mediaType: types.manifest, digest: digestOf(manifest), manifest, manifests: [], blobs, imageId };
}

/** An index of images by architecture: `buildIndex({ arm64: a, amd64: b })`. */
export function buildIndex(images: Record<string, TestImage>, flavor: Flavor = "oci"): TestImage {
  const entries = Object.entries(images);
  const descriptors: Descriptor[] = entries.map(([architecture, image]) => ({
    mediaType: image.mediaType,
    digest: image.digest,
    size: image.manifest.length,
    platform: { os: "linux", architecture },
  }));
  const manifest = json({
    schemaVersion: 2,
    mediaType: mediaTypes[flavor].index,
    manifests: descriptors,
  });
  const blobs = new Map(entries.flatMap(([, image]) => [...image.blobs]));
  const manifests = entries.map(([, image]) => image);
  const imageId = images[thisArchitecture]?.imageId ?? "";
  return {
    mediaType: mediaTypes[flavor].index,
    digest: digestOf(manifest),
    manifest,
    manifests,
    blobs,
    imageId,
  };
}

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

const passwd = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
`;
const group = `root:x:0:
daemon:x:1:
wheel:x:10:root
www-data:x:33:nobody
nogroup:x:65534:
`;

/** Directories and account files that most programs expect. */
export function skeletonEntries(): LayerEntry[] {
  const directories = ["bin", "etc", "home", "proc", "root", "sys", "usr", "usr/bin", "var", "var/www"];
  return [
    ...directories.map((name): LayerEntry => ({ name, type: "directory" })),
    { name: "tmp", type: "directory", mode: 0o1777 },
    { name: "etc/passwd", content: passwd },
    { name: "etc/group", content: group },
  ];
}

/** A program of this machine, static, as an entry of a layer. */
export function programEntry(name: string, hostPath: string): LayerEntry {
  return { name, content: fs.readFileSync(hostPath), mode: 0o755 };
}

/** The skeleton with the package busybox-static: `sh`, `sleep`, `cat`... as symlinks in /bin. */
export function busyboxEntries(): LayerEntry[] {
  const list = spawnSync("/bin/busybox", ["--list"], { encoding: "utf8" });
  if (list.status !== 0) throw new Error("busybox --list failed: is busybox-static installed?");
  const applets = list.stdout.split("\n").filter((name) => name !== "" && name !== "busybox");
  return [
    ...skeletonEntries(),
    programEntry("bin/busybox", "/bin/busybox"),
    ...applets.map((name): LayerEntry => ({ name: `bin/${name}`, type: "symlink", linkname: "busybox" })),
  ];
}

/** A one-layer image with busybox. */
export async function busyboxImage(config: RunConfig = {}): Promise<TestImage> {
  return buildImage([await buildLayer(busyboxEntries())], { config: { Cmd: ["sh"], ...config } });
}
