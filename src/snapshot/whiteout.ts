// Whiteouts: how an archive says that something of the layers below is gone (OCI image-spec layer.md, "Whiteouts").
import type { EntryPath } from "./entry-path.ts";
import { badArchive, printableName } from "./tar-entry.ts";

const prefix = ".wh.";
const opaqueMark = ".wh..wh..opq";
const aufsPrefix = ".wh..wh.";

export type WhiteoutMark =
  /** An ordinary entry. */
  | { kind: "none" }
  /** `name`, beside the mark, is deleted. */
  | { kind: "whiteout"; name: string }
  /** The directory that holds the mark hides what lower layers have in it. */
  | { kind: "opaque" }
  /** A file of aufs's own administration: not part of the layer. */
  | { kind: "aufs" };

/**
 * Reads the mark in an entry's path. Throws for a mark that names nothing or the directory itself (".wh.", ".wh..",
 * ".wh..."): deleting those would reach the parent (CVE-2018-15664's family), and for entries below a mark.
 */
export function parseWhiteout({ path, parent, base }: EntryPath): WhiteoutMark {
  if (!path.includes(prefix)) return { kind: "none" };
  const holder = parent.split("/").find((component) => component.startsWith(prefix));
  if (holder !== undefined) {
    if (holder.startsWith(aufsPrefix)) return { kind: "aufs" };
    throw badArchive(`entry ${printableName(path)}: inside a whiteout`);
  }
  if (!base.startsWith(prefix)) return { kind: "none" };
  if (base === opaqueMark) return { kind: "opaque" };
  const name = base.slice(prefix.length);
  if (name === "" || name === "." || name === "..")
    throw badArchive(`entry ${printableName(path)}: whiteout of nothing`);
  if (base.startsWith(aufsPrefix)) return { kind: "aufs" };
  return { kind: "whiteout", name };
}
