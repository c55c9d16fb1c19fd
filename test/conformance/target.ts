// What the conformance tests run against: a daemon of their own, or, to test the tests, another runtime:
//   CRICKET_CONFORMANCE_PEER=containerd npm test -- conformance
// They use the CRI alone, so that whatever passes here is behaviour that a client can rely on.

import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { CriClient } from "../../cri-api/client.ts";
import { toInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { startContainerd } from "../bench/containerd.ts";
import { startDaemon } from "../support/daemon.ts";
import { TestPod, type PodHost } from "../support/node.ts";
import { containerConfig, podConfig, type ContainerOptions } from "../support/pod.ts";
import { requires } from "../support/requires.ts";
import { startStaticRegistry, type StaticRegistry } from "../support/static-registry.ts";
import {
  buildImage,
  buildLayer,
  busyboxImage,
  programEntry,
  skeletonEntries,
  type TestImage,
} from "../support/test-image.ts";

/** What every file of the suite needs. */
export const needs = requires("root", "overlay", "package:busybox-static");

const peer = process.env["CRICKET_CONFORMANCE_PEER"] ?? "";

interface Runtime {
  client: () => CriClient;
  /** Ends the runtime; for our own daemon with its leak check. */
  close: () => Promise<void>;
  directory: string;
}

export class Target implements PodHost {
  readonly registry: StaticRegistry;
  /** A second one, on another port: another registry to clients. */
  readonly mirror: StaticRegistry;
  readonly image: string;
  readonly directory: string;
  readonly #runtime: Runtime;

  constructor(registries: [StaticRegistry, StaticRegistry], runtime: Runtime, image: string) {
    [this.registry, this.mirror] = registries;
    this.#runtime = runtime;
    this.image = image;
    this.directory = runtime.directory;
  }

  get runtime(): CriClient["runtime"] {
    return this.#runtime.client().runtime;
  }

  get images(): CriClient["image"] {
    return this.#runtime.client().image;
  }

  async close(): Promise<void> {
    try {
      await this.#runtime.close();
    } finally {
      await Promise.all([this.registry.close(), this.mirror.close()]);
    }
  }

  /** Serves an image and pulls it; its reference. */
  async pull(repository: string, tag: string, image: TestImage): Promise<string> {
    const reference = this.registry.add(repository, tag, image);
    await this.images.pullImage({ image: { image: reference } });
    return reference;
  }

  podConfig(more: v1.PodSandboxConfigSent = {}): v1.PodSandboxConfigSent {
    const name = `pod-${randomBytes(4).toString("hex")}`;
    const logDirectory = path.join(this.directory, "logs", name);
    fs.mkdirSync(logDirectory, { recursive: true });
    return podConfig({ name, logDirectory, more });
  }

  async runPod(more: v1.PodSandboxConfigSent = {}, runtimeHandler = ""): Promise<TestPod> {
    const config = this.podConfig(more);
    const { podSandboxId } = await this.runtime.runPodSandbox({ config, runtimeHandler });
    return new TestPod(this, podSandboxId, config);
  }

  /** Runs `body` with a pod that is removed afterwards. */
  async withPod(more: v1.PodSandboxConfigSent, body: (pod: TestPod) => Promise<void>): Promise<void> {
    const pod = await this.runPod(more);
    try {
      await body(pod);
    } finally {
      await pod.remove();
    }
  }

  /** What a shell script prints, on both streams, in a container that runs. */
  async sh(containerId: string, script: string): Promise<string> {
    const cmd = ["sh", "-c", script];
    const { stdout, stderr } = await this.runtime.execSync({ containerId, cmd, timeout: toInt64(20n) });
    return Buffer.concat([stdout, stderr]).toString();
  }

  /** Starts a container that sleeps, with `more` in its config, and returns what a shell script in it prints. */
  async ask(pod: TestPod, more: v1.ContainerConfigSent, script: string): Promise<string> {
    return this.sh(await this.startSleeping(pod, more), script);
  }

  async startSleeping(pod: TestPod, more: v1.ContainerConfigSent = {}): Promise<string> {
    return pod.start({ name: uniqueName(), command: ["sleep", "1000"], more });
  }

  /** Runs a program to its end; its log without the prefixes, and its status. */
  async runToEnd(
    pod: TestPod,
    options: Partial<ContainerOptions>,
  ): Promise<{ log: string; status: v1.ContainerStatus }> {
    const name = uniqueName();
    const containerId = await pod.start({ name, ...options });
    const status = await this.untilState(containerId, v1.ContainerState.CONTAINER_EXITED);
    return { log: readLines(pod.logPath(name)).join("\n"), status };
  }

  async untilState(containerId: string, state: number): Promise<v1.ContainerStatus> {
    for (const deadline = Date.now() + 30_000; ;) {
      const { status } = await this.runtime.containerStatus({ containerId });
      if (status?.state === state) return status;
      if (Date.now() > deadline)
        throw new Error(`container ${containerId} is ${status?.state}, not ${state}`);
      await delay(20);
    }
  }

  async stateOf(containerId: string): Promise<number | null | undefined> {
    return (await this.runtime.containerStatus({ containerId })).status?.state;
  }

  async containerIds(filter: v1.ContainerFilterSent = {}): Promise<string[]> {
    return (await this.runtime.listContainers({ filter })).containers.map(({ id }) => id);
  }

  async sandboxIds(filter: v1.PodSandboxFilterSent = {}): Promise<string[]> {
    return (await this.runtime.listPodSandbox({ filter })).items.map(({ id }) => id);
  }
}

export const uniqueName = (): string => `c-${randomBytes(4).toString("hex")}`;

/** The config of a container with a security context, in a pid namespace of its own unless that says otherwise. */
export const security = (context: v1.LinuxContainerSecurityContextSent): v1.ContainerConfigSent => ({
  linux: { securityContext: { namespaceOptions: { pid: v1.NamespaceMode.CONTAINER }, ...context } },
});

/** The lines of a CRI log without time, stream and tag. */
export function readLines(file: string): string[] {
  const lines = fs.readFileSync(file, "utf8").split("\n").slice(0, -1);
  return lines.map((line) => line.split(" ").slice(3).join(" "));
}

/** A container's config as a request wants it, with an image of any kind. */
export const configWith = (
  image: v1.ImageSpecSent,
  more: v1.ContainerConfigSent,
): v1.ContainerConfigSent => ({
  ...containerConfig({ name: uniqueName(), image: "", command: ["sleep", "1000"] }),
  ...more,
  image,
});

/** Starts the runtime under test with a busybox image in it. */
export async function openTarget(): Promise<Target> {
  const registries: [StaticRegistry, StaticRegistry] = [
    await startStaticRegistry(),
    await startStaticRegistry(),
  ];
  try {
    const runtime = await (peer === "containerd" ? openContainerd : openCricket)(registries);
    const image = registries[0].add("test/busybox", "1", await busyboxImage());
    await runtime.client().image.pullImage({ image: { image } });
    return new Target(registries, runtime, image);
  } catch (error) {
    await Promise.all(registries.map((registry) => registry.close()));
    throw error;
  }
}

async function openCricket(registries: StaticRegistry[]): Promise<Runtime> {
  const daemon = await startDaemon({ registries: registries.map(({ address }) => address) });
  return { client: () => daemon.client, close: () => daemon.close(), directory: daemon.directory };
}

async function openContainerd([registry]: [StaticRegistry, StaticRegistry]): Promise<Runtime> {
  const program = path.resolve(import.meta.dirname, "../../build/pause");
  const entries = [...skeletonEntries(), programEntry("pause", program)];
  const image = buildImage([await buildLayer(entries)], { config: { Entrypoint: ["/pause"] } });
  const pause = registry.add("test/pause", "1", image);
  const containerd = await startContainerd({ address: registry.address, pause });
  const directory = fs.mkdtempSync("/var/lib/cricket-conformance-");
  fs.chmodSync(directory, 0o755);
  const close = async (): Promise<void> => {
    await removeAllPods(containerd.client);
    await containerd.close();
    fs.rmSync(directory, { recursive: true, force: true });
  };
  return { client: () => containerd.client, close, directory };
}

async function removeAllPods({ runtime }: CriClient): Promise<void> {
  for (const { id } of (await runtime.listPodSandbox({})).items) {
    await runtime.stopPodSandbox({ podSandboxId: id });
    await runtime.removePodSandbox({ podSandboxId: id });
  }
}
