import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { until } from "../../support/until.ts";
import { chain, CniNode } from "./cni-node.ts";
import { enterPrivateNetns, skipUnlessRoot } from "./private-netns.ts";

const skip = skipUnlessRoot;
if (skip === false) await enterPrivateNetns();

test("attach runs the chain, passes results on and keeps the last one", { skip }, async (t) => {
  const node = await CniNode.start(t);
  const request = node.request();
  const attachment = await node.network.attach(request);
  assert.deepEqual(attachment, { ips: ["10.9.8.7"], interfaceName: "eth0" });
  const [first, second] = node.double.calls("ADD");
  assert.ok(first !== undefined && second !== undefined);
  const { config, ...parameters } = first;
  assert.deepEqual(parameters, {
    plugin: "first",
    command: "ADD",
    containerId: request.sandboxId,
    netns: node.netnsPath,
    interfaceName: "eth0",
    args: `IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=${request.sandboxId};K8S_POD_UID=u-1`,
    path: node.double.binDir,
  });
  const expected = { type: "first", custom: { kept: [1, "two"] }, cniVersion: "1.1.0", name: "podnet" };
  assert.deepEqual(config, expected);
  const result = second.config["prevResult"];
  assert.deepEqual((result as { ips: unknown }).ips, [{ address: "10.9.8.7/24", interface: 1 }]);
  await node.network.check(request.sandboxId);
  await node.network.detach(request);
  assert.deepEqual(node.double.summary("ADD", "CHECK", "DEL"), [
    "first ADD",
    "second ADD",
    "first CHECK",
    "second CHECK",
    "second DEL",
    "first DEL",
  ]);
  for (const call of node.double.calls("CHECK", "DEL")) assert.deepEqual(call.config["prevResult"], result);
  assert.deepEqual(node.double.records(), []);
});

test("capability arguments go to the plugins that declare them", { skip }, async (t) => {
  const node = await CniNode.start(t);
  node.network.setPodCidrs(["10.1.2.0/24", "fd00:1::/64"]);
  const mapping = { protocol: "tcp", containerPort: 80, hostPort: 8080, hostIp: "" } as const;
  const request = node.request({
    portMappings: [
      mapping,
      { ...mapping, hostPort: 0 },
      { ...mapping, protocol: "udp", hostIp: "127.0.0.1" },
    ],
    annotations: { "kubernetes.io/ingress-bandwidth": "10M", "kubernetes.io/egress-bandwidth": "1.5Mi" },
    dns: { servers: ["10.0.0.10"], searches: [], options: [] },
  });
  await node.network.attach(request);
  const [first, second] = node.double.calls("ADD").map(({ config }) => config["runtimeConfig"]);
  assert.deepEqual(first, { ipRanges: [[{ subnet: "10.1.2.0/24" }], [{ subnet: "fd00:1::/64" }]] });
  assert.deepEqual(second, {
    portMappings: [
      { hostPort: 8080, containerPort: 80, protocol: "tcp" },
      { hostPort: 8080, containerPort: 80, protocol: "udp", hostIP: "127.0.0.1" },
    ],
    bandwidth: {
      ingressRate: 10_000_000,
      ingressBurst: 2 ** 31 - 1,
      egressRate: 1_572_864,
      egressBurst: 2 ** 31 - 1,
    },
  });
  await node.restart([request]);
  await node.network.detach(request);
  assert.deepEqual(node.double.calls("DEL")[0]?.config["runtimeConfig"], second);
});

test("a chain that fails in the middle is removed with what it was made with", { skip }, async (t) => {
  const node = await CniNode.start(t);
  node.double.behave("second", "ADD", `echo '{"code":11,"msg":"busy","details":"come back"}'; exit 1`);
  const request = node.request();
  await assert.rejects(node.network.attach(request), {
    code: "unavailable",
    message: `attach sandbox ${request.sandboxId.slice(0, 12)} to network podnet: plugin second ADD: busy; come back (code 11)`,
  });
  assert.ok(node.network.has(request.sandboxId));
  node.double.configure("10-pod.conflist", { ...chain(), plugins: [{ type: "other" }] });
  await node.network.detach(request);
  assert.deepEqual(node.double.summary("DEL"), ["second DEL", "first DEL"]);
  assert.equal(node.double.calls("DEL")[0]?.config["prevResult"], undefined);
  assert.equal(node.network.has(request.sandboxId), false);
});

test("DEL that fails is reported, kept and tried again", { skip }, async (t) => {
  const node = await CniNode.start(t);
  const request = node.request();
  await node.network.attach(request);
  node.double.behave("second", "DEL", "echo no >&2; exit 3");
  await assert.rejects(node.network.detach(request), /plugin second DEL: exit status 3: no$/);
  assert.deepEqual(node.double.summary("DEL"), ["second DEL"]);
  node.double.behave("second", "DEL", "");
  await node.network.detach(request);
  assert.deepEqual(node.double.summary("DEL"), ["second DEL", "second DEL", "first DEL"]);
  await node.network.detach(request);
  assert.equal(node.double.calls("DEL").length, 3);
});

test("a plugin that does not know the container has nothing to remove", { skip }, async (t) => {
  const node = await CniNode.start(t);
  const request = node.request();
  await node.network.attach(request);
  node.double.behave("second", "DEL", `echo '{"code":3,"msg":"unknown container"}'; exit 1`);
  await node.network.detach(request);
  assert.deepEqual(node.double.summary("DEL"), ["second DEL", "first DEL"]);
});

test("DEL is sent after a reboot too, without the namespace (containerd/cri#948)", { skip }, async (t) => {
  const node = await CniNode.start(t);
  const [gone, live] = [node.request(), node.request()];
  await node.network.attach(gone);
  await node.network.attach(live);
  node.double.forgetCalls();
  // An empty file is what a pin is once its mount is gone.
  node.loseNetns();
  await node.restart([live]);
  assert.deepEqual(
    node.double.calls("DEL").map(({ plugin, containerId, netns }) => ({ plugin, containerId, netns })),
    ["second", "first"].map((plugin) => ({ plugin, containerId: gone.sandboxId, netns: "" })),
  );
  const valid = [{ containerID: live.sandboxId, ifname: "eth0" }];
  const collected = node.double.calls("GC");
  assert.deepEqual(
    collected.map(({ plugin, config }) => [plugin, config["cni.dev/valid-attachments"]]),
    [
      ["first", valid],
      ["second", valid],
    ],
  );
  assert.equal(node.double.records().length, 1);
});

test("GC fails for one plugin and goes on, and is not called where it is disabled", { skip }, async (t) => {
  const node = await CniNode.start(t);
  await node.network.settle();
  node.double.forgetCalls();
  node.double.behave("first", "GC", "exit 1");
  await node.restart([]);
  assert.deepEqual(node.double.summary("GC"), ["first GC", "second GC"]);
  assert.match(node.lines.join(""), /plugin first GC: exit status 1/);
  node.double.configure("10-pod.conflist", chain("1.1.0", { disableGC: true }));
  node.double.forgetCalls();
  await node.restart([]);
  assert.deepEqual(node.double.summary("GC", "STATUS"), ["first STATUS", "second STATUS"]);
});

test("commands a version does not have are not sent", { skip }, async (t) => {
  const node = await CniNode.start(t, {}, chain("0.3.1"));
  const request = node.request();
  await node.network.attach(request);
  await node.network.check(request.sandboxId);
  await node.network.settle();
  await node.network.detach(request);
  assert.deepEqual(node.double.summary(), ["first ADD", "second ADD", "second DEL", "first DEL"]);
  assert.equal(node.double.calls("DEL")[0]?.config["prevResult"], undefined);
  const [, second] = node.double.calls("ADD");
  assert.deepEqual((second?.config["prevResult"] as { ips: unknown } | undefined)?.ips, [
    { version: "4", address: "10.9.8.7/24", interface: 1 },
  ]);
});

test("a plugin that hangs is ended with everything it started", { skip }, async (t) => {
  const node = await CniNode.start(t, { addMs: 500 });
  const mark = `43${process.pid}`;
  // A child, and a daemon in a session of its own whose parent is gone.
  node.double.behave(
    "first",
    "ADD",
    `sleep ${mark}1 & setsid sh -c 'sleep ${mark}2 & sleep ${mark}3 &' & sleep ${mark}4`,
  );
  const request = node.request();
  await assert.rejects(node.network.attach(request), { code: "deadline-exceeded" });
  const list = spawnSync("ps", ["-eo", "stat,args"], { encoding: "utf8" }).stdout;
  assert.deepEqual(
    list.split("\n").filter((line) => line.includes(`sleep ${mark}`) && !line.startsWith("Z")),
    [],
  );
  await node.network.detach(request);
});

test("a daemon's death in ADD leaves a plugin that must not go on beside DEL", { skip }, async (t) => {
  const node = await CniNode.start(t);
  node.double.behave(
    "first",
    "ADD",
    `while :; do echo x >>'${node.double.directory}/alive'; sleep 0.02; done`,
  );
  const request = node.request();
  node.network.attach(request).catch(() => {});
  await until("the plugin runs", () => fs.existsSync(path.join(node.double.directory, "alive")));
  await node.restart([]);
  const size = fs.statSync(path.join(node.double.directory, "alive")).size;
  await delay(100);
  assert.equal(fs.statSync(path.join(node.double.directory, "alive")).size, size);
  assert.deepEqual(node.double.summary("DEL"), ["second DEL", "first DEL"]);
  assert.equal(node.network.has(request.sandboxId), false);
});

test("a plugin that leaves a process with its pipes does not hold up the pod", { skip }, async (t) => {
  const node = await CniNode.start(t);
  node.double.behave("first", "ADD", "sleep 2 &");
  await node.network.attach(node.request());
});

for (const [what, shell, expected] of [
  ["prints garbage", "echo garbage; exit 0", /first ADD: the result is not JSON/],
  ["prints nothing", "exit 0", /first ADD: the result is not JSON/],
  ["prints a list", "echo '[]'; exit 0", /first ADD: the result is not a JSON object/],
  [
    "answers in another version",
    `echo '{"cniVersion":"0.2.0","ip4":{}}'; exit 0`,
    /result is of version "0.2.0"/,
  ],
  ["answers in a version to come", `echo '{"cniVersion":"9.0.0"}'; exit 0`, /result is of version "9.0.0"/],
  [
    "gives a bad address",
    `echo '{"ips":[{"address":"10.0.0.300/24"}]}'; exit 0`,
    /"10.0.0.300\/24" is no address/,
  ],
  [
    "names no such interface",
    `echo '{"ips":[{"address":"10.0.0.3/24","interface":7}]}'; exit 0`,
    /no interface 7|no address/,
  ],
  ["crashes", "kill -SEGV $$", /plugin first ADD: ended by SIGSEGV/],
  ["fails without a word", "exit 9", /plugin first ADD: exit status 9$/],
  [
    "fails with garbage",
    "echo '{\"code\":'; echo sorry >&2; exit 1",
    /plugin first ADD: exit status 1: sorry$/,
  ],
  ["prints without end", "yes", /plugin first ADD: it prints more than 1048576 bytes/],
] as const)
  test(`attach fails clearly where a plugin ${what}`, { skip }, async (t) => {
    const node = await CniNode.start(t, {}, chain("1.1.0", { plugins: [{ type: "first" }] }));
    node.double.behave("first", "ADD", shell);
    const request = node.request();
    await assert.rejects(node.network.attach(request), expected);
    await node.network.detach(request);
    assert.deepEqual(node.double.records(), []);
  });

test("a pod without an address is a failure", { skip }, async (t) => {
  const node = await CniNode.start(t);
  node.double.behave("second", "ADD", `echo '{"ips":[]}'; exit 0`);
  await assert.rejects(node.network.attach(node.request()), /gave the pod no address/);
});

test("names that would become other arguments are refused before any plugin runs", { skip }, async (t) => {
  const node = await CniNode.start(t);
  const request = node.request({ pod: { name: "a;IP=10.0.0.1", namespace: "b", uid: "c" } });
  await assert.rejects(node.network.attach(request), { code: "invalid-argument" });
  assert.equal(node.network.has(request.sandboxId), false);
  assert.deepEqual(node.double.calls("ADD"), []);
});

test("the condition follows STATUS", { skip }, async (t) => {
  const node = await CniNode.start(t);
  assert.equal(node.network.condition().ready, true);
  node.double.behave("second", "STATUS", `echo '{"code":50,"msg":"no route to the controller"}'; exit 1`);
  await node.restart([]);
  const { ready, reason, message } = node.network.condition();
  assert.deepEqual({ ready, reason }, { ready: false, reason: "NetworkPluginNotReady" });
  assert.equal(message, "plugin second STATUS: no route to the controller (code 50)");
  node.double.behave("second", "STATUS", "");
  await until("ready again", () => node.network.condition().ready);
});

test("the condition follows the directory", { skip }, async (t) => {
  const node = await CniNode.start(t);
  const { double } = node;
  assert.equal(node.network.isConfigured, true);
  double.unconfigure("10-pod.conflist");
  await until("unconfigured", () => !node.network.isConfigured);
  double.configure("10-pod.conflist", "{");
  await until("configured", () => node.network.isConfigured);
  assert.match(node.network.condition().message, /10-pod.conflist: the configuration is not JSON/);
  double.configure("10-pod.conflist", chain("1.1.0", { plugins: [{ type: "missing" }] }));
  await until("missing plugin seen", () => /plugin missing is not in/.test(node.network.condition().message));
  assert.equal(node.network.condition().ready, false);
  double.install("missing");
  await until("ready", () => node.network.condition().ready);
  double.configure("05-other.conf", { cniVersion: "1.0.0", name: "other", type: "first" });
  await until("the first by name", () => node.lines.join("").includes("network=other cni=1.0.0"));
  await node.network.attach(node.request());
  assert.equal(double.calls("ADD").at(-1)?.config["name"], "other");
});

test("the version is the latest that configuration and plugins share", { skip }, async (t) => {
  const plugins = `echo '{"cniVersion":"1.1.0","supportedVersions":["0.1.0","0.4.0","1.0.0"]}'; exit 0`;
  const node = new CniNode({}, chain("0.3.1", { cniVersions: ["0.4.0", "1.0.0", "1.1.0", "2.0.0"] }));
  t.after(() => node.close());
  node.double.behave("first", "VERSION", plugins);
  await node.restart([]);
  await node.network.attach(node.request());
  assert.equal(node.double.calls("ADD")[0]?.config["cniVersion"], "1.0.0");
  node.double.configure("10-pod.conflist", chain("1.1.0"));
  await node.restart([]);
  assert.match(
    node.network.condition().message,
    /^network podnet is configured for CNI 1.1.0, but first speaks 0.1.0, 0.4.0, 1.0.0; second speaks/,
  );
  node.double.behave("first", "VERSION", "echo garbage; exit 0");
  await node.restart([]);
  assert.equal(node.network.condition().ready, true);
});

test("many attachments at once", { skip }, async (t) => {
  const node = await CniNode.start(t);
  const requests = Array.from({ length: 12 }, () => node.request());
  await Promise.all(requests.map((request) => node.network.attach(request)));
  assert.equal(node.double.records().length, 12);
  await Promise.all(requests.map((request) => node.network.detach(request)));
  assert.deepEqual(node.double.records(), []);
});
