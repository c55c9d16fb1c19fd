// Gives memory back to the kernel after work that took much of it. A pull leaves some hundred MiB behind: buffers that
// no collection has come round to yet, and freed pieces that glibc keeps in its arenas for the next allocation.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { KoffiFunc } from "koffi";
import { callAsync } from "./files.ts";
import { libc } from "./libc.ts";

type Trim = KoffiFunc<(...args: unknown[]) => unknown>;

/** malloc_trim(3), or undefined in a C library without it (musl, whose allocator keeps less). */
function findTrim(): Trim | undefined {
  try {
    return libc.func("int malloc_trim(size_t pad)") as Trim;
  } catch {
    return undefined;
  }
}

// malloc.h
const M_MMAP_THRESHOLD = -3;
const largePieceBytes = 128 * 1024;

/**
 * Pieces of 128 KiB and more get a mapping of their own, which goes with them. glibc begins like that, but raises the
 * bound to the size of any such piece that is freed, up to 32 MiB: buffers of a pull then lie between small pieces that
 * stay, and some 40 MiB with them. mallopt(3); without effect in a C library that has none.
 */
export function mapLargePieces(): void {
  try {
    libc.func("int mallopt(int param, int value)")(M_MMAP_THRESHOLD, largePieceBytes);
  } catch {
    return;
  }
}

/** Collects garbage and trims the heap. Takes some 20 ms of the event loop: for when the daemon has nothing to do. */
export async function releaseMemory(): Promise<void> {
  const collect = garbageCollector();
  // The first run finalises what the second then frees, and only the second lets the young generation shrink.
  for (let run = 0; run < 2; run++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const trim = findTrim();
  // Off the main thread: it walks all arenas.
  if (trim !== undefined) await callAsync({ syscall: "malloc_trim" }, trim, 0);
}

// V8 offers no other way without a command-line flag, and a daemon at rest allocates too little to be collected.
function garbageCollector(): () => void {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  setFlagsFromString("--no-expose-gc");
  return collect;
}
