// A block device of this machine, for limits of it: nothing is read from it or written to it.
import fs from "node:fs";
import path from "node:path";

export interface BlockDevice {
  node: string;
  major: number;
  minor: number;
}

/** Undefined where none has a node in /dev. */
export function blockDevice(): BlockDevice | undefined {
  const root = "/sys/block";
  for (const name of fs.existsSync(root) ? fs.readdirSync(root).toSorted() : []) {
    const node = path.join("/dev", name);
    if (fs.statSync(node, { throwIfNoEntry: false })?.isBlockDevice() !== true) continue;
    const numbers = fs.readFileSync(path.join(root, name, "dev"), "utf8");
    const [major = 0, minor = 0] = numbers.trim().split(":").map(Number);
    return { node, major, minor };
  }
  return undefined;
}
