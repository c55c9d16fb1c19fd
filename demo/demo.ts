// npm run demo: the life of a pod through the real socket of a real daemon, in private directories, with an image made
// here. Leaves nothing behind, however it ends.

import fs from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { fromInt64, toInt64 } from "../cri-api/int64.ts";
import type { Int64 } from "../cri-api/runtime/v1/api.js";
import type { CriClient } from "../cri-api/client.ts";
import { CleanupStack } from "../src/base/cleanup-stack.ts";
import { messageOf } from "../src/base/errors.ts";
import { TestDaemon } from "../test/support/daemon.ts";
import { containerConfig, podConfig } from "../test/support/pod.ts";
import { startStaticRegistry, type StaticRegistry } from "../test/support/static-registry.ts";
import { buildDemoImage } from "./demo-image.ts";
import { ProgressBar } from "./progress-bar.ts";
import { Interrupted, Steps } from "./steps.ts";

const callTimeoutMs = 30_000;
const webPort = 8080;

async function main(): Promise<number> {
  if (process.getuid?.() !== 0) {
    process.stderr.write("npm run demo needs root: it makes namespaces, mounts and cgroups\n");
    return 1;
  }
  const steps = new Steps();
  const cleanup = new CleanupStack();
  let failure: unknown;
  try {
    await tour(steps, cleanup);
  } catch (error) {
    // A call that was cancelled by the interruption fails with words of its own.
    failure = steps.signal.aborted ? steps.signal.reason : error;
    tellFailure(steps, failure);
  }
  const left = await cleanup.unwind();
  for (const error of left) process.stderr.write(`demo: clean-up: ${messageOf(error)}\n`);
  if (failure instanceof Interrupted) return left.length === 0 ? 130 : 1;
  return failure === undefined && left.length === 0 ? 0 : 1;
}

function tellFailure(steps: Steps, error: unknown): void {
  if (error instanceof Interrupted) process.stderr.write(`demo: ${error.message}, cleaning up\n`);
  else process.stderr.write(`demo: failed to ${steps.current}: ${messageOf(error)}\n`);
}

async function tour(steps: Steps, cleanup: CleanupStack): Promise<void> {
  const registry = await startStaticRegistry();
  cleanup.defer("close registry", () => registry.close());
  const daemon = new TestDaemon({ registries: [registry.address], detached: true });
  // Not `close`: an interrupted start or a failed step may have left what only force removes.
  let isClosed = false;
  cleanup.defer("remove everything", async () => (isClosed ? undefined : endDaemon(daemon)));
  const reference = await steps.run("make an image, serve it", () => serveImage(registry, daemon.directory));
  await steps.run(
    "start the daemon",
    () => daemon.start(),
    () => daemon.endpoint,
  );
  await pull(steps, daemon.client, reference);
  await runPod(steps, daemon, reference);
  await steps.run(
    "stop the daemon, look for leaks",
    async () => {
      await daemon.close();
      isClosed = true;
    },
    () => "nothing left: no mount, netns, interface, cgroup, process, file",
  );
}

/** The polite way first, so that what the daemon itself would leave is not hidden by force. */
async function endDaemon(daemon: TestDaemon): Promise<void> {
  try {
    await daemon.close();
  } catch (error) {
    await daemon.abandon();
    throw error;
  }
}

async function serveImage(registry: StaticRegistry, directory: string): Promise<string> {
  const programs = fs.mkdtempSync(`${directory}/programs-`);
  return registry.add("demo/web", "1", await buildDemoImage(programs));
}

async function pull(steps: Steps, { cricket }: CriClient, reference: string): Promise<void> {
  const bar = new ProgressBar(process.stdout);
  await steps.run(
    "pull the image",
    async () => {
      let totalBytes = 0;
      for await (const { layers } of cricket.pullImage({ image: reference }, { signal: steps.signal })) {
        const sum = (key: "doneBytes" | "totalBytes"): number =>
          layers.reduce((bytes, layer) => bytes + Number(fromInt64(layer[key])), 0);
        if (layers.length > 0) totalBytes = sum("totalBytes");
        bar.draw({ doneBytes: sum("doneBytes"), totalBytes });
      }
      bar.clear();
      return totalBytes;
    },
    (bytes) => `${reference}, ${(bytes / 1e6).toFixed(1)} MB`,
  );
}

async function runPod(steps: Steps, daemon: TestDaemon, reference: string): Promise<void> {
  const { runtime } = daemon.client;
  const logs = `${daemon.directory}/logs`;
  fs.mkdirSync(logs);
  const pod = podConfig({ name: "demo", logDirectory: logs });
  const options = { deadlineMs: callTimeoutMs };
  const { podSandboxId } = await steps.run(
    "run a pod sandbox",
    () => runtime.runPodSandbox({ config: pod }, options),
    (response) => short(response.podSandboxId),
  );
  const config = containerConfig({ name: "web", image: reference });
  const { containerId } = await steps.run(
    "create a container",
    () => runtime.createContainer({ podSandboxId, config, sandboxConfig: pod }, options),
    (response) => short(response.containerId),
  );
  await steps.run("start it", () => runtime.startContainer({ containerId }, options));
  await lookAt(steps, daemon, { podSandboxId, containerId, log: `${logs}/web.log` });
  await steps.run("stop the container", () =>
    runtime.stopContainer({ containerId, timeout: seconds(5) }, options),
  );
  await steps.run("remove the container", () => runtime.removeContainer({ containerId }, options));
  await steps.run("stop the pod", () => runtime.stopPodSandbox({ podSandboxId }, options));
  await steps.run("remove the pod", () => runtime.removePodSandbox({ podSandboxId }, options));
}

interface RunningPod {
  podSandboxId: string;
  containerId: string;
  log: string;
}

async function lookAt(steps: Steps, daemon: TestDaemon, pod: RunningPod): Promise<void> {
  const { runtime } = daemon.client;
  const options = { deadlineMs: callTimeoutMs };
  const ip = await steps.run(
    "ask for the pod's address",
    async () =>
      (await runtime.podSandboxStatus({ podSandboxId: pod.podSandboxId }, options)).status?.network?.ip ?? "",
    (address) => address,
  );
  await steps.run(
    "fetch a page from it",
    () => fetchPage(`http://${ip}:${webPort}/`),
    (text) => text.trimEnd(),
  );
  await steps.run(
    "read the container's log",
    () => fs.promises.readFile(pod.log, "utf8"),
    (text) => text.trimEnd(),
  );
  await steps.run(
    "exec a program in it",
    () =>
      runtime.execSync({ containerId: pod.containerId, cmd: ["/bin/look"], timeout: seconds(10) }, options),
    ({ stdout }) => Buffer.from(stdout).toString().trimEnd(),
  );
  await steps.run(
    "ask for its memory and CPU",
    async () => (await runtime.containerStats({ containerId: pod.containerId }, options)).stats,
    (stats) => {
      const memory = Number(fromInt64(stats?.memory?.workingSetBytes?.value));
      const cpu = Number(fromInt64(stats?.cpu?.usageCoreNanoSeconds?.value));
      return `${(memory / 1024).toFixed(0)} KiB, ${(cpu / 1e6).toFixed(1)} ms of CPU`;
    },
  );
}

/** The server may not listen yet when its start has been answered. */
async function fetchPage(url: string): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    try {
      const response = await fetch(url, {
        signal: AbortSignal.timeout(5000),
        headers: { connection: "close" },
      });
      return await response.text();
    } catch (error) {
      if (attempt === 40) throw new Error(`${url}: ${messageOf(error)}`, { cause: error });
      await delay(25);
    }
  }
}

const seconds = (value: number): Int64 => toInt64(BigInt(value));
const short = (id: string): string => id.slice(0, 13);

process.exitCode = await main();
// Connections that keep themselves alive must not keep the process: everything has been removed by now.
process.exit();
