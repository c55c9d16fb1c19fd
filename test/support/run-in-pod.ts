// One program in a pod of its own, from RunPodSandbox to removal: what it printed and how it ended.

import fs from "node:fs";
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import type { TestDaemon } from "./daemon.ts";
import { containerConfig, podConfig } from "./pod.ts";

export interface Program {
  image: string;
  command?: string[];
  args?: string[];
  hostNetwork?: boolean;
  /** Merged into the container's config. */
  more?: v1.ContainerConfigSent;
  /** Merged into the sandbox's config. */
  pod?: v1.PodSandboxConfigSent;
}

export interface Ended {
  /** Both streams in the order of the log, without the log's prefixes. */
  log: string;
  exitCode: number;
  reason: string;
}

/** Runs the program to its end and removes the pod, also when something fails on the way. */
export async function runInPod(daemon: TestDaemon, program: Program): Promise<Ended> {
  const { runtime } = daemon.client;
  const name = `run-${randomBytes(4).toString("hex")}`;
  const logDirectory = `${daemon.directory}/${name}`;
  fs.mkdirSync(logDirectory);
  const { image, command = [], args = [], hostNetwork = false } = program;
  const pod = podConfig({ name, logDirectory, hostNetwork, ...(program.pod && { more: program.pod }) });
  const config = containerConfig({ name, image, command, args, ...(program.more && { more: program.more }) });
  const { podSandboxId } = await runtime.runPodSandbox({ config: pod });
  try {
    const { containerId } = await runtime.createContainer({ podSandboxId, config, sandboxConfig: pod });
    await runtime.startContainer({ containerId });
    const { exitCode, reason } = await untilEnded(daemon, containerId);
    return { log: readLog(`${logDirectory}/${name}.log`), exitCode, reason };
  } finally {
    await runtime.stopPodSandbox({ podSandboxId });
    await runtime.removePodSandbox({ podSandboxId });
  }
}

/** Waits until a container has ended; its status then. */
export async function untilEnded(daemon: TestDaemon, containerId: string): Promise<v1.ContainerStatus> {
  for (let attempt = 0; attempt < 3000; attempt++) {
    const { status } = await daemon.client.runtime.containerStatus({ containerId });
    if (status?.state === v1.ContainerState.CONTAINER_EXITED) return status;
    await delay(10);
  }
  throw new Error(`container ${containerId} has not ended after 30 s`);
}

/** The content of a CRI log: lines tagged P are joined with what follows. */
export function readLog(file: string): string {
  return fs
    .readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [, , tag, ...content] = line.split(" ");
      return content.join(" ") + (tag === "F" ? "\n" : "");
    })
    .join("");
}
