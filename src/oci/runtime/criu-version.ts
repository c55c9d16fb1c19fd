// Which criu is there: one that is too old for a task is better told before than by what it does not know.
import { CricketError, failedPrecondition, wrapError } from "../../base/errors.ts";
import type { HelperBinary } from "../../linux/helper-binary.ts";
import { runExec } from "../../linux/run-exec.ts";
import { compileInvocation } from "../external/runtime-command.ts";
import { findCriu } from "./criu-program.ts";

/** The first that restores into the namespaces of a pod and gives processes labels other than those of the images. */
const oldest = [3, 16] as const;

const versionTimeoutMs = 10_000;

/** Path of the node's criu. @throws CricketError failed-precondition where there is none, or it is too old */
export async function capableCriu(helper: HelperBinary): Promise<string> {
  const criu = findCriu();
  const ran = await runExec(helper, compileInvocation([criu, "--version"]), {
    timeoutMs: versionTimeoutMs,
    maxOutputBytes: 4096,
  }).catch((error: unknown) => {
    throw wrapError(`run ${criu}`, error);
  });
  assertVersion(criu, ran.stdout.toString("utf8"));
  return criu;
}

/** `said`: what `criu --version` prints. @throws CricketError */
export function assertVersion(criu: string, said: string): void {
  const [, major, minor] = /^Version: (\d{1,4})\.(\d{1,4})/m.exec(said) ?? [];
  if (major === undefined || minor === undefined)
    throw new CricketError("internal", `${criu} does not tell its version`);
  const isOld = Number(major) < oldest[0] || (Number(major) === oldest[0] && Number(minor) < oldest[1]);
  if (isOld)
    throw failedPrecondition(
      `${criu} is version ${major}.${minor}, a restore into a pod needs ${oldest.join(".")}`,
    );
}
