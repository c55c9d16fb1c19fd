// What every exec needs: a running container, a cgroup, and the program that joins them.
import { failedPrecondition, invalidArgument } from "../base/errors.ts";
import { newId } from "../base/ids.ts";
import { joinTasks } from "../linux/cgroup/cgroup-join.ts";
import type { CgroupManager } from "../linux/cgroup/cgroup-manager.ts";
import { close } from "../linux/files.ts";
import type { ExecAdoption } from "../linux/encode-program.ts";
import type { OnListener } from "../linux/give-listener.ts";
import type { HelperBinary } from "../linux/helper-binary.ts";
import type { LaunchProgram } from "../linux/launch-program.ts";
import { openSameProcess } from "../linux/pidfd.ts";
import { compileExec } from "../oci/compile-exec.ts";
import { compileSeccomp } from "../oci/compile-seccomp.ts";
import { intelRdtTasks } from "../oci/runtime/intel-rdt.ts";
import { sendListener, type NotifiedState } from "../oci/seccomp-listener.ts";
import type { Spec } from "../oci/spec.ts";
import type { Paths } from "../config/paths.ts";
import { loadBundle } from "./bundle.ts";
import type { ContainerRuntimes } from "./container-runtime.ts";
import type { Container, ContainerStore } from "./container-store.ts";
import type { NodeFacts } from "./node-facts.ts";
import type { TerminalSize } from "./session-streams.ts";

export interface ExecParts {
  store: ContainerStore;
  runtimes: ContainerRuntimes;
  cgroups: CgroupManager;
  helper: HelperBinary;
  paths: Paths;
  facts: NodeFacts;
}

/** Keep it until the exec has ended: disposing removes the exec's cgroup. */
export interface PreparedExec extends Disposable {
  program: LaunchProgram;
  /** As in RunExecOptions. */
  killCgroup: number | undefined;
  /** As in RunExecOptions. */
  onListener?: OnListener;
  /** As in RunExecOptions. */
  adopts?: ExecAdoption;
  /** What a failure of the exec means, in better words. */
  failure?: (error: unknown) => unknown;
}

/** @throws CricketError not-found, invalid-argument for an empty command, failed-precondition when it does not run */
export function assertCanExec(id: string, command: readonly string[], store: ContainerStore): Container {
  if (command.length === 0) throw invalidArgument("cmd is empty");
  const container = store.get(id);
  if (container.state !== "running")
    throw failedPrecondition(`container ${container.id} is ${container.state}, exec needs a running one`);
  return container;
}

function notifiedState({ id }: Container, spec: Spec, pid: number, paths: Paths): NotifiedState {
  const { ociVersion, annotations = {} } = spec;
  return { ociVersion, id, status: "running", pid, bundle: paths.containerDir(id), annotations };
}

/** An exec of the embedded runtime. */
export function prepareExec(
  container: Container,
  command: readonly string[],
  parts: ExecParts,
  terminal?: TerminalSize,
): PreparedExec {
  const { id, init, cgroupPath } = container.record;
  const pidfd = init === undefined ? undefined : openSameProcess(init.pid, init.startTimeTicks);
  if (pidfd === undefined) throw failedPrecondition(`container ${id} has no process any more`);
  try {
    const { spec, env } = loadBundle(container, parts.paths);
    const seccomp = spec.linux?.seccomp === undefined ? undefined : compileSeccomp(spec.linux.seccomp);
    const rdtTasks = intelRdtTasks(id, spec.linux?.intelRdt, parts.facts.resctrl);
    const group = joinTasks(parts.cgroups.execSubgroup(cgroupPath, newId(), init?.pid), rdtTasks);
    try {
      const program = compileExec({
        id,
        spec,
        env: terminal === undefined ? env : withTerm(env),
        initPidfd: pidfd,
        command,
        cgroup: group,
        seccomp,
        boundingCapabilities: parts.facts.host.boundingCapabilities,
        ...(terminal === undefined ? {} : { terminal }),
      });
      const dispose = (): void => {
        group[Symbol.dispose]();
        close(pidfd);
      };
      const onListener: OnListener = (listener, pid) =>
        sendListener(
          spec.linux?.seccomp,
          notifiedState(container, spec, init?.pid ?? 0, parts.paths),
          listener,
          pid,
        );
      return { program, killCgroup: group.killFile, onListener, [Symbol.dispose]: dispose };
    } catch (error) {
      group[Symbol.dispose]();
      throw error;
    }
  } catch (error) {
    close(pidfd);
    throw error;
  }
}

/** Programs that draw ask for it; a container without a terminal of its own has none. */
function withTerm(env: readonly Uint8Array[]): readonly Uint8Array[] {
  const isSet = env.some((line) => Buffer.from(line).toString("latin1").startsWith("TERM="));
  return isSet ? env : [...env, Buffer.from("TERM=xterm")];
}
