// How the built program loads its parts, the files of dist/lib: each with the byte code that V8 made of it when it was
// built. A run from the sources does without.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Script } from "node:vm";

type PartFunction = (
  require: NodeJS.Require,
  module: { exports: unknown },
  filename: string,
  dirname: string,
) => void;

/** Runs `<directory>/<name>.cjs`, a function expression, and returns what it exports. */
export function loadPart(directory: string, name: string, require: NodeJS.Require): unknown {
  const filename = join(directory, `${name}.cjs`);
  // esbuild writes ASCII, for which V8 needs half the memory.
  const source = readFileSync(filename, "latin1");
  const script = new Script(source, { filename, cachedData: readCache(`${filename}.cache`) });
  const part = { exports: {} };
  (script.runInThisContext() as PartFunction)(require, part, filename, directory);
  return part.exports;
}

// V8 itself refuses byte code of another V8 or for other flags, and then compiles as it would without.
function readCache(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}
