// ExecSync: one helper joins the container, runs the command, and relays what it says. No mounts, no other
// processes: a hundred pods with exec probes must not cost a core (kubernetes#82440).
import { CricketError, failedPrecondition, invalidArgument, wrapError } from "../base/errors.ts";
import { newId } from "../base/ids.ts";
import type { CgroupManager } from "../linux/cgroup/cgroup-manager.ts";
import { close } from "../linux/files.ts";
import type { HelperBinary } from "../linux/helper-binary.ts";
import { openSameProcess } from "../linux/pidfd.ts";
import { runExec, type ExecResult } from "../linux/run-exec.ts";
import { compileExec } from "../oci/compile-exec.ts";
import { compileSeccomp } from "../oci/compile-seccomp.ts";
import type { NodeFacts } from "./node-facts.ts";
import type { Paths } from "../config/paths.ts";
import { loadBundle } from "./bundle.ts";
import type { Container, ContainerStore } from "./container-store.ts";

export interface ExecParts {
  store: ContainerStore;
  cgroups: CgroupManager;
  helper: HelperBinary;
  paths: Paths;
  facts: NodeFacts;
}

export interface ExecRequest {
  containerId: string;
  command: readonly string[];
  /** 0: none. */
  timeoutMs: number;
  signal: AbortSignal;
}

/** Output beyond this is read and thrown away, without an error (CRI ExecSyncResponse; CVE-2022-1708). */
const maxOutputBytes = 16 * 1024 * 1024;

/**
 * Returns when the command ends, also when a child of it keeps stdout open.
 * @throws CricketError deadline-exceeded when the time is up, and then the command's whole process tree is dead:
 * the kubelet reads exactly this code as a failed probe
 */
export async function execSync(request: ExecRequest, parts: ExecParts): Promise<ExecResult> {
  if (request.command.length === 0) throw invalidArgument("cmd is empty");
  const container = parts.store.get(request.containerId);
  if (container.state !== "running")
    throw failedPrecondition(`container ${container.id} is ${container.state}, exec needs a running one`);
  const abort = new AbortController();
  const signal = AbortSignal.any([abort.signal, request.signal]);
  container.execs.add(abort);
  try {
    const result = await execIn(container, request, signal, parts);
    if (result.timedOut)
      throw new CricketError(
        "deadline-exceeded",
        `exec in container ${container.id}: no end after ${request.timeoutMs} ms`,
      );
    return result;
  } finally {
    container.execs.delete(abort);
  }
}

async function execIn(
  container: Container,
  request: ExecRequest,
  signal: AbortSignal,
  parts: ExecParts,
): Promise<ExecResult> {
  const { id, init, cgroupPath } = container.record;
  const pidfd = init === undefined ? undefined : openSameProcess(init.pid, init.startTimeTicks);
  if (pidfd === undefined) throw failedPrecondition(`container ${id} has no process any more`);
  try {
    using group = parts.cgroups.execSubgroup(cgroupPath, newId());
    const { spec, env } = loadBundle(container, parts.paths);
    const seccomp = spec.linux?.seccomp === undefined ? undefined : compileSeccomp(spec.linux.seccomp);
    const program = compileExec({
      spec,
      env,
      initPidfd: pidfd,
      command: request.command,
      cgroup: group,
      seccomp,
      boundingCapabilities: parts.facts.host.boundingCapabilities,
    });
    return await runExec(parts.helper, program, {
      timeoutMs: request.timeoutMs,
      maxOutputBytes,
      signal,
      ...(group.killFile === undefined ? {} : { killCgroup: group.killFile }),
    });
  } catch (error) {
    throw wrapError(`exec in container ${id}`, error);
  } finally {
    close(pidfd);
  }
}
