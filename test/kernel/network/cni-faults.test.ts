// Plugins that hang, lie and fail at a bad moment, and daemons that die at one.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { until } from "../../support/until.ts";
import { chain, CniNode } from "./cni-node.ts";
import { enterPrivateNetns, skipUnlessRoot } from "./private-netns.ts";

const skip = skipUnlessRoot;
if (skip === false) await enterPrivateNetns();

/** Shell that holds a plugin up until `open` is called. */
function gate(node: CniNode, name: string): { shell: string; isReached: () => boolean; open: () => void } {
  const file = path.join(node.double.directory, name);
  return {
    shell: `touch '${file}.reached'; while [ ! -e '${file}' ]; do sleep 0.02; done`,
    isReached: () => fs.existsSync(`${file}.reached`),
    open: () => fs.writeFileSync(file, ""),
  };
}

test("DEL waits for the ADD of its pod", { skip }, async (t) => {
  const node = await CniNode.start(t);
  const adding = gate(node, "add");
  node.double.behave("first", "ADD", adding.shell);
  const request = node.request();
  const attached = node.network.attach(request);
  await until("ADD runs", adding.isReached);
  const detached = node.network.detach(request);
  // Another pod is not held up.
  node.double.behave("first", "ADD", "");
  await node.network.attach(node.request());
  assert.deepEqual(node.double.summary("DEL"), []);
  adding.open();
  await attached;
  await detached;
  assert.deepEqual(node.double.summary("ADD", "DEL").slice(-3), ["second ADD", "second DEL", "first DEL"]);
});

test("no ADD runs beside GC, which the time limit ends", { skip }, async (t) => {
  const node = await CniNode.start(t, { gcMs: 500 });
  await node.network.settle();
  node.double.behave("first", "GC", `touch '${node.double.directory}/collecting'; sleep 1000`);
  node.double.forgetCalls();
  const restarted = node.restart([]);
  await until("GC runs", () => fs.existsSync(path.join(node.double.directory, "collecting")));
  const attached = node.network.attach(node.request());
  await delay(100);
  assert.deepEqual(node.double.summary("ADD"), []);
  await restarted;
  await attached;
  assert.deepEqual(node.double.summary("GC", "ADD"), ["first GC", "second GC", "first ADD", "second ADD"]);
  assert.match(node.lines.join(""), /plugin first GC: no end after 500 ms/);
});

test("GC does not vouch for an attachment whose DEL fails", { skip }, async (t) => {
  const node = await CniNode.start(t);
  const [gone, live] = [node.request(), node.request()];
  await node.network.attach(gone);
  await node.network.attach(live);
  node.double.behave("second", "DEL", "exit 1");
  await node.restart([live]);
  assert.deepEqual(node.double.calls("GC").at(-1)?.config["cni.dev/valid-attachments"], [
    { containerID: live.sandboxId, ifname: "eth0" },
  ]);
  assert.ok(node.network.has(gone.sandboxId));
  node.double.behave("second", "DEL", "");
  await node.restart([live]);
  assert.equal(node.network.has(gone.sandboxId), false);
});

test("CHECK is sent at start for pods that live, and what is broken is logged", { skip }, async (t) => {
  const node = await CniNode.start(t);
  const [broken, whole] = [node.request(), node.request()];
  await node.network.attach(broken);
  await node.network.attach(whole);
  node.double.behave(
    "second",
    "CHECK",
    `[ $CNI_CONTAINERID = ${whole.sandboxId} ] || { echo '{"code":101,"msg":"route is gone"}'; exit 1; }`,
  );
  await node.restart([broken, whole]);
  assert.deepEqual(node.double.summary("CHECK"), [
    "first CHECK",
    "second CHECK",
    "first CHECK",
    "second CHECK",
  ]);
  const warnings = node.lines.filter((line) => line.includes("network of a pod is not as it was made"));
  assert.equal(warnings.length, 1);
  assert.match(
    warnings.join(""),
    new RegExp(`${broken.sandboxId.slice(0, 12)}.*route is gone \\(code 101\\)`),
  );
});

test("CHECK is not sent where the configuration disables it", { skip }, async (t) => {
  const node = await CniNode.start(t, {}, chain("1.1.0", { disableCheck: true }));
  const request = node.request();
  await node.network.attach(request);
  await node.restart([request]);
  await node.network.check(request.sandboxId);
  assert.deepEqual(node.double.summary("CHECK"), []);
});

test("a daemon that dies between ADD and its record sends DEL without a result", { skip }, async (t) => {
  const node = await CniNode.start(t);
  const request = node.request();
  await node.network.attach(request);
  const [name = ""] = node.double.records();
  const file = path.join(node.double.stateDir, "results", name);
  const { result: _result, ...begun } = JSON.parse(fs.readFileSync(file, "utf8")) as Record<string, unknown>;
  fs.writeFileSync(file, JSON.stringify(begun));
  await node.restart([]);
  assert.deepEqual(node.double.summary("DEL"), ["second DEL", "first DEL"]);
  for (const { config, netns } of node.double.calls("DEL"))
    assert.deepEqual([config["prevResult"], netns], [undefined, node.netnsPath]);
  assert.deepEqual(node.double.records(), []);
});

test("a plugin that hangs in DEL is ended, and DEL is sent again", { skip }, async (t) => {
  const node = await CniNode.start(t, { deleteMs: 500 });
  const request = node.request();
  await node.network.attach(request);
  node.double.behave("second", "DEL", "sleep 1000");
  await assert.rejects(node.network.detach(request), /plugin second DEL: no end after 500 ms/);
  node.double.behave("second", "DEL", "");
  await node.network.detach(request);
  assert.deepEqual(node.double.records(), []);
});

test("a plugin that is not installed any more keeps the attachment until it is", { skip }, async (t) => {
  const node = await CniNode.start(t);
  const request = node.request();
  await node.network.attach(request);
  node.double.uninstall("first");
  await assert.rejects(node.network.detach(request), /plugin first is not in /);
  node.double.install("first");
  await node.network.detach(request);
  assert.deepEqual(node.double.summary("DEL"), ["second DEL", "second DEL", "first DEL"]);
});

for (const [what, command, shell, expected] of [
  ["hangs in VERSION", "VERSION", "sleep 1000", /^plugin first VERSION: no end after 300 ms$/],
  ["hangs in STATUS", "STATUS", "sleep 1000", /^plugin first STATUS: no end after 300 ms$/],
  ["crashes in STATUS", "STATUS", "kill -SEGV $$", /^plugin first STATUS: ended by SIGSEGV$/],
  [
    "names versions nobody speaks",
    "VERSION",
    `echo '{"supportedVersions":["9.0.0"]}'; exit 0`,
    /^network podnet is configured for CNI 1.1.0, but first speaks 9.0.0; second speaks/,
  ],
] as const)
  test(`the network is not ready where a plugin ${what}`, { skip }, async (t) => {
    const node = await CniNode.start(t, { versionMs: 300, statusMs: 300 });
    node.double.behave("first", command, shell);
    await node.restart([]);
    const { ready, message } = node.network.condition();
    assert.equal(ready, false);
    assert.match(message, expected);
    node.double.behave("first", command, "");
    await until("ready again", () => node.network.condition().ready);
    await node.network.attach(node.request());
  });

for (const [what, answer] of [
  ["is no list", `{"supportedVersions":"1.1.0"}`],
  ["is a list of other things", `{"supportedVersions":[1.1]}`],
  ["is an error", `{"code":4,"msg":"unknown CNI_COMMAND: VERSION"}`],
] as const)
  test(`an answer to VERSION that ${what} leaves what is configured`, { skip }, async (t) => {
    const node = await CniNode.start(t);
    node.double.behave("first", "VERSION", `echo '${answer}'; exit 0`);
    await node.restart([]);
    await node.network.attach(node.request());
    assert.equal(node.double.calls("ADD")[0]?.config["cniVersion"], "1.1.0");
  });

test("a plugin that lies about its versions fails the pod with its own words", { skip }, async (t) => {
  const node = await CniNode.start(t);
  const says = `{"cniVersion":"0.2.0","code":1,"msg":"incompatible CNI versions","details":"config is 1.1.0"}`;
  node.double.behave("second", "ADD", `echo '${says}'; exit 1`);
  const request = node.request();
  await assert.rejects(
    node.network.attach(request),
    /plugin second ADD: incompatible CNI versions; config is 1.1.0 \(code 1\)$/,
  );
  await node.network.detach(request);
  assert.deepEqual(node.double.records(), []);
});

for (const command of ["ADD", "STATUS"])
  test(
    `a plugin that is replaced by an older one, which ${command} shows, is asked again`,
    { skip },
    async (t) => {
      const node = await CniNode.start(t, {}, chain("1.0.0", { cniVersions: ["1.1.0"] }));
      await node.network.settle();
      const speaks = `echo '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}'; exit 0`;
      const refusal = `[ $version = 1.0.0 ] || { echo '{"code":1,"msg":"incompatible CNI versions"}'; exit 1; }`;
      node.double.behave("second", "VERSION", speaks);
      node.double.behave("second", command, refusal);
      if (command === "ADD") await assert.rejects(node.network.attach(node.request()), /incompatible/);
      // The last answer counts for a few seconds.
      const isOlder = (): boolean => node.lines.join("").includes('ready" network=podnet cni=1.0.0');
      await until("1.0.0 is spoken", () => node.network.condition().ready && isOlder());
      await node.network.attach(node.request());
      assert.equal(node.double.calls("ADD").at(-1)?.config["cniVersion"], "1.0.0");
    },
  );

test("what is reserved in a configuration does not reach the plugins", { skip }, async (t) => {
  const stray = { prevResult: { ips: [] }, "cni.dev/valid-attachments": [], runtimeConfig: { kept: true } };
  const plugins = [{ type: "first", capabilities: { dns: true }, ...stray }, { type: "second" }];
  const node = await CniNode.start(t, {}, chain("1.1.0", { plugins }));
  await node.network.attach(node.request());
  assert.deepEqual(node.double.calls("ADD")[0]?.config, {
    type: "first",
    runtimeConfig: { kept: true },
    cniVersion: "1.1.0",
    name: "podnet",
  });
});

test(
  "of the protocol's variables the daemon has, plugins get the operator's one alone",
  { skip },
  async (t) => {
    const node = await CniNode.start(t);
    const file = path.join(node.double.directory, "environment");
    const variables = { CNI_NETNS_OVERRIDE: "true", CNI_CONTAINERID: "other", CNI_OTHER: "x" };
    Object.assign(process.env, variables);
    t.after(() => {
      for (const name of Object.keys(variables)) delete process.env[name];
    });
    node.double.behave("first", "STATUS", `env >'${file}'`);
    await node.restart([]);
    const given = fs.readFileSync(file, "utf8").split("\n");
    assert.deepEqual(given.filter((line) => line.startsWith("CNI_")).sort(), [
      "CNI_COMMAND=STATUS",
      "CNI_NETNS_OVERRIDE=true",
      `CNI_PATH=${node.double.binDir}`,
    ]);
  },
);
