// Whether this kernel, and the filesystem that the layers lie on, can do what pods with user namespaces need.
import { readFileSync, writeFileSync } from "node:fs";
import { errnoOf, messageOf } from "../base/errors.ts";
import { close, openNamespace } from "../linux/files.ts";
import type { HelperBinary } from "../linux/helper-binary.ts";
import { isAtLeast, kernelRelease } from "../linux/kernel-release.ts";
import { CLONE_NEWUSER } from "../linux/launch-program.ts";
import { signalPidfd } from "../linux/pidfd.ts";
import { reapSoon } from "../linux/reap.ts";
import { runSpawn } from "../linux/run-spawn.ts";
import { cloneLayer } from "../snapshot/overlay-layers.ts";

/** `missing`: what is not there, for those who ask for a user namespace all the same. */
export type UserNamespaceSupport = { supported: true } | { supported: false; missing: string };

const SIGKILL = 9;

/** Tries it: what a kernel can do is also a matter of its configuration and of the runtime's own confinement. */
export async function probeUserNamespaces(
  helper: HelperBinary,
  layersRoot: string,
): Promise<UserNamespaceSupport> {
  const missing = obviouslyMissing() ?? (await missingInTrial(helper, layersRoot));
  return missing === undefined ? { supported: true } : { supported: false, missing };
}

function obviouslyMissing(): string | undefined {
  if (!isAtLeast(kernelRelease(), 5, 19)) return "overlayfs takes idmapped layers from Linux 5.19 on";
  try {
    const most = readFileSync("/proc/sys/user/max_user_namespaces", "utf8").trim();
    return most === "0" ? "sysctl user.max_user_namespaces is 0" : undefined;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return "this kernel has no user namespaces (CONFIG_USER_NS)";
    throw error;
  }
}

async function missingInTrial(helper: HelperBinary, layersRoot: string): Promise<string | undefined> {
  try {
    const userNamespace = await makeUserNamespace(helper);
    try {
      close(cloneLayer(layersRoot, { userNamespace }));
      return undefined;
    } finally {
      close(userNamespace);
    }
  } catch (error) {
    return messageOf(error);
  }
}

async function makeUserNamespace(helper: HelperBinary): Promise<number> {
  // Without a fork it is a child of the daemon, and dies with it.
  const pause = await runSpawn(helper, {
    steps: [
      { op: "unshare", flags: CLONE_NEWUSER },
      { op: "parentDeathSignal", signal: SIGKILL },
      { op: "execFd", fd: helper.pauseFd, argv: ["pause"], env: [] },
    ],
  });
  try {
    for (const file of ["gid_map", "uid_map"]) writeFileSync(`/proc/${pause.pid}/${file}`, "0 65536 65536\n");
    return openNamespace(pause.pid, "user");
  } finally {
    signalPidfd(pause.pidfd, SIGKILL);
    close(pause.pidfd);
    reapSoon(pause.pid);
  }
}
