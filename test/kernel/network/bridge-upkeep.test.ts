// What other programs of the node do to the pod network, and its own mistakes: a network that is in the way.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { Log } from "../../../src/base/log.ts";
import { newId } from "../../../src/base/ids.ts";
import { CniHostPorts } from "../../../src/network/cni/cni-host-ports.ts";
import { parseIp } from "../../../src/network/ip-address.ts";
import { requires } from "../../support/requires.ts";
import { until } from "../../support/until.ts";
import { exchangeTcp } from "./exchange.ts";
import { enterPrivateNetns } from "./private-netns.ts";
import {
  bridgeName,
  inPod,
  ip,
  leasesIn,
  linkNames,
  links,
  makeNetwork,
  tcpPort,
} from "./network-fixture.ts";

const needs = requires("root", "package:iproute2", "package:nftables");
if (needs.skip === undefined) await enterPrivateNetns();

const withIptables = requires("root", "package:iproute2", "package:nftables", "package:iptables");
const iptables = (...args: string[]): string => execFileSync("iptables", args, { encoding: "utf8" });
const nft = (...args: string[]): string => execFileSync("nft", args, { encoding: "utf8" });
const forwarding = "/proc/sys/net/ipv4/ip_forward";

for (const [what, command] of [
  ["all rules are flushed", ["flush", "ruleset"]],
  ["the rules of our table are", ["flush", "table", "inet", `cricket-${bridgeName}`]],
] as const)
  test(`the rules are written again when ${what}`, needs, async (t) => {
    const fixture = makeNetwork(t, { hostPorts: "nft" });
    const neighbour = await fixture.startNeighbour();
    await neighbour.run({ op: "serveTcp", port: 80, host: "0.0.0.0" });
    const pod = await fixture.startPod();
    await fixture.network.attach(pod.attachRequest([tcpPort(8080, 80)]));
    await pod.run({ op: "serveTcp", port: 80, host: "0.0.0.0" });
    nft(...command);
    const table = (): string => nft("list", "ruleset");
    assert.ok(!table().includes("masquerade"));
    fixture.network.condition();
    await until("the rules are back", () => table().includes("masquerade"));
    assert.equal(await pod.run({ op: "tcp", host: "192.0.2.2", port: 80, text: "hi" }), "192.0.2.1 hi");
    assert.equal(
      await neighbour.run({ op: "tcp", host: "192.0.2.1", port: 8080, text: "hi" }),
      "192.0.2.2 hi",
    );
    assert.match(fixture.log.join(""), /packet rules were gone/);
  });

test("forwarding that is turned off is turned on again", needs, async (t) => {
  const fixture = makeNetwork(t);
  const pod = await fixture.startPod();
  await fixture.network.attach(pod.attachRequest());
  writeFileSync(forwarding, "0");
  fixture.network.condition();
  await until("it forwards", () => readFileSync(forwarding, "utf8").trim() === "1");
});

test("nothing is looked after where there are no pods", needs, async (t) => {
  const fixture = makeNetwork(t);
  writeFileSync(forwarding, "0");
  t.after(() => writeFileSync(forwarding, "1"));
  fixture.network.condition();
  await fixture.network.close();
  assert.equal(readFileSync(forwarding, "utf8").trim(), "0");
  fixture.restart();
});

for (const [what, command] of [
  ["removed", ["link", "delete", bridgeName]],
  ["taken down", ["link", "set", bridgeName, "down"]],
  ["robbed of its address", ["addr", "flush", "dev", bridgeName]],
] as const)
  test(`pods find each other again when the bridge was ${what}`, needs, async (t) => {
    const fixture = makeNetwork(t, { subnet6: "fd00:199::/64" });
    const [one, two] = [await fixture.startPod(), await fixture.startPod()];
    await fixture.network.attach(one.attachRequest());
    await fixture.network.attach(two.attachRequest());
    await two.run({ op: "serveTcp", port: 80, host: "::" });
    ip(...command);
    fixture.network.condition();
    const works = async (): Promise<boolean> => {
      const bridge = (await links()).find(({ name }) => name === bridgeName);
      return bridge?.carrier === true && ip("addr", "show", bridgeName).includes("10.199.0.1/24");
    };
    await until("the bridge is back", works);
    for (const pod of [one, two]) await until("its port", () => isAttached(fixture.network, pod.sandboxId));
    for (const host of ["10.199.0.3", "fd00:199::3"])
      assert.match(await one.run({ op: "tcp", host, port: 80, text: "x" }), / x$/);
    const node = { op: "tcp", host: "10.199.0.1", port: 80, text: "" } as const;
    assert.equal(await one.run(node), "error: ECONNREFUSED");
  });

async function isAttached(network: { check(id: string): Promise<void> }, id: string): Promise<boolean> {
  return network.check(id).then(
    () => true,
    () => false,
  );
}

test("pods get through where docker has iptables drop what is forwarded", withIptables, async (t) => {
  const fixture = makeNetwork(t);
  const neighbour = await fixture.startNeighbour();
  await neighbour.run({ op: "serveTcp", port: 80, host: "0.0.0.0" });
  const pod = await fixture.startPod();
  const outside = { op: "tcp", host: "192.0.2.2", port: 80, text: "hi" } as const;
  iptables("-P", "FORWARD", "DROP");
  t.after(() => nft("delete", "table", "ip", "filter"));
  await fixture.network.attach(pod.attachRequest());
  assert.equal(await pod.run(outside), "192.0.2.1 hi");
  iptables("-F", "FORWARD");
  fixture.network.condition();
  await until("the rules are back", () => iptables("-S", "FORWARD").includes(`-o ${bridgeName} -j ACCEPT`));
  assert.equal(await pod.run(outside), "192.0.2.1 hi");
  await fixture.network.detach(pod.detachRequest());
  await fixture.network.close();
  assert.equal(iptables("-S", "FORWARD"), "-P FORWARD DROP\n");
  fixture.restart();
});

test("a firewall of the operator's own that drops what is forwarded is named", needs, async (t) => {
  nft("add table inet own; add chain inet own others { type filter hook forward priority 0; policy drop; }");
  t.after(() => nft("delete", "table", "inet", "own"));
  const fixture = makeNetwork(t);
  const pod = await fixture.startPod();
  await fixture.network.attach(pod.attachRequest());
  assert.match(fixture.network.condition().message, /^chain inet own others drops what pods send/);
});

test("rules of host ports on CNI networks are written again", needs, async () => {
  const lines: string[] = [];
  const log = new Log({ write: (line) => lines.push(line) });
  const ports = new CniHostPorts({ bridgeName: "t7", mode: "nft" }, log);
  const [id, address] = [newId(), { ...parseIp("10.7.7.7", "address") }];
  await ports.open(
    id,
    [tcpPort(18_081, 80)],
    () => Promise.resolve(),
    () => [address],
  );
  nft("flush", "ruleset");
  ports.tend();
  await until("the port is back", () => nft("list", "ruleset").includes("18081"));
  await ports.release(id);
  await ports.close();
  assert.ok(!nft("list", "ruleset").includes("t7"));
});

for (const [what, route, subnet] of [
  ["the same range", "10.199.0.0/24", "10.199.0.0/24"],
  ["a part of it", "10.199.0.64/26", "10.199.0.0/24"],
  ["a part of the IPv6 range", "fd00:199::/80", "fd00:199::/64"],
] as const)
  test(`a subnet with a route of another interface to ${what} is refused`, needs, async (t) => {
    ip("link", "add", "vpn0", "type", "veth", "peer", "name", "vpn1");
    t.after(() => ip("link", "delete", "vpn0"));
    ip("link", "set", "vpn0", "up");
    const fixture = makeNetwork(t, { subnet6: "fd00:199::/64" });
    ip("route", "add", route, "dev", "vpn0");
    const pod = await fixture.startPod();
    const message = `subnet ${subnet} has a route to ${route} in it, over vpn0`;
    await assert.rejects(fixture.network.attach(pod.attachRequest()), {
      code: "failed-precondition",
      message,
    });
    assert.equal(fixture.network.condition().message, `pod network: ${message}`);
    assert.ok(!(await linkNames()).includes(bridgeName));
    ip("route", "delete", route, "dev", "vpn0");
    await until("the way is free", () => fixture.network.condition().ready);
    await fixture.network.attach(pod.attachRequest());
    // A restart finds the routes of its own bridge, which are no obstacle.
    await fixture.restart().recover([pod.detachRequest()]);
    assert.equal(fixture.network.condition().ready, true);
  });

test("a wider route of another interface is no obstacle", needs, async (t) => {
  ip("link", "add", "vpn0", "type", "veth", "peer", "name", "vpn1");
  t.after(() => ip("link", "delete", "vpn0"));
  ip("link", "set", "vpn0", "up");
  ip("route", "add", "10.0.0.0/8", "dev", "vpn0");
  const fixture = makeNetwork(t);
  const pod = await fixture.startPod();
  await fixture.network.attach(pod.attachRequest());
});

test("the narrowest default route decides the MTU, IPv6 included", needs, async (t) => {
  for (const [name, mtu] of [
    ["wide0", "9000"],
    ["tunnel0", "1420"],
  ] as const) {
    ip("link", "add", name, "mtu", mtu, "type", "veth", "peer", "name", `${name}p`);
    ip("link", "set", `${name}p`, "up");
    t.after(() => ip("link", "delete", name));
    ip("link", "set", name, "up");
  }
  ip("addr", "add", "198.51.100.2/24", "dev", "wide0");
  ip("route", "add", "default", "via", "198.51.100.1");
  ip("addr", "add", "2001:db8::2/64", "dev", "tunnel0", "nodad");
  ip("-6", "route", "add", "default", "via", "2001:db8::1");
  const fixture = makeNetwork(t);
  const pod = await fixture.startPod();
  await fixture.network.attach(pod.attachRequest());
  assert.match(inPod(pod, "ip", "link", "show", "eth0"), / mtu 1420 /);
});

test("IPv6 addresses are usable at once, without duplicate address detection", needs, async (t) => {
  const fixture = makeNetwork(t, { subnet6: "fd00:199::/64" });
  const pod = await fixture.startPod();
  await fixture.network.attach(pod.attachRequest());
  const addresses = inPod(pod, "ip", "-6", "addr", "show", "dev", "eth0", "scope", "global");
  assert.match(addresses, /fd00:199::2\/64 /);
  assert.ok(!/tentative|dadfailed/.test(addresses), addresses);
  const host = ip("-6", "addr", "show", "dev", bridgeName);
  assert.ok(host.includes("fd00:199::1/64") && !/tentative|dadfailed/.test(host), host);
});

test("pods outlive a change of the subnet, whatever ends and starts", needs, async (t) => {
  const fixture = makeNetwork(t);
  const neighbour = await fixture.startNeighbour();
  await neighbour.run({ op: "serveTcp", port: 80, host: "0.0.0.0" });
  const old = await fixture.startPod();
  await fixture.network.attach(old.attachRequest([tcpPort(8080, 80)]));
  await old.run({ op: "serveTcp", port: 80, host: "0.0.0.0" });
  fixture.config.subnet = "10.198.0.0/24";
  for (let start = 0; start < 2; start++) {
    await fixture.network.close();
    await fixture.restart().recover([old.detachRequest([tcpPort(8080, 80)])]);
    await fixture.network.check(old.sandboxId);
  }
  assert.equal(await old.run({ op: "tcp", host: "192.0.2.2", port: 80, text: "hi" }), "192.0.2.1 hi");
  assert.equal(await exchangeTcp("127.0.0.1", 8080, "hi"), "10.199.0.1 hi");
  const fresh = await fixture.startPod();
  assert.deepEqual((await fixture.network.attach(fresh.attachRequest())).ips, ["10.198.0.2"]);
  assert.equal(await fresh.run({ op: "tcp", host: "10.199.0.2", port: 80, text: "hi" }), "10.198.0.2 hi");
  await fixture.network.detach(old.detachRequest());
  await fixture.network.settle();
  assert.deepEqual(leasesIn(fixture.config.stateDir), ["10.198.0.2"]);
});
