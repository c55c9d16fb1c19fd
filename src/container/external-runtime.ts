// A handler whose containers another OCI runtime makes: runc, crun and those with their command line.
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CricketError, failedPrecondition, hasCode, messageOf } from "../base/errors.ts";
import { isId } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { Paths } from "../config/paths.ts";
import type { CgroupManager } from "../linux/cgroup/cgroup-manager.ts";
import type { CgroupResources } from "../linux/cgroup/cgroup-resources.ts";
import type { HelperBinary } from "../linux/helper-binary.ts";
import type { Monitor } from "../linux/monitor.ts";
import { invokeRuntime } from "../oci/external/invoke-runtime.ts";
import { findTool } from "../linux/run-tool.ts";
import type { RuntimeCommand } from "../oci/external/runtime-command.ts";
import { stringifyExactIntegers } from "../oci/json-shape.ts";
import type { LinuxResources } from "../sandbox/sandbox-config.ts";
import type { ContainerRecord } from "./container-record.ts";
import type {
  CheckpointRun,
  ContainerRuntime,
  ExecOfContainer,
  LaunchedContainer,
} from "./container-runtime.ts";
import type { Container } from "./container-store.ts";
import { explainExternal } from "./explain-external.ts";
import { prepareExternalExec } from "./external-exec.ts";
import { launchExternal } from "./external-launch.ts";
import { externalResources } from "./external-spec.ts";
import { HostMounts } from "./host-mounts.ts";
import type { ExecParts, PreparedExec } from "./prepare-exec.ts";
import type { LaunchRequest } from "./prepare-launch.ts";
import { signalInit } from "./signal-init.ts";

export interface ExternalRuntimeParts {
  cgroups: CgroupManager;
  helper: HelperBinary;
  paths: Paths;
  log: Log;
}

const SIGKILL = 9;

export class ExternalRuntime implements ContainerRuntime {
  readonly #handler: string;
  /** Undefined: not configured any more. Its containers can then be stopped and removed, and nothing else. */
  readonly #command: RuntimeCommand | undefined;
  readonly #parts: ExternalRuntimeParts;

  constructor(handler: string, command: RuntimeCommand | undefined, parts: ExternalRuntimeParts) {
    this.#handler = handler;
    this.#command = command;
    this.#parts = parts;
  }

  async launch(request: LaunchRequest): Promise<LaunchedContainer> {
    return launchExternal(request, this.#configured());
  }

  prepareRestore(): Promise<never> {
    return Promise.reject(this.#restoresNothing());
  }

  restore(): Promise<never> {
    return Promise.reject(this.#restoresNothing());
  }

  #restoresNothing(): CricketError {
    const name = JSON.stringify(this.#handler);
    return new CricketError(
      "unimplemented",
      `runtime handler ${name}: only the embedded runtime restores checkpoints`,
    );
  }

  async start(container: Container, monitor: Monitor): Promise<void> {
    await this.#invoke(container.id, ["start", container.id]);
    // Its life can be over before its monitor is told of its beginning.
    await monitor.start().catch((error: unknown) => {
      if (!hasCode(error, "failed-precondition") && !hasCode(error, "unavailable")) throw error;
    });
  }

  async hasStarted(container: Container, monitor: Monitor): Promise<boolean> {
    if (monitor.started) return true;
    // The daemon may have died between the runtime's start and telling the monitor.
    const text = await this.#invoke(container.id, ["state", container.id]).catch(() => "");
    if (!/"status":\s*"(?:running|paused)"/.test(text)) return false;
    await monitor.start();
    return true;
  }

  prepareExec(exec: ExecOfContainer, parts: ExecParts): PreparedExec {
    return prepareExternalExec(exec, this.#configured(), parts);
  }

  async signal(container: Container, signal: number): Promise<void> {
    try {
      await this.#invoke(container.id, ["kill", container.id, String(signal)]);
    } catch (error) {
      this.#warn(container.id, error);
      signalInit(container.record, signal);
    }
  }

  async kill(container: Container): Promise<void> {
    const { cgroupPath } = container.record;
    // What is not in the cgroup, such as a virtual machine, only the runtime can end.
    if (this.#parts.cgroups.hasProcesses(cgroupPath)) await this.#parts.cgroups.kill(cgroupPath);
    else await this.#invoke(container.id, ["kill", container.id, String(SIGKILL)]).catch(() => {});
  }

  async update(container: Container, resources: LinuxResources, more: CgroupResources): Promise<void> {
    const file = join(this.#parts.paths.containerDir(container.id), "resources.json");
    writeFileSync(file, stringifyExactIntegers(externalResources(resources)), { mode: 0o600 });
    try {
      await this.#invoke(container.id, ["update", "--resources", file, container.id]);
    } finally {
      rmSync(file, { force: true });
    }
    if (Object.keys(more).length > 0)
      await this.#parts.cgroups.updateResources(container.record.cgroupPath, more);
  }

  /** A runtime that is broken or gone does not keep a container whose processes are dead from being removed. */
  async release({ id }: ContainerRecord): Promise<void> {
    try {
      await this.#invoke(id, ["delete", "--force", id]);
    } catch (error) {
      this.#warn(id, error);
      this.#forget(id);
    }
    new HostMounts(id, this.#parts.paths).release();
  }

  missingForCheckpoints(): string | undefined {
    return findTool("criu") === undefined ? "criu is not installed" : undefined;
  }

  async checkpoint({ id }: Container, { images, work, whileStopped }: CheckpointRun): Promise<void> {
    const flags = ["--leave-running", "--image-path", images, "--work-path", work];
    await this.#invoke(id, ["checkpoint", ...flags, id]);
    // A runtime of the command line says nothing while it does it.
    await whileStopped();
  }

  explain(container: Container): string {
    return explainExternal(container, this.#configured(), this.#parts.paths);
  }

  /** What the runtime itself would have removed; the kernel's side is gone already. */
  #forget(id: string): void {
    const root = this.#command?.root ?? this.#parts.paths.runtimeRoot(this.#handler);
    if (isId(id)) rmSync(join(root, id), { recursive: true, force: true });
  }

  #invoke(id: string, verb: readonly string[]): Promise<string> {
    const { helper, paths } = this.#parts;
    return invokeRuntime(this.#configured(), verb, { helper, directory: paths.containerDir(id) });
  }

  #configured(): RuntimeCommand {
    if (this.#command !== undefined) return this.#command;
    throw failedPrecondition(`runtime handler ${JSON.stringify(this.#handler)} is not configured any more`);
  }

  #warn(id: string, error: unknown): void {
    this.#parts.log.warn("runtime failed", { id, handler: this.#handler, error: messageOf(error) });
  }
}
