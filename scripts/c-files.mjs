// The C files of the project, for clang-format.
import fs from "node:fs";
import path from "node:path";
import { root } from "./step.mjs";

/** Each major version lays code out a little differently: only this one, Debian 12's, is asked. */
export const clangFormatWanted = 14;

const directories = ["pause", "test/support/probe", "test/bench", "demo"];

/** Paths of all C sources and headers, relative to the root. */
export function cFiles() {
  return directories.flatMap((directory) => {
    const full = path.join(root, directory);
    if (!fs.existsSync(full)) return [];
    return fs
      .readdirSync(full)
      .filter((name) => /\.[ch]$/.test(name))
      .map((name) => path.join(directory, name));
  });
}
