// Cgroup paths as callers give them: absolute, the same in every hierarchy.
import { invalidArgument } from "../../base/errors.ts";

/** Checks a path and drops a slash at its end. Throws invalid-argument: the path comes from a pod's cgroup_parent. */
export function checkCgroupPath(path: string): string {
  const plain = path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
  if (!plain.startsWith("/") || plain === "/")
    throw invalidArgument(`cgroup path ${JSON.stringify(path)} is not absolute below the root`);
  for (const name of plain.slice(1).split("/")) {
    // A newline would forge lines in /proc/<pid>/cgroup; the rest would walk elsewhere.
    if (name === "" || name === "." || name === ".." || /[\0\n]/.test(name) || name.length > 255)
      throw invalidArgument(`cgroup path ${JSON.stringify(path)} has a part that is not a name`);
  }
  return plain;
}

/** The cgroup above; "" for the topmost ones, which makes `root + parentOf(path)` the root. */
export function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

/** A scope as OCI runtimes are told of it, `slice:prefix:name`: the inverse of the one below. */
export function scopeFormOf(path: string): string {
  const [slice = "", scope = ""] = path.split("/").slice(-2);
  return `${slice}:cricket:${scope.slice("cricket-".length, -".scope".length)}`;
}

/** `<parent>/cricket-<id>`: how every cgroup of a container or pause is called; in a slice of systemd's a scope. */
export function memberPath(parent: string, id: string): string {
  return `${parent}/cricket-${id}${parent.endsWith(".slice") ? ".scope" : ""}`;
}
