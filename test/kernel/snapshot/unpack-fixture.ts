// A place to unpack archives into, with something beside it that an escape would reach.
import {
  closeSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import assert from "node:assert/strict";
import { TarReader } from "../../../src/snapshot/tar-reader.ts";
import { LayerUnpacker, type UnpackedLayer } from "../../../src/snapshot/unpack-layer.ts";
import { tarArchive, type TestEntry } from "../../support/tar-archive.ts";

export interface UnpackFixture {
  /** Where archives are unpacked. */
  layer: string;
  /** A directory beside it with `secret` and `dir/`, which must never change. */
  victim: string;
  unpack(...entries: TestEntry[]): UnpackedLayer;
  /** Unpacks, takes an error as an answer too, and fails when anything but the layer has changed. */
  attack(...entries: TestEntry[]): Error | undefined;
  path(...names: string[]): string;
  /** Every path of the layer with its kind: "d", "f content", "l target", "w" for a whiteout, "c", "b", "p". */
  tree(): Record<string, string>;
  dispose(): void;
}

export function unpackFixture(): UnpackFixture {
  // /var/lib and not /tmp: that may be a tmpfs, which takes fewer attributes.
  const root = mkdtempSync("/var/lib/cricket-unpack-");
  const layer = join(root, "layer");
  const victim = join(root, "victim");
  mkdirSync(layer);
  mkdirSync(join(victim, "dir"), { recursive: true });
  writeFileSync(join(victim, "secret"), "secret", { mode: 0o600 });
  const outside = (): string => JSON.stringify([describeTree(victim), readdirSync(root).toSorted()]);
  const unpack = (...entries: TestEntry[]): UnpackedLayer => {
    const fd = openSync(layer, "r");
    const unpacker = new LayerUnpacker(fd);
    try {
      const reader = new TarReader(unpacker, 10_000);
      reader.push(tarArchive(...entries));
      reader.finish();
      return unpacker.finish();
    } finally {
      unpacker.close();
      closeSync(fd);
    }
  };
  return {
    layer,
    victim,
    unpack,
    attack(...entries) {
      const before = outside();
      let failure: Error | undefined;
      try {
        unpack(...entries);
      } catch (error) {
        assert.ok(error instanceof Error);
        failure = error;
      }
      assert.equal(outside(), before, "the archive has changed something outside");
      return failure;
    },
    path: (...names) => join(layer, ...names),
    tree: () =>
      Object.fromEntries(Object.entries(describeTree(layer)).map(([path, { kind }]) => [path, kind])),
    dispose: () => rmSync(root, { recursive: true }),
  };
}

interface Described {
  kind: string;
  mode: number;
  uid: number;
  links: number;
  ctimeMs: number;
}

function describeTree(root: string, below = ""): Record<string, Described> {
  const tree: Record<string, Described> = {};
  for (const name of readdirSync(join(root, below)).toSorted()) {
    const path = join(below, name);
    const { mode, uid, nlink, ctimeMs } = lstatSync(join(root, path));
    tree[path] = { kind: kindOf(join(root, path)), mode, uid, links: nlink, ctimeMs };
    if (tree[path].kind === "d") Object.assign(tree, describeTree(root, path));
  }
  return tree;
}

function kindOf(path: string): string {
  const status = lstatSync(path);
  if (status.isDirectory()) return "d";
  if (status.isSymbolicLink()) return `l ${readlinkSync(path)}`;
  if (status.isCharacterDevice()) return status.rdev === 0 ? "w" : "c";
  if (status.isBlockDevice()) return "b";
  if (status.isFIFO()) return "p";
  return `f ${readFileSync(path, "utf8").slice(0, 100)}`;
}
