// A cgroup v2 directory handed to a user, as far as the kernel says it may be (cgroups(7), "Cgroup delegation").
import { chownSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { errnoOf } from "../../base/errors.ts";
import type { CgroupLayout } from "./layout.ts";

/** What is safe to give away in kernels before 4.15, which have no list of it. */
const always = ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"];

/** Nothing happens without the unified hierarchy; v1 cgroups are never given away. Limits stay root's. */
export function giveCgroup({ kind, unified }: CgroupLayout, path: string, uid: number): void {
  if (kind !== "v2" || unified === undefined) return;
  const directory = join(unified.root, path);
  chownSync(directory, uid, -1);
  for (const name of delegatedFiles()) {
    try {
      chownSync(join(directory, name), uid, -1);
    } catch (error) {
      // The list is of all controllers; this cgroup has some of them.
      if (errnoOf(error) !== "ENOENT") throw error;
    }
  }
}

function delegatedFiles(): string[] {
  try {
    return readFileSync("/sys/kernel/cgroup/delegate", "utf8")
      .split("\n")
      .filter((name) => name !== "");
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
    return always;
  }
}
