// The measurement: what a client sees of a CRI runtime, one call at a time. The same calls go to every runtime.

import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { RpcError, type CriClient } from "../../cri-api/client.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { containerConfig, podConfig } from "../support/pod.ts";
import type { BenchImages } from "./bench-images.ts";
import { memoryOf, newMemory, processes } from "./memory.ts";
import { Samples, type Summary } from "./samples.ts";
import { measureThroughput } from "./throughput.ts";

export interface BenchOptions {
  /** Rounds of the pod life cycle. */
  rounds: number;
  smallPulls: number;
  bigPulls: number;
  /** Containers of the long lists; 0: none are made. */
  listed: number;
  /** Ends the measurement; what it has made is removed. */
  signal: AbortSignal;
}

export interface Target {
  label: string;
  client: CriClient;
  /** Of the daemon whose memory is measured. */
  pid: number;
}

/** Memory in bytes, by what it is of. */
export type MemoryFigures = Map<string, number>;

export interface Measurement {
  label: string;
  /** Name and version as the runtime gives them. */
  version: string;
  latency: Map<string, Summary>;
  memory: MemoryFigures;
  /** MiB/s, by what it is of. */
  throughput: Map<string, number>;
}

const warmUpRounds = 2;
/** Lists and statistics of fifty containers, and of as many as options ask for. */
const shortList = { pods: 10, containersPerPod: 5, rounds: 100 };
const longList = { containersPerPod: 50, rounds: 20 };
const memoryPods = 10;
const streamRounds = 3;
const streamedMib = 256;
/** Ignores SIGTERM as PID 1, as many programs do. */
const workload = ["sleep", "100000"];

/** Runs all parts of the benchmark against one runtime. Leaves no pod; images stay. */
export async function measure(
  target: Target,
  images: BenchImages,
  options: BenchOptions,
): Promise<Measurement> {
  const logs = fs.mkdtempSync(path.join(os.tmpdir(), "cricket-bench-"));
  const bench = new Bench(target, images, logs, options.signal);
  try {
    const version = await target.client.runtime.version({});
    bench.noteDaemon("daemon, idle");
    await bench.pulls(options);
    await bench.lifeCycles(false, options.rounds);
    await bench.lifeCycles(true, options.rounds);
    await bench.startUps(options.rounds);
    await bench.lists(shortList);
    await bench.streams();
    await bench.podMemory(false);
    await bench.podMemory(true);
    bench.noteDaemon("daemon, at the end");
    if (options.listed > 0)
      await bench.lists({ ...longList, pods: Math.ceil(options.listed / longList.containersPerPod) });
    return {
      label: target.label,
      version: `${version.runtimeName} ${version.runtimeVersion}`,
      latency: bench.samples.summaries(),
      memory: bench.memory,
      throughput: bench.throughput,
    };
  } finally {
    await bench.removeAllPods();
    fs.rmSync(logs, { recursive: true, force: true });
  }
}

interface ListSize {
  pods: number;
  containersPerPod: number;
  rounds: number;
}

/**
 * Why a runtime cannot answer a call at all, or undefined: older peers have no metrics, and no statistics of pods that
 * name no parent cgroup.
 */
async function refusalOf(call: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await call();
    return undefined;
  } catch (error) {
    if (error instanceof RpcError) return `${error.status}: ${error.message}`;
    throw error;
  }
}

class Bench {
  readonly samples: Samples;
  readonly memory: MemoryFigures = new Map();
  readonly throughput = new Map<string, number>();
  readonly #target: Target;
  readonly #client: CriClient;
  readonly #images: BenchImages;
  readonly #logs: string;
  #podCount = 0;

  constructor(target: Target, images: BenchImages, logs: string, signal: AbortSignal) {
    this.samples = new Samples(signal);
    this.#target = target;
    this.#client = target.client;
    this.#images = images;
    this.#logs = logs;
  }

  noteDaemon(what: string): void {
    const memory = memoryOf(this.#target.pid);
    if (memory !== undefined) this.memory.set(`${what} (PSS)`, memory.pssBytes);
  }

  async pulls({ smallPulls, bigPulls }: BenchOptions): Promise<void> {
    await this.#pull(`small (${this.#images.smallSize})`, this.#images.small, smallPulls);
    await this.#pull(`big (${this.#images.bigSize})`, this.#images.big, bigPulls);
    await this.#client.image.pullImage({ image: { image: this.#images.small } });
  }

  async #pull(name: string, reference: string, count: number): Promise<void> {
    const image = { image: reference };
    const { image: client } = this.#client;
    await client.removeImage({ image });
    for (let i = 0; i < count; i++) {
      // What a runtime still deletes in the background belongs to the removal, not to the next pull.
      await delay(300);
      await this.samples.time(`PullImage ${name}`, () => client.pullImage({ image }));
      await this.samples.time(`RemoveImage ${name}`, () => client.removeImage({ image }));
    }
  }

  /** The whole life of a pod with one container, call by call. */
  async lifeCycles(hostNetwork: boolean, rounds: number): Promise<void> {
    for (let i = -warmUpRounds; i < rounds; i++) await this.#lifeCycle(hostNetwork, i >= 0);
  }

  async #lifeCycle(hostNetwork: boolean, isKept: boolean): Promise<void> {
    const { runtime } = this.#client;
    const network = hostNetwork ? " host-net" : " CNI";
    const timed = <T>(name: string, call: () => Promise<T>): Promise<T> =>
      this.samples.time(isKept ? name : undefined, call);
    const pod = this.#podConfig(hostNetwork);
    const { podSandboxId } = await timed(`RunPodSandbox${network}`, () =>
      runtime.runPodSandbox({ config: pod }),
    );
    const request = this.#createRequest(podSandboxId, pod, "c");
    const { containerId } = await timed("CreateContainer", () => runtime.createContainer(request));
    await timed("StartContainer", () => runtime.startContainer({ containerId }));
    const exec = { containerId, cmd: ["true"], timeout: { low: 10, high: 0, unsigned: false } };
    const { exitCode } = await timed("ExecSync true", () => runtime.execSync(exec));
    if (exitCode !== 0) throw new Error(`true ended with ${exitCode}`);
    const { status } = await timed("ContainerStatus", () => runtime.containerStatus({ containerId }));
    if (status?.state !== v1.ContainerState.CONTAINER_RUNNING) throw new Error(`state ${status?.state}`);
    await timed("StopContainer t=0", () => runtime.stopContainer({ containerId }));
    await timed("RemoveContainer", () => runtime.removeContainer({ containerId }));
    await timed(`StopPodSandbox${network}`, () => runtime.stopPodSandbox({ podSandboxId }));
    await timed(`RemovePodSandbox${network}`, () => runtime.removePodSandbox({ podSandboxId }));
  }

  /** Pod and container up to running, as a kubelet sees them. */
  async startUps(rounds: number): Promise<void> {
    for (let i = 0; i < rounds; i++) {
      const pod = this.#podConfig(false);
      const id = await this.samples.time("pod+container to running (CNI)", () => this.#runPod(pod, ["c"]));
      await this.#removePod(id);
    }
  }

  async lists({ pods, containersPerPod, rounds }: ListSize): Promise<void> {
    const { runtime } = this.#client;
    const containers = Array.from({ length: containersPerPod }, (_, number) => `c${number}`);
    for (let i = 0; i < pods; i++) await this.#runPod(this.#podConfig(true), containers);
    const count = pods * containersPerPod;
    const listed = (await runtime.listContainers({})).containers.length;
    if (listed !== count) throw new Error(`ListContainers shows ${listed} containers, not ${count}`);
    const calls = new Map<string, () => Promise<unknown>>([
      [`ListContainers (${count})`, () => runtime.listContainers({})],
      [`ListPodSandbox (${pods})`, () => runtime.listPodSandbox({})],
      [`ListContainerStats (${count})`, () => runtime.listContainerStats({})],
      [`ListPodSandboxStats (${pods} of ${count})`, () => runtime.listPodSandboxStats({})],
      [`ListPodSandboxMetrics (${pods} of ${count})`, () => runtime.listPodSandboxMetrics({})],
    ]);
    for (const [name, call] of calls) {
      const refusal = await refusalOf(call);
      if (refusal === undefined) continue;
      process.stdout.write(`not measured: ${name}: ${refusal}\n`);
      calls.delete(name);
    }
    for (let i = 0; i < rounds; i++) for (const [name, call] of calls) await this.samples.time(name, call);
    this.noteDaemon(`daemon, with ${count} containers`);
    await this.removeAllPods();
  }

  /** What a pod with one container costs beyond its own process: pause, monitor, shim. */
  async podMemory(hostNetwork: boolean): Promise<void> {
    const before = processes();
    for (let i = 0; i < memoryPods; i++) await this.#runPod(this.#podConfig(hostNetwork), ["c"]);
    // Let what only starts a pod end.
    await delay(2000);
    const { pssBytes, ussBytes } = newMemory(before, this.#target.pid, "sleep");
    const network = hostNetwork ? "host network" : "CNI";
    this.memory.set(`per pod, ${network} (PSS)`, pssBytes / memoryPods);
    this.memory.set(`per pod, ${network} (USS)`, ussBytes / memoryPods);
    await this.removeAllPods();
  }

  /** Bytes through an exec: the best of the rounds, as everything else on the machine only takes away from it. */
  async streams(): Promise<void> {
    const pod = await this.#runPod(this.#podConfig(true), ["c"]);
    const { containers } = await this.#client.runtime.listContainers({ filter: { podSandboxId: pod } });
    for (let i = 0; i < streamRounds; i++) {
      const round = await measureThroughput(this.#client, containers[0]?.id ?? "", streamedMib);
      for (const [name, rate] of round)
        this.throughput.set(name, Math.max(rate, this.throughput.get(name) ?? 0));
    }
    await this.removeAllPods();
  }

  async removeAllPods(): Promise<void> {
    const { items } = await this.#client.runtime.listPodSandbox({});
    for (const { id } of items) await this.#removePod(id);
  }

  #podConfig(hostNetwork: boolean): v1.PodSandboxConfigSent {
    const name = `bench-${process.pid}-${this.#podCount++}`;
    const logDirectory = path.join(this.#logs, name);
    fs.mkdirSync(logDirectory);
    return podConfig({ name, logDirectory, hostNetwork });
  }

  #createRequest(
    podSandboxId: string,
    sandboxConfig: v1.PodSandboxConfigSent,
    name: string,
  ): v1.CreateContainerRequestSent {
    const config = containerConfig({ name, image: this.#images.small, command: workload });
    return { podSandboxId, config, sandboxConfig };
  }

  async #runPod(pod: v1.PodSandboxConfigSent, containers: string[]): Promise<string> {
    const { runtime } = this.#client;
    const { podSandboxId } = await runtime.runPodSandbox({ config: pod });
    for (const name of containers) {
      const { containerId } = await runtime.createContainer(this.#createRequest(podSandboxId, pod, name));
      await runtime.startContainer({ containerId });
    }
    return podSandboxId;
  }

  // Containers first: some runtimes stop a pod's containers gracefully, and the workload ignores SIGTERM.
  async #removePod(podSandboxId: string): Promise<void> {
    const { runtime } = this.#client;
    const { containers } = await runtime.listContainers({ filter: { podSandboxId } });
    for (const { id } of containers) await runtime.stopContainer({ containerId: id });
    await runtime.stopPodSandbox({ podSandboxId });
    await runtime.removePodSandbox({ podSandboxId });
  }
}
