// The configuration directory while it is written to, by installers and by those who only keep files there.
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

test("files that are no configuration change nothing", { skip }, async (t) => {
  const node = await CniNode.start(t);
  await node.network.settle();
  node.double.forgetCalls();
  for (const name of ["calico-kubeconfig", "10-pod.conflist.tmp", ".10-pod.conflist.swp"])
    node.double.configure(name, "token");
  // The same again, as an installer in a loop writes it.
  node.double.configure("10-pod.conflist", chain());
  await delay(300);
  assert.equal(node.network.condition().ready, true);
  assert.deepEqual(node.double.calls("VERSION", "STATUS"), []);
});

test(
  "a configuration that changes is ready until its plugins deny it; pods wait for them",
  { skip },
  async (t) => {
    const node = await CniNode.start(t);
    const { directory } = node.double;
    node.double.behave(
      "first",
      "STATUS",
      `touch '${directory}/asked'; while [ ! -e '${directory}/go' ]; do sleep 0.02; done`,
    );
    node.double.configure("10-pod.conflist", chain("1.1.0", { name: "other" }));
    await until("the plugins are asked", () => fs.existsSync(path.join(directory, "asked")));
    assert.equal(node.network.condition().ready, true);
    const attached = node.network.attach(node.request());
    await delay(100);
    assert.deepEqual(node.double.summary("ADD"), []);
    fs.writeFileSync(path.join(directory, "go"), "");
    await attached;
    assert.equal(node.double.calls("ADD")[0]?.config["name"], "other");
    await until(
      "garbage of the other network",
      () => node.double.calls("GC").at(-1)?.config["name"] === "other",
    );
  },
);

test("a file that is half written is no network until it is whole", { skip }, async (t) => {
  const node = await CniNode.start(t);
  const file = path.join(node.double.confDir, "10-pod.conflist");
  const text = JSON.stringify(chain("1.0.0"));
  fs.writeFileSync(file, text.slice(0, 40));
  await until("half of it seen", () => !node.network.condition().ready);
  assert.match(node.network.condition().message, /10-pod.conflist: the configuration is not JSON/);
  await assert.rejects(node.network.attach(node.request()), { code: "unavailable" });
  fs.appendFileSync(file, text.slice(40));
  await until("ready", () => node.network.condition().ready);
  await node.network.attach(node.request());
  assert.equal(node.double.calls("ADD")[0]?.config["cniVersion"], "1.0.0");
});

test("files that come and go while they are read leave the last word to the last", { skip }, async (t) => {
  const node = await CniNode.start(t);
  for (let round = 0; round < 40; round++) {
    node.double.configure(`05-${round % 3}.conflist`, chain("1.1.0", { name: `n${round}` }));
    if (round % 2 === 1) node.double.unconfigure(`05-${round % 3}.conflist`);
    await delay(5);
  }
  for (const name of fs.readdirSync(node.double.confDir)) node.double.unconfigure(name);
  node.double.configure("10-pod.conflist", chain("1.1.0", { name: "last" }));
  await until("the last one is in use", () => node.lines.join("").includes('ready" network=last '));
  await node.network.attach(node.request());
  assert.equal(node.double.calls("ADD").at(-1)?.config["name"], "last");
});

test("a directory above that is replaced takes the configuration along", { skip }, async (t) => {
  const node = await CniNode.start(t, {}, chain());
  const { directory, confDir } = node.double;
  const fresh = path.join(directory, "fresh");
  fs.mkdirSync(fresh);
  fs.writeFileSync(path.join(fresh, "10-pod.conflist"), JSON.stringify(chain("1.1.0", { name: "fresh" })));
  fs.renameSync(confDir, path.join(directory, "old"));
  fs.renameSync(fresh, confDir);
  await until("the new directory is read", () => node.lines.join("").includes('ready" network=fresh '));
  node.double.configure("10-pod.conflist", chain("1.1.0", { name: "fresher" }));
  await until("and watched", () => node.lines.join("").includes('ready" network=fresher '));
});
