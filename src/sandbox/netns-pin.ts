// The bind mount that keeps a pod's network namespace reachable by name, also when its processes are gone
// (cri-o#2849: /proc/<pid>/ns/net may be another process's after a while).
import { closeSync, mkdirSync, openSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { errnoOf } from "../base/errors.ts";
import { mount, MNT_DETACH, MS_BIND, umount } from "../linux/mount.ts";

/** Binds `/proc/<pid>/ns/net` to `path`. The caller knows the pid to be alive: it is its own unreaped child. */
export function pinNetns(pid: number, path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o711 });
  closeSync(openSync(path, "wx", 0o444));
  mount(`/proc/${pid}/ns/net`, path, "none", MS_BIND);
}

/** Idempotent. */
export function unpinNetns(path: string): void {
  try {
    umount(path, MNT_DETACH);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT" && errnoOf(error) !== "EINVAL") throw error;
  }
  rmSync(path, { force: true });
}
