// Looks at the host side of a container's mounts before anything is made.
import { mkdir, stat } from "node:fs/promises";
import { CricketError, errnoOf, invalidArgument, wrapError } from "../base/errors.ts";
import { findMount, readMountinfo } from "../linux/mountinfo.ts";
import type { ContainerMount } from "./container-config.ts";

// A dead NFS server answers no stat, ever; the call must end all the same (containerd#13867).
const hostPathTimeoutMs = 30_000;

/**
 * Makes missing host paths, as the field's runtimes do, and checks that propagation can work: the kernel silently
 * propagates nothing from or to a private mount.
 * @throws CricketError invalid-argument naming the mount, deadline-exceeded for a path that does not answer
 */
export async function checkMounts(mounts: readonly ContainerMount[]): Promise<void> {
  const paths = mounts.filter((mount) => mount.hostPath !== "").map((mount) => mount.hostPath);
  await Promise.all(paths.map((path) => withDeadline(path, ensureHostPath(path))));
  const propagated = mounts.filter((mount) => mount.propagation !== "private");
  if (propagated.length === 0) return;
  const table = readMountinfo("self");
  for (const { hostPath, containerPath, propagation } of propagated) {
    const mount = findMount(table, hostPath);
    const shared = mount?.sharedGroup !== undefined;
    const ok = propagation === "bidirectional" ? shared : shared || mount?.masterGroup !== undefined;
    if (!ok)
      throw invalidArgument(
        `mount ${containerPath}: propagation is ${propagation}, but ${hostPath} lies on a mount that is not shared`,
      );
  }
}

async function ensureHostPath(path: string): Promise<void> {
  try {
    await stat(path);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw wrapError(`mount source ${path}`, error);
    await mkdir(path, { recursive: true, mode: 0o755 });
  }
}

async function withDeadline(path: string, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_resolve, reject) => {
    const message = `mount source ${path} did not answer within ${hostPathTimeoutMs / 1000} s`;
    timer = setTimeout(() => reject(new CricketError("deadline-exceeded", message)), hostPathTimeoutMs);
  });
  try {
    await Promise.race([work, expired]);
  } finally {
    clearTimeout(timer);
  }
}
