// Stack traces in terms of the sources. What is built runs from a few large files with a source map beside each; Node's
// own translation would read the maps whenever any library looks at the trace of an error, which takes long.
import { readFileSync } from "node:fs";
import { SourceMap, type SourceMapPayload } from "node:module";

/** The trace of an error with the files and lines of the sources, as far as there are maps for it. */
export function stackOf(error: unknown): string {
  const stack = error instanceof Error ? error.stack : undefined;
  if (stack === undefined) return String(error);
  return stack.replace(
    /(\/[^\n():]+\.cjs):(\d+):(\d+)/g,
    (place, file: string, line: string, column: string) => {
      const origin = readMap(file)?.findEntry(Number(line) - 1, Number(column) - 1);
      if (origin === undefined || !("originalSource" in origin)) return place;
      // "../../src/linux/files.ts", as seen from dist/lib.
      const source = origin.originalSource.replace(/^(\.\.\/)+/, "");
      return `${source}:${origin.originalLine + 1}:${origin.originalColumn + 1}`;
    },
  );
}

// Larger in memory than the program itself: kept for the other frames, and no longer than the collector likes.
const maps = new Map<string, WeakRef<SourceMap>>();

function readMap(file: string): SourceMap | undefined {
  const kept = maps.get(file)?.deref();
  if (kept !== undefined) return kept;
  try {
    const map = new SourceMap(JSON.parse(readFileSync(`${file}.map`, "utf8")) as SourceMapPayload);
    maps.set(file, new WeakRef(map));
    return map;
  } catch {
    return undefined;
  }
}
