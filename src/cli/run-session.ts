// One `cricket run`: image -> pod -> container -> output -> exit status, and everything removed again.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RpcError, type CriClient } from "../../cri-api/client.ts";
import { toInt64 } from "../../cri-api/int64.ts";
import type { v1 as cricket } from "../../cri-api/cricket/v1/api.js";
import type { v1 } from "../../cri-api/runtime/v1/api.js";
import { ExitError, exitStatus, Interrupted, type Surroundings } from "./command.ts";
import { followLog } from "./follow-log.ts";
import { makeKeptLogDirectory, removeKeptLogs } from "./kept-logs.ts";
import { LogPrinter } from "./log-printer.ts";
import { notRunError, notRunStatus } from "./program-status.ts";
import { pullImage } from "./pull-image.ts";
import { runRemoteCommand } from "./remote-command.ts";
import type { RunPlan } from "./run-plan.ts";
import { waitForEnd } from "./wait-for-end.ts";

type AttachedStreams = NonNullable<RunPlan["attached"]>;

export class RunSession {
  readonly #client: CriClient;
  readonly #plan: RunPlan;
  readonly #surroundings: Surroundings;
  /** What has been made, in order; undone in reverse. */
  readonly #undo: (() => Promise<unknown>)[] = [];
  #timedOut = false;

  constructor(client: CriClient, plan: RunPlan, surroundings: Surroundings) {
    this.#client = client;
    this.#plan = plan;
    this.#surroundings = surroundings;
  }

  /** The exit status of the program. @throws ExitError, Interrupted */
  async run(): Promise<number> {
    let succeeded = false;
    try {
      const status = await this.#steps();
      succeeded = true;
      return status;
    } finally {
      if (!(this.#plan.keep && succeeded)) await this.#cleanUp();
    }
  }

  async #steps(): Promise<number> {
    const imageId = await this.#ensureImage();
    const logDirectory = this.#makeLogDirectory();
    // Calls that make something are not cancelled: their answer is needed to remove what they made.
    const sandbox = { ...this.#plan.sandbox, logDirectory };
    const { podSandboxId } = await this.#client.runtime.runPodSandbox({ config: sandbox });
    this.#undo.push(() => this.#removeSandbox(podSandboxId));
    this.#surroundings.interrupted.throwIfAborted();
    const containerId = await this.#createContainer(podSandboxId, imageId, sandbox);
    this.#surroundings.interrupted.throwIfAborted();
    const { attached } = this.#plan;
    if (attached !== undefined) return this.#converse(containerId, attached);
    await this.#startContainer(containerId);
    if (this.#plan.detach) {
      this.#surroundings.stdout(`${containerId}\n`);
      return exitStatus.ok;
    }
    return this.#attend(containerId, join(logDirectory, this.#plan.container.logPath ?? ""));
  }

  async #ensureImage(): Promise<string> {
    const { image, pull, quiet } = this.#plan;
    if (pull !== "always") {
      const { image: found } = await this.#client.image.imageStatus({ image: { image } });
      if (found) return found.id;
      if (pull === "never") throw new ExitError(exitStatus.notRun, `image ${image} is not on this node`);
    }
    return pullImage(this.#client, { image, quiet }, this.#surroundings);
  }

  #makeLogDirectory(): string {
    const { keep, sandbox } = this.#plan;
    if (keep) {
      this.#undo.push(() => Promise.resolve(removeKeptLogs(sandbox)));
      return makeKeptLogDirectory(sandbox);
    }
    const directory = mkdtempSync(join(tmpdir(), "cricket-run-"));
    this.#undo.push(() => Promise.resolve(rmSync(directory, { recursive: true, force: true })));
    return directory;
  }

  async #createContainer(
    podSandboxId: string,
    imageId: string,
    sandboxConfig: v1.PodSandboxConfigSent,
  ): Promise<string> {
    const { container } = this.#plan;
    const config = { ...container, image: { ...container.image, image: imageId } };
    try {
      const { containerId } = await this.#client.runtime.createContainer({
        podSandboxId,
        config,
        sandboxConfig,
      });
      return containerId;
    } catch (error) {
      throw error instanceof RpcError ? notRunStatus(error) : error;
    }
  }

  async #startContainer(containerId: string): Promise<void> {
    try {
      await this.#client.runtime.startContainer({ containerId });
    } catch (error) {
      throw error instanceof RpcError ? notRunStatus(error) : error;
    }
  }

  /** Starts the container with the caller's streams as its own, and waits for its end. */
  async #converse(containerId: string, { stdin, tty }: AttachedStreams): Promise<number> {
    const { streams } = this.#surroundings;
    const request = { containerId, stdin, stdout: true, stderr: !tty };
    const { url } = await this.#client.cricket.startAttached(request);
    const stopping = this.#stopOnRequest(containerId);
    const over = new AbortController();
    const ended = waitForEnd(this.#client, containerId, over.signal);
    ended.catch(() => {});
    try {
      const end = await runRemoteCommand({ url, stdin, tty, streams, signal: over.signal });
      if (end.kind === "failed") throw notRunError(end.message);
      return this.#statusOf(await ended);
    } finally {
      over.abort();
      stopping();
    }
  }

  /** Shows the output until the container has ended. */
  async #attend(containerId: string, logPath: string): Promise<number> {
    const ended = new AbortController();
    const stopping = this.#stopOnRequest(containerId);
    const output = this.#show(logPath, ended.signal);
    try {
      const end = await waitForEnd(this.#client, containerId, new AbortController().signal);
      ended.abort();
      await output;
      return this.#statusOf(end);
    } finally {
      ended.abort();
      stopping();
      await output;
    }
  }

  async #show(logPath: string, ended: AbortSignal): Promise<void> {
    const printer = new LogPrinter({ timestamps: false, sinceNs: 0n }, this.#surroundings);
    try {
      for await (const record of followLog(logPath, { start: 0, ended })) printer.print(record);
    } catch (error) {
      this.#warn("the log cannot be read", error);
    }
  }

  /** Stops the container at Ctrl-C and at the time-out, kills it at the second Ctrl-C. Returns the end of that. */
  #stopOnRequest(containerId: string): () => void {
    const { interrupted, killed } = this.#surroundings;
    const { stopTimeoutSeconds, timeoutMs } = this.#plan;
    const stop = (seconds: number) => () => {
      const timeout = toInt64(BigInt(seconds));
      this.#client.runtime
        .stopContainer({ containerId, timeout })
        .catch((error: unknown) => this.#warn("the container cannot be stopped", error));
    };
    const onInterrupt = stop(stopTimeoutSeconds);
    const onKill = stop(0);
    const onTimeout = (): void => {
      this.#timedOut = true;
      onInterrupt();
    };
    const timer =
      timeoutMs === undefined ? undefined : setTimeout(onTimeout, Math.min(timeoutMs, 2 ** 31 - 1));
    interrupted.addEventListener("abort", onInterrupt);
    killed.addEventListener("abort", onKill);
    if (interrupted.aborted) onInterrupt();
    return () => {
      clearTimeout(timer);
      interrupted.removeEventListener("abort", onInterrupt);
      killed.removeEventListener("abort", onKill);
    };
  }

  #statusOf({ exitCode, reason, message }: cricket.WaitContainerResponse): number {
    const interruption: unknown = this.#surroundings.interrupted.reason;
    if (interruption instanceof Interrupted) return interruption.exitStatus;
    if (this.#timedOut) return exitStatus.timedOut;
    if (reason === "OOMKilled")
      this.#surroundings.stderr("cricket: run: the container was killed: out of memory\n");
    else if (reason === "StartError" || reason === "Unknown")
      throw new ExitError(exitStatus.notRun, message || reason);
    return exitCode & 0xff;
  }

  async #cleanUp(): Promise<void> {
    for (const undo of this.#undo.reverse()) {
      try {
        await undo();
      } catch (error) {
        this.#warn("not cleaned up", error);
      }
    }
  }

  async #removeSandbox(podSandboxId: string): Promise<void> {
    await this.#client.runtime.stopPodSandbox({ podSandboxId });
    await this.#client.runtime.removePodSandbox({ podSandboxId });
  }

  #warn(what: string, error: unknown): void {
    this.#surroundings.stderr(
      `cricket: run: ${what}: ${error instanceof Error ? error.message : String(error)}\n`,
    );
  }
}
