// Looks at the host side of a container's mounts before anything is made.
import { mkdir, realpath } from "node:fs/promises";
import { CricketError, errnoOf, invalidArgument, wrapError } from "../base/errors.ts";
import type { SingleFlight } from "../base/single-flight.ts";
import { findMount, readMountinfo } from "../linux/mountinfo.ts";
import type { ContainerMount } from "./container-config.ts";

// A dead NFS server answers no stat, ever; the call must end all the same (containerd#13867).
const hostPathTimeoutMs = 30_000;

/**
 * The looks at host paths that are under way: each one at a dead server holds a thread of Node's for ever, of which there
 * are four, so a retry joins it.
 */
export type HostPathLooks = SingleFlight<string>;

/**
 * Makes missing host paths, as the field's runtimes do, and checks that propagation can work: the kernel silently
 * propagates nothing from or to a private mount.
 * @throws CricketError invalid-argument naming the mount, deadline-exceeded for a path that does not answer
 */
export async function checkMounts(mounts: readonly ContainerMount[], looks: HostPathLooks): Promise<void> {
  const ofHost = mounts.filter(({ hostPath }) => hostPath !== "");
  const sources = await Promise.all(
    ofHost.map(async (mount) => {
      const look = looks.run(mount.hostPath, () => ensureHostPath(mount.hostPath));
      return { ...mount, realPath: await withDeadline(mount.hostPath, look) };
    }),
  );
  const propagated = sources.filter(({ propagation }) => propagation !== "private");
  if (propagated.length === 0) return;
  const table = readMountinfo("self");
  for (const { hostPath, realPath, containerPath, propagation } of propagated) {
    const mount = findMount(table, realPath);
    const shared = mount?.sharedGroup !== undefined;
    const ok = propagation === "bidirectional" ? shared : shared || mount?.masterGroup !== undefined;
    if (!ok)
      throw invalidArgument(
        `mount ${containerPath}: propagation is ${propagation}, but ${hostPath} lies on a mount that is not shared`,
      );
  }
}

/** Where it leads: a mount source may be a link, and what counts is the mount its target is on. */
async function ensureHostPath(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw wrapError(`mount source ${path}`, error);
  }
  try {
    await mkdir(path, { recursive: true, mode: 0o755 });
    return await realpath(path);
  } catch (error) {
    throw wrapError(`make mount source ${path}`, error);
  }
}

async function withDeadline<T>(path: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_resolve, reject) => {
    const message = `mount source ${path} did not answer within ${hostPathTimeoutMs / 1000} s`;
    timer = setTimeout(() => reject(new CricketError("deadline-exceeded", message)), hostPathTimeoutMs);
  });
  try {
    return await Promise.race([work, expired]);
  } finally {
    clearTimeout(timer);
  }
}
