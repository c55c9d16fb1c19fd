import assert from "node:assert/strict";
import { test } from "node:test";
import type { v1 } from "../../../cri-api/nri/v1/api.js";
import { Log } from "../../../src/base/log.ts";
import { PluginHost } from "../../../src/plugins/nri/plugin-host.ts";
import { TestPlugin, type PluginAnswers } from "../../support/nri-plugin.ts";
import { duplexPair } from "../streaming/duplex-pair.ts";

const settings = {
  enabled: true,
  socket: "",
  pluginDir: "",
  pluginConfigDir: "",
  registrationTimeoutMs: 5000,
  requestTimeoutMs: 5000,
  requiredPlugins: [],
  tolerateMissingAnnotation: "",
  reject: [],
};

function hostWith(pods: v1.PodSandboxSent[]): PluginHost {
  return new PluginHost({
    settings,
    runtimeVersion: "1",
    log: new Log({ level: "error", format: "text" }),
    snapshot: () => ({ pods: [...pods], containers: [] }),
    fulfil: () => Promise.resolve(),
    update: () => Promise.resolve([]),
  });
}

async function join(host: PluginHost, name: string, answers: PluginAnswers = {}): Promise<TestPlugin> {
  const [here, there] = duplexPair();
  const plugin = new TestPlugin(there, answers);
  const admitted = host.admit(here, { origin: "test" });
  await plugin.register(name);
  await admitted;
  return plugin;
}

test("a plugin that comes before a pod's turn is told of it by the event alone", async () => {
  const pods: v1.PodSandboxSent[] = [];
  const host = hostWith(pods);
  let release: () => void = () => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  const first = await join(host, "10-first", { other: () => held });
  const run = (id: string): Promise<void> =>
    host.askPod("runPodSandbox", { pod: { id } }, () => void pods.push({ id }));
  const running = run("one");
  const joining = join(host, "20-late");
  // Its join has to stand in line before the second pod does.
  await first.until("RunPodSandbox", "one");
  await new Promise((resolve) => setTimeout(resolve, 50));
  const next = run("two");
  release();
  const [late] = await Promise.all([joining, running, next]);
  assert.deepEqual(
    late.synchronized.flatMap((request) => request.pods.map(({ id }) => id)),
    ["one"],
  );
  assert.deepEqual(late.methods("two"), ["RunPodSandbox"]);
  await host.close();
});

test("a container that no message can hold is refused, and costs no plugin", async () => {
  const host = hostWith([]);
  const plugin = await join(host, "10-first");
  const container = { id: "big", args: ["x".repeat(5 * 1024 * 1024)] };
  await assert.rejects(host.askContainer("startContainer", { container }), {
    code: "resource-exhausted",
    message: /^plugin 10-first, StartContainer: a message of \d+ bytes is too long/,
  });
  await host.tellContainer("removeContainer", { container });
  await host.askContainer("startContainer", { container: { id: "small" } });
  assert.deepEqual(plugin.methods("small"), ["StartContainer"]);
  assert.deepEqual(host.names(), ["10-first"]);
  await host.close();
});

test("a plugin too many is turned away, and its program is ended", async () => {
  const host = hostWith([]);
  const open = Array.from({ length: 64 }, () => {
    const [here, there] = duplexPair();
    host.admit(here, { origin: "silent" }).catch(() => {});
    return there;
  });
  const [here] = duplexPair();
  let ended = 0;
  await assert.rejects(host.admit(here, { origin: "test", onClose: () => ended++ }), {
    code: "resource-exhausted",
  });
  assert.equal(ended, 1);
  assert.ok(here.destroyed);
  for (const socket of open) socket.destroy();
  await host.close();
});
