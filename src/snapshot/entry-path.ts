// Names in a layer's archive -> paths below the layer's directory. All are byte strings (one character a byte).
import type { PathName } from "../linux/files.ts";
import { badArchive, printableName } from "./tar-entry.ts";

/** A normal path: no leading, trailing or double slash, no "." and ".."; "" is the root of the layer. */
export interface EntryPath {
  path: string;
  /** The path of the directory that holds the entry; "" for the root. */
  parent: string;
  /** The last component; "" for the root itself. */
  base: string;
}

/**
 * Normalises a name as a path below "/": absolute names lose their slash, ".." goes up by name. Throws for a name
 * that climbs above the root: no honest archive holds one.
 */
export function parseEntryName(name: string): EntryPath {
  const components: string[] = [];
  for (const component of name.split("/")) {
    if (component === "" || component === ".") continue;
    if (component !== "..") components.push(component);
    else if (components.pop() === undefined)
      throw badArchive(`entry ${printableName(name)}: leads out of the layer`);
  }
  const base = components.pop() ?? "";
  const parent = components.join("/");
  return { path: parent === "" ? base : `${parent}/${base}`, parent, base };
}

/** The same for a path that is normal already. */
export function splitPath(path: string): EntryPath {
  const slash = path.lastIndexOf("/");
  if (slash === -1) return { path, parent: "", base: path };
  return { path, parent: path.slice(0, slash), base: path.slice(slash + 1) };
}

/** What a *at call takes: text where the bytes are ASCII (quicker), else the bytes themselves. */
export function pathNameOf(bytes: string): PathName {
  for (let i = 0; i < bytes.length; i++) {
    if (bytes.charCodeAt(i) >= 0x80) return Buffer.from(`${bytes}\0`, "latin1");
  }
  return bytes;
}
