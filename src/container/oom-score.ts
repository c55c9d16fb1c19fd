// oom_score_adj of a running container. No cgroup has it: it belongs to each process, whose children inherit it.
import { writeFileSync } from "node:fs";
import { errnoOf, wrapError } from "../base/errors.ts";

/** Against processes that fork while the list of them is gone through. */
const passes = 5;

/**
 * Sets it for every process that `pids` lists; those that have ended meanwhile are no failure. False where it is lower
 * than this process may give: as at a launch, a nested runtime without CAP_SYS_RESOURCE goes on.
 * @throws CricketError
 */
export function setOomScore(pids: () => readonly number[], score: number): boolean {
  const done = new Set<number>();
  let areAllSet = true;
  for (let pass = 0; pass < passes; pass++) {
    const left = pids().filter((pid) => !done.has(pid));
    if (left.length === 0) break;
    for (const pid of left) {
      areAllSet = setOf(pid, score) && areAllSet;
      done.add(pid);
    }
  }
  return areAllSet;
}

function setOf(pid: number, score: number): boolean {
  const path = `/proc/${pid}/oom_score_adj`;
  try {
    writeFileSync(path, String(score));
    return true;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "EACCES" || errno === "EPERM") return false;
    if (errno === "ENOENT" || errno === "ESRCH") return true;
    throw wrapError(`write ${path}`, error);
  }
}
