// A directory for mounts that are attached for a moment only, on kernels that cannot use them detached. Its owner sweeps
// it: who is killed in that moment leaves a mount of an image's layers behind.
import { mkdirSync, mkdtempSync, readdirSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MNT_DETACH, umount } from "../linux/mount.ts";
import { readMountinfo } from "../linux/mountinfo.ts";

/** A new directory in there, which nobody but root looks into: layers hold set-user-ID programs (CVE-2024-25621). */
export function makeScratchPlace(scratchDir = tmpdir()): string {
  return mkdtempSync(join(scratchDir, "cricket-scratch-"));
}

/** Makes the directory, and removes what a killed owner left there. */
export function openScratchDirectory(scratchDir: string): void {
  mkdirSync(scratchDir, { recursive: true, mode: 0o700 });
  const left = readMountinfo().filter(({ mountPoint }) => mountPoint.startsWith(`${scratchDir}/`));
  for (const { mountPoint } of left.toReversed()) umount(mountPoint, MNT_DETACH);
  removeEmpty(scratchDir);
}

// rmdir, and nothing more: whatever should still be mounted there must not be emptied.
function removeEmpty(directory: string): void {
  for (const name of readdirSync(directory)) {
    const child = join(directory, name);
    removeEmpty(child);
    rmdirSync(child);
  }
}
