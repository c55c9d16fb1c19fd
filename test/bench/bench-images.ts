// The images of the benchmark, made here: a small one with one layer of busybox, a big one of five layers with about
// 80 MB compressed, out of files that this machine has.

import fs from "node:fs";
import path from "node:path";
import { startRegistry } from "../support/registry.ts";
import { startStaticRegistry } from "../support/static-registry.ts";
import {
  buildImage,
  buildLayer,
  busyboxEntries,
  busyboxImage,
  programEntry,
  skeletonEntries,
  type Layer,
  type LayerEntry,
  type TestImage,
} from "../support/test-image.ts";

export interface BenchImages {
  /** "127.0.0.1:<port>" of the registry that serves them in plain http. */
  address: string;
  small: string;
  big: string;
  /** The sandbox image of runtimes that want one. */
  pause: string;
  /** "5 layers, 80 MB": compressed. */
  bigSize: string;
  smallSize: string;
  close(): Promise<void>;
}

const layerCount = 5;
const bigBytes = 80_000_000;
const maxFileBytes = 20_000_000;

/** Builds the images and serves them: from docker-registry where it is installed, else from memory. */
export async function startBenchImages(pauseProgram: string): Promise<BenchImages> {
  const small = await busyboxImage();
  const big = await bigImage();
  const pause = buildImage([await buildLayer([...skeletonEntries(), programEntry("pause", pauseProgram)])], {
    config: { Entrypoint: ["/pause"] },
  });
  const registry = await anyRegistry();
  return {
    address: registry.address,
    small: await registry.push("bench/busybox", "1", small),
    big: await registry.push("bench/big", "1", big),
    pause: await registry.push("bench/pause", "1", pause),
    smallSize: sizeOf(small),
    bigSize: sizeOf(big),
    close: () => registry.close(),
  };
}

interface AnyRegistry {
  address: string;
  push(repository: string, tag: string, image: TestImage): Promise<string>;
  close(): Promise<void>;
}

async function anyRegistry(): Promise<AnyRegistry> {
  if (fs.existsSync("/usr/bin/docker-registry")) return startRegistry();
  const registry = await startStaticRegistry();
  return { ...registry, push: (...args) => Promise.resolve(registry.add(...args)) };
}

function sizeOf(image: TestImage): string {
  // All blobs but the config, which is the smallest by far.
  const layers = [...image.blobs].filter(([digest]) => digest !== image.imageId);
  const bytes = layers.reduce((sum, [, blob]) => sum + blob.length, 0);
  return `${layers.length} ${layers.length === 1 ? "layer" : "layers"}, ${(bytes / 1e6).toFixed(1)} MB`;
}

async function bigImage(): Promise<TestImage> {
  const files = machineFiles();
  const layers: Layer[] = [];
  for (let number = 0; number < layerCount; number++) layers.push(await nextLayer(files, number));
  return buildImage(layers, { config: { Cmd: ["sh"] } });
}

/** How small gzip makes such files, as a share. */
const compressedShare = 0.4;

/** Takes files until the layer has about its share of the compressed size. */
async function nextLayer(files: Iterator<LayerEntry>, number: number): Promise<Layer> {
  const entries: LayerEntry[] = number === 0 ? busyboxEntries() : [];
  let bytes = 0;
  while (bytes * compressedShare < bigBytes / layerCount) {
    const next = files.next();
    if (next.done === true) break;
    entries.push(next.value);
    bytes += next.value.content?.length ?? 0;
  }
  return buildLayer(entries);
}

/** Programs, libraries, documents: what a distribution's image is made of. */
function* machineFiles(): Generator<LayerEntry> {
  const roots = ["/usr/lib", "/usr/share", "/usr/bin", path.dirname(process.execPath), "node_modules"];
  for (const root of roots) yield* filesUnder(path.resolve(root));
}

function* filesUnder(directory: string): Generator<LayerEntry> {
  const entries = fs.readdirSync(directory, { withFileTypes: true });
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const file = path.join(directory, entry.name);
    if (entry.isDirectory()) yield* filesUnder(file);
    else if (entry.isFile()) yield* fileEntry(file);
  }
}

function* fileEntry(file: string): Generator<LayerEntry> {
  const { size, mode } = fs.statSync(file);
  if (size > maxFileBytes) return;
  yield { name: path.join("big", file), content: fs.readFileSync(file), mode: mode & 0o777 };
}
