// A daemon with an image to run: what most daemon tests begin with.
import path from "node:path";
import type { CriClient } from "../../cri-api/client.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { startDaemon, type DaemonOptions, type TestDaemon } from "./daemon.ts";
import { containerConfig, podConfig, type ContainerOptions, type PodOptions } from "./pod.ts";
import { startStaticRegistry, type StaticRegistry } from "./static-registry.ts";
import { busyboxImage, type RunConfig, type TestImage } from "./test-image.ts";

export class TestNode {
  readonly daemon: TestDaemon;
  readonly registry: StaticRegistry;
  /** A pulled busybox image. */
  readonly image: string;

  constructor(daemon: TestDaemon, registry: StaticRegistry, image: string) {
    this.daemon = daemon;
    this.registry = registry;
    this.image = image;
  }

  get runtime(): CriClient["runtime"] {
    return this.daemon.client.runtime;
  }

  async close(): Promise<void> {
    try {
      await this.daemon.close();
    } finally {
      await this.registry.close();
    }
  }

  podConfig(name: string, options: Partial<PodOptions> = {}): v1.PodSandboxConfigSent {
    return podConfig({ name, logDirectory: path.join(this.daemon.directory, "logs", name), ...options });
  }

  async runPod(name: string, options: Partial<PodOptions> = {}): Promise<TestPod> {
    const config = this.podConfig(name, options);
    const { runtimeHandler = "" } = options;
    const { podSandboxId } = await this.runtime.runPodSandbox({ config, runtimeHandler });
    return new TestPod(this, podSandboxId, config);
  }

  async pushAndPull(repository: string, image: TestImage): Promise<string> {
    const reference = this.registry.add(repository, "1", image);
    await this.daemon.client.image.pullImage({ image: { image: reference } });
    return reference;
  }
}

/** What a pod of a test is made on. */
export interface PodHost {
  readonly runtime: CriClient["runtime"];
  /** A pulled busybox image. */
  readonly image: string;
}

export class TestPod {
  readonly node: PodHost;
  readonly id: string;
  readonly config: v1.PodSandboxConfigSent;

  constructor(node: PodHost, id: string, config: v1.PodSandboxConfigSent) {
    this.node = node;
    this.id = id;
    this.config = config;
  }

  logPath(container: string): string {
    return path.join(this.config.logDirectory ?? "", `${container}.log`);
  }

  containerConfig(options: Partial<ContainerOptions> & { name: string }): v1.ContainerConfigSent {
    return containerConfig({ image: this.node.image, ...options });
  }

  async create(options: Partial<ContainerOptions> & { name: string }): Promise<string> {
    const config = this.containerConfig(options);
    const request = { podSandboxId: this.id, config, sandboxConfig: this.config };
    return (await this.node.runtime.createContainer(request)).containerId;
  }

  async start(options: Partial<ContainerOptions> & { name: string }): Promise<string> {
    const containerId = await this.create(options);
    await this.node.runtime.startContainer({ containerId });
    return containerId;
  }

  async remove(): Promise<void> {
    await this.node.runtime.stopPodSandbox({ podSandboxId: this.id });
    await this.node.runtime.removePodSandbox({ podSandboxId: this.id });
  }
}

export async function startNode(options: DaemonOptions = {}, config: RunConfig = {}): Promise<TestNode> {
  const registry = await startStaticRegistry();
  try {
    const daemon = await startDaemon({
      ...options,
      registries: [registry.address, ...(options.registries ?? [])],
    });
    const reference = registry.add("test/busybox", "1", await busyboxImage(config));
    await daemon.client.image.pullImage({ image: { image: reference } });
    return new TestNode(daemon, registry, reference);
  } catch (error) {
    await registry.close();
    throw error;
  }
}

/** Asks until the container has exited. */
export async function untilExited(
  node: Pick<PodHost, "runtime">,
  containerId: string,
): Promise<v1.ContainerStatus> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const { status } = await node.runtime.containerStatus({ containerId });
    if (status?.state === v1.ContainerState.CONTAINER_EXITED) return status;
    if (Date.now() > deadline) throw new Error(`container ${containerId} does not exit`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
