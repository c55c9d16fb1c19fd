import assert from "node:assert/strict";
import { mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { hasCode, messageOf } from "../../../src/base/errors.ts";
import { newId } from "../../../src/base/ids.ts";
import { readInterfaceStatistics } from "../../../src/network/pod-link.ts";
import { requires } from "../../support/requires.ts";
import { enterPrivateNetns } from "./private-netns.ts";
import { bridgeName, inPod, ip, leasesIn, linkNames, links, makeNetwork } from "./network-fixture.ts";
import { isDeepStrictEqual } from "node:util";
import { until } from "../../support/until.ts";

const needs = requires("root", "package:iproute2");
if (needs.skip === undefined) await enterPrivateNetns();

test("`attach()` connects pods with the host and each other over IPv4 and IPv6", needs, async (t) => {
  const fixture = makeNetwork(t, { subnet6: "fd00:199::/64" });
  const [one, two] = [await fixture.startPod(), await fixture.startPod()];
  const attachment = await fixture.network.attach(one.attachRequest());
  assert.deepEqual(attachment, { ips: ["10.199.0.2", "fd00:199::2"], interfaceName: "eth0" });
  await fixture.network.attach(two.attachRequest());
  await two.run({ op: "serveTcp", port: 80, host: "::" });
  const ask = (host: string): Promise<string> => one.run({ op: "tcp", host, port: 80, text: "hi" });
  assert.equal(await ask("10.199.0.3"), "::ffff:10.199.0.2 hi");
  assert.equal(await ask("fd00:199::3"), "fd00:199::2 hi");
  assert.equal(await one.run({ op: "tcp", host: "127.0.0.1", port: 80, text: "" }), "error: ECONNREFUSED");
  assert.equal(await one.run({ op: "tcp", host: "10.199.0.1", port: 80, text: "" }), "error: ECONNREFUSED");
  const routes = inPod(one, "ip", "route", "show", "default").trim();
  assert.equal(routes, "default via 10.199.0.1 dev eth0 proto static");
});

test("`attach()` takes over the MTU of the host's default route", needs, async (t) => {
  ip("link", "add", "narrow0", "mtu", "1400", "type", "veth", "peer", "name", "narrow1");
  ip("link", "set", "narrow1", "up");
  t.after(() => ip("link", "delete", "narrow0"));
  ip("addr", "add", "198.51.100.2/24", "dev", "narrow0");
  ip("link", "set", "narrow0", "up");
  ip("route", "add", "default", "via", "198.51.100.1");
  const fixture = makeNetwork(t);
  const pod = await fixture.startPod();
  await fixture.network.attach(pod.attachRequest());
  assert.match(inPod(pod, "ip", "link", "show", "eth0"), / mtu 1400 /);
});

test("`detach()` removes link and address, twice is as good as once", needs, async (t) => {
  const fixture = makeNetwork(t);
  const pod = await fixture.startPod();
  await fixture.network.attach(pod.attachRequest());
  await fixture.network.detach(pod.detachRequest());
  await fixture.network.detach(pod.detachRequest());
  await fixture.network.settle();
  await fixture.network.detach(pod.detachRequest());
  assert.deepEqual(leasesIn(fixture.config.stateDir), []);
  assert.deepEqual(
    (await linkNames()).filter((name) => name.startsWith("crk")),
    [],
  );
});

test("`detach()` releases the address when the network namespace is gone already", needs, async (t) => {
  const fixture = makeNetwork(t);
  const pod = await fixture.startPod();
  await fixture.network.attach(pod.attachRequest());
  const request = pod.detachRequest();
  ip("link", "delete", `crk${pod.sandboxId.slice(0, 12)}`);
  await fixture.network.detach(request);
  assert.deepEqual(leasesIn(fixture.config.stateDir), []);
});

test("`detach()` of a sandbox that was never attached succeeds", needs, async (t) => {
  const { network } = makeNetwork(t);
  const pod = { name: "p", namespace: "n", uid: "u" };
  await network.detach({ sandboxId: newId(), pod, netnsPath: "/nowhere", portMappings: [] });
});

test("`attach()` that fails in the pod leaves nothing, and the next one works", needs, async (t) => {
  const fixture = makeNetwork(t);
  const [pod, other] = [await fixture.startPod(), await fixture.startPod()];
  // A route socket of another namespace: the pair is made, the configuration of the pod's end fails.
  const wrong = { ...pod.attachRequest(), routeSocket: other.routeSocket };
  await assert.rejects(fixture.network.attach(wrong), /look up eth0: ENODEV/);
  await fixture.network.settle();
  assert.deepEqual(leasesIn(fixture.config.stateDir), []);
  assert.deepEqual(
    (await linkNames()).filter((name) => name.startsWith("crk")),
    [],
  );
  await fixture.network.attach(pod.attachRequest());
});

test("`detach()` removes what an attach left that was killed half way", needs, async (t) => {
  const fixture = makeNetwork(t);
  const [pod, alive] = [await fixture.startPod(), await fixture.startPod()];
  await fixture.network.attach(alive.attachRequest());
  // Lease written, pair created, no alias yet.
  writeFileSync(join(fixture.config.stateDir, "10.199.0.0-24", "10.199.0.77"), pod.sandboxId);
  const name = `crk${pod.sandboxId.slice(0, 12)}`;
  ip(
    "link",
    "add",
    name,
    "master",
    bridgeName,
    "type",
    "veth",
    "peer",
    "name",
    "eth0",
    "netns",
    String(pod.pid),
  );
  const network = fixture.restart();
  await network.detach(pod.detachRequest());
  await network.settle();
  assert.deepEqual(leasesIn(fixture.config.stateDir), ["10.199.0.2"]);
  assert.ok(!(await linkNames()).includes(name));
});

test("`attach()` says when all addresses are taken, and works when one is free again", needs, async (t) => {
  const fixture = makeNetwork(t, { subnet: "10.199.0.0/30" });
  const [one, two] = [await fixture.startPod(), await fixture.startPod()];
  await fixture.network.attach(one.attachRequest());
  await assert.rejects(
    fixture.network.attach(two.attachRequest()),
    (error) =>
      hasCode(error, "resource-exhausted") && messageOf(error).startsWith("no free address in 10.199.0.0/30"),
  );
  // The address comes free in the background; the next attach waits for it.
  await fixture.network.detach(one.detachRequest());
  assert.deepEqual((await fixture.network.attach(two.attachRequest())).ips, ["10.199.0.2"]);
});

test(
  "`condition()` tells that the bridge's name is another kind of interface, until it is gone",
  needs,
  async (t) => {
    ip("link", "add", bridgeName, "type", "veth", "peer", "name", "other0");
    const fixture = makeNetwork(t);
    const pod = await fixture.startPod();
    const message = `pod network: interface ${bridgeName} is of kind veth, not a bridge`;
    await assert.rejects(fixture.network.attach(pod.attachRequest()), (error) =>
      hasCode(error, "failed-precondition"),
    );
    assert.deepEqual(fixture.network.condition(), { ready: false, reason: "BridgeNotReady", message });
    assert.deepEqual(leasesIn(fixture.config.stateDir), []);
    ip("link", "delete", bridgeName);
    while (!fixture.network.condition().ready) await new Promise((resolve) => setTimeout(resolve, 5));
    await fixture.network.attach(pod.attachRequest());
  },
);

test("`recover()` notes that the subnet is in use on another interface", needs, async (t) => {
  ip("link", "add", "other0", "type", "veth", "peer", "name", "other1");
  t.after(() => ip("link", "delete", "other0"));
  ip("addr", "add", "10.199.0.9/24", "dev", "other0");
  const { network } = makeNetwork(t);
  await network.recover([]);
  assert.equal(
    network.condition().message,
    "pod network: subnet 10.199.0.0/24 is in use on interface other0",
  );
});

test(
  "`attach()` refuses an interface name that another sandbox has, and leaves that one alone",
  needs,
  async (t) => {
    const fixture = makeNetwork(t);
    const one = await fixture.startPod();
    const two = await fixture.startPod(one.sandboxId.slice(0, 12) + newId().slice(12));
    await fixture.network.attach(one.attachRequest());
    await assert.rejects(
      fixture.network.attach(two.attachRequest()),
      (error) =>
        hasCode(error, "already-exists") && messageOf(error).endsWith(`belongs to sandbox ${one.sandboxId}`),
    );
    await fixture.network.detach(two.detachRequest());
    await fixture.network.settle();
    await fixture.network.check(one.sandboxId);
    assert.deepEqual(leasesIn(fixture.config.stateDir), ["10.199.0.2"]);
  },
);

test("`attach()` refuses a namespace that has an eth0 already", needs, async (t) => {
  const fixture = makeNetwork(t);
  const pod = await fixture.startPod();
  inPod(pod, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1");
  await assert.rejects(fixture.network.attach(pod.attachRequest()), /has an interface eth0 already/);
  assert.deepEqual(leasesIn(fixture.config.stateDir), []);
});

test("`attach()` makes the bridge again when somebody removed it", needs, async (t) => {
  const fixture = makeNetwork(t);
  const [one, two] = [await fixture.startPod(), await fixture.startPod()];
  await fixture.network.attach(one.attachRequest());
  ip("link", "delete", bridgeName);
  await fixture.network.attach(two.attachRequest());
  await fixture.network.check(two.sandboxId);
  await assert.rejects(fixture.network.check(one.sandboxId), /is not a port of cricket-t0/);
  // A restart brings the first pod back as well.
  await fixture.restart().recover([one.detachRequest(), two.detachRequest()]);
  await fixture.network.check(one.sandboxId);
  await two.run({ op: "serveTcp", port: 80, host: "0.0.0.0" });
  assert.equal(await one.run({ op: "tcp", host: "10.199.0.3", port: 80, text: "x" }), "10.199.0.2 x");
});

test(
  "`recover()` keeps live sandboxes and removes links, leases and garbage of all others",
  needs,
  async (t) => {
    const fixture = makeNetwork(t);
    const [alive, dead] = [await fixture.startPod(), await fixture.startPod()];
    await fixture.network.attach(alive.attachRequest());
    await fixture.network.attach(dead.attachRequest());
    const leases = join(fixture.config.stateDir, "10.199.0.0-24");
    writeFileSync(join(leases, "10.199.0.50"), newId());
    writeFileSync(join(leases, "10.199.0.51"), "");
    writeFileSync(join(leases, "10.199.0.52"), "\0\xff");
    mkdirSync(join(leases, "10.199.0.53"));
    const network = fixture.restart();
    await network.recover([alive.detachRequest()]);
    await network.settle();
    assert.deepEqual(leasesIn(fixture.config.stateDir).sort(), ["10.199.0.2", "10.199.0.53"]);
    await network.check(alive.sandboxId);
    await assert.rejects(network.check(dead.sandboxId), /has no address/);
    const names = (await links()).filter((link) => link.kind === "veth").map(({ name }) => name);
    assert.deepEqual(names, [`crk${alive.sandboxId.slice(0, 12)}`]);
    rmdirSync(join(leases, "10.199.0.53"));
  },
);

test("`recover()` leaves the links of another bridge's daemon alone", needs, async (t) => {
  const fixture = makeNetwork(t);
  ip("link", "add", "crk000000000000", "type", "veth", "peer", "name", "crkpeer");
  ip("link", "set", "crk000000000000", "alias", `cricket another0 ${newId()}`);
  await fixture.network.recover([]);
  await fixture.network.settle();
  assert.ok((await linkNames()).includes("crk000000000000"));
  ip("link", "delete", "crk000000000000");
});

test("`check()` names what is wrong", needs, async (t) => {
  const fixture = makeNetwork(t);
  const pod = await fixture.startPod();
  await fixture.network.attach(pod.attachRequest());
  await fixture.network.check(pod.sandboxId);
  inPod(pod, "ip", "link", "set", "eth0", "down");
  await assert.rejects(fixture.network.check(pod.sandboxId), /or its peer is down/);
  ip("link", "delete", `crk${pod.sandboxId.slice(0, 12)}`);
  await assert.rejects(fixture.network.check(pod.sandboxId), /is gone/);
  await assert.rejects(fixture.network.check(newId()), /has no address/);
});

test("`statistics()` counts in the pod's directions, as the pod itself does", needs, async (t) => {
  const fixture = makeNetwork(t);
  const [sender, receiver] = [await fixture.startPod(), await fixture.startPod()];
  await fixture.network.attach(sender.attachRequest());
  await fixture.network.attach(receiver.attachRequest());
  await receiver.run({ op: "serveTcp", port: 80, host: "0.0.0.0" });
  const text = "x".repeat(100_000);
  await sender.run({ op: "tcp", host: "10.199.0.3", port: 80, text });
  for (const pod of [sender, receiver]) {
    let fromHost = await fixture.network.statisticsOf(pod.sandboxId);
    // Neighbour discovery counts too, and may come between the two.
    await until("the same from both", async () => {
      const before = fromHost;
      fromHost = (await fixture.network.statistics()).get(pod.sandboxId);
      return isDeepStrictEqual(before, fromHost);
    });
    const fromPod = await readInterfaceStatistics(pod.routeSocket);
    assert.ok(fromHost !== undefined && fromPod !== undefined);
    assert.ok(fromPod.txBytes >= 100_000n && fromHost.txBytes >= 100_000n);
    assert.ok(fromPod.rxBytes >= 100_000n && fromHost.rxBytes >= 100_000n);
  }
  assert.equal(await readInterfaceStatistics(sender.routeSocket, "eth9"), undefined);
  assert.equal(await fixture.network.statisticsOf(newId()), undefined);
});

test("`attach()` of many pods at once gives each its own address", needs, async (t) => {
  const fixture = makeNetwork(t);
  const pod = await fixture.startPod();
  const sandboxes = Array.from({ length: 20 }, newId);
  // One namespace stands for all: only the first may have an eth0, the others fail after they took an address.
  const results = await Promise.allSettled(
    sandboxes.map((sandboxId) => fixture.network.attach({ ...pod.attachRequest(), sandboxId })),
  );
  const attached = results.filter((result) => result.status === "fulfilled");
  assert.equal(attached.length, 1);
  await fixture.network.settle();
  assert.equal(leasesIn(fixture.config.stateDir).length, 1);
  for (const sandboxId of sandboxes) await fixture.network.detach({ ...pod.detachRequest(), sandboxId });
});

test("`close()` leaves the network of live pods and removes an unused one", needs, async (t) => {
  const fixture = makeNetwork(t);
  const pod = await fixture.startPod();
  await fixture.network.attach(pod.attachRequest());
  await fixture.network.close();
  assert.ok((await linkNames()).includes(bridgeName));
  const network = fixture.restart();
  await network.recover([pod.detachRequest()]);
  await network.check(pod.sandboxId);
});
