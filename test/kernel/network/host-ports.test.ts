import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createServer } from "node:net";
import { once } from "node:events";
import test, { type TestContext } from "node:test";
import { hasCode, messageOf } from "../../../src/base/errors.ts";
import type { HostPortMode } from "../../../src/network/host-ports.ts";
import { requires } from "../../support/requires.ts";
import { enterPrivateNetns } from "./private-netns.ts";
import {
  bridgeName,
  inPod,
  ip,
  linkNames,
  makeNetwork,
  tcpPort,
  udpPort,
  type NetworkFixture,
} from "./network-fixture.ts";
import { exchangeTcp, exchangeUdp } from "./exchange.ts";
import type { PodNetns } from "./pod-netns.ts";

const needs = requires("root", "package:iproute2", "package:nftables");
if (needs.skip === undefined) await enterPrivateNetns();

async function startServer(fixture: NetworkFixture): Promise<PodNetns> {
  const pod = await fixture.startPod();
  await pod.run({ op: "serveTcp", port: 80, host: "::" });
  await pod.run({ op: "serveUdp", port: 53 });
  return pod;
}

interface Scene {
  fixture: NetworkFixture;
  server: PodNetns;
  neighbour: PodNetns;
}

async function makeScene(t: TestContext, hostPorts: HostPortMode): Promise<Scene> {
  const fixture = makeNetwork(t, { hostPorts });
  const neighbour = await fixture.startNeighbour();
  return { fixture, neighbour, server: await startServer(fixture) };
}

const bothPorts = [tcpPort(8080, 80), udpPort(5353, 53)];

// What the pod sees as its client shows the way: rules keep the source address, the proxy is the bridge's address.
const viaProxy = "10.199.0.1";
const expected: Record<"nft" | "proxy", Record<string, string>> = {
  nft: { neighbour: "192.0.2.2", own: "192.0.2.1" },
  proxy: { neighbour: viaProxy, own: viaProxy },
};

for (const mode of ["nft", "proxy"] as const) {
  test(`host ports by ${mode} serve TCP and UDP to everyone`, needs, async (t) => {
    const { fixture, server, neighbour } = await makeScene(t, mode);
    await fixture.network.attach(server.attachRequest(bothPorts));
    const client = await fixture.startPod();
    await fixture.network.attach(client.attachRequest());
    const tcp = { op: "tcp", host: "192.0.2.1", port: 8080, text: "hi" } as const;
    const udp = { op: "udp", host: "192.0.2.1", port: 5353, text: "hi" } as const;
    const seen = expected[mode];
    assert.deepEqual(
      {
        neighbourTcp: await neighbour.run(tcp),
        neighbourUdp: await neighbour.run(udp),
        ownTcp: await exchangeTcp("192.0.2.1", 8080, "hi"),
        ownUdp: await exchangeUdp("192.0.2.1", 5353, "hi"),
        localTcp: await exchangeTcp("127.0.0.1", 8080, "hi"),
        localUdp: await exchangeUdp("127.0.0.1", 5353, "hi"),
        localTcp6: await exchangeTcp("::1", 8080, "hi"),
        otherPod: await client.run(tcp),
        otherPodUdp: await client.run(udp),
        itself: await server.run(tcp),
        itselfUdp: await server.run(udp),
        gateway: await client.run({ ...tcp, host: "10.199.0.1" }),
        neighbourTcp6: await neighbour.run({ ...tcp, host: "fd00:77::1" }),
      },
      {
        neighbourTcp: `::ffff:${seen["neighbour"]} hi`,
        neighbourUdp: `${seen["neighbour"]} hi`,
        ownTcp: `::ffff:${seen["own"]} hi`,
        ownUdp: `${seen["own"]} hi`,
        localTcp: `::ffff:${viaProxy} hi`,
        localUdp: `${viaProxy} hi`,
        localTcp6: `::ffff:${viaProxy} hi`,
        otherPod: `::ffff:${viaProxy} hi`,
        otherPodUdp: `${viaProxy} hi`,
        itself: `::ffff:${viaProxy} hi`,
        itselfUdp: `${viaProxy} hi`,
        gateway: `::ffff:${viaProxy} hi`,
        neighbourTcp6: `::ffff:${viaProxy} hi`,
      },
    );
  });

  test(`host ports by ${mode} listen only on the address that is named`, needs, async (t) => {
    const { fixture, server, neighbour } = await makeScene(t, mode);
    const mappings = [
      tcpPort(8080, 80, "127.0.0.1"),
      tcpPort(8081, 80, "192.0.2.1"),
      tcpPort(8082, 80, "0.0.0.0"),
    ];
    await fixture.network.attach(server.attachRequest(mappings));
    const isOpen = async (host: string, port: number): Promise<boolean> =>
      (await exchangeTcp(host, port, "hi")).endsWith(" hi");
    const fromOutside = async (port: number): Promise<boolean> =>
      (await neighbour.run({ op: "tcp", host: "192.0.2.1", port, text: "hi" })).endsWith(" hi");
    assert.deepEqual(
      [await isOpen("127.0.0.1", 8080), await isOpen("192.0.2.1", 8080), await fromOutside(8080)],
      [true, false, false],
    );
    assert.deepEqual(
      [await isOpen("127.0.0.1", 8081), await isOpen("192.0.2.1", 8081), await fromOutside(8081)],
      [false, true, true],
    );
    assert.deepEqual(
      [await isOpen("127.0.0.1", 8082), await isOpen("::1", 8082), await fromOutside(8082)],
      [true, false, true],
    );
  });

  test(`detach closes exactly the pod's host ports by ${mode}`, needs, async (t) => {
    const { fixture, server, neighbour } = await makeScene(t, mode);
    const other = await startServer(fixture);
    await Promise.all([
      fixture.network.attach(server.attachRequest([tcpPort(8080, 80)])),
      fixture.network.attach(other.attachRequest([tcpPort(9090, 80)])),
    ]);
    await fixture.network.detach(server.detachRequest([tcpPort(8080, 80)]));
    const ask = (port: number): Promise<string> =>
      neighbour.run({ op: "tcp", host: "192.0.2.1", port, text: "hi" });
    assert.equal(await ask(8080), "error: ECONNREFUSED");
    assert.match(await ask(9090), / hi$/);
    assert.equal(await exchangeTcp("127.0.0.1", 8080, "hi"), "error: ECONNREFUSED");
    assert.match(await exchangeTcp("127.0.0.1", 9090, "hi"), / hi$/);
  });

  test(`host ports by ${mode} come back after a restart`, needs, async (t) => {
    const { fixture, server, neighbour } = await makeScene(t, mode);
    await fixture.network.attach(server.attachRequest(bothPorts));
    await fixture.network.close();
    const network = fixture.restart();
    await network.recover([server.detachRequest(bothPorts)]);
    assert.match(await exchangeTcp("127.0.0.1", 8080, "hi"), / hi$/);
    assert.match(await neighbour.run({ op: "udp", host: "192.0.2.1", port: 5353, text: "hi" }), / hi$/);
    await assert.rejects(
      network.attach((await fixture.startPod()).attachRequest([tcpPort(8080, 80)])),
      (error) => hasCode(error, "already-exists"),
    );
  });

  test(
    `a host port by ${mode} that another pod or process has fails before anything is made`,
    needs,
    async (t) => {
      const { fixture, server } = await makeScene(t, mode);
      const pod = await fixture.startPod();
      await fixture.network.attach(server.attachRequest([tcpPort(8080, 80)]));
      await assert.rejects(
        fixture.network.attach(pod.attachRequest([tcpPort(8080, 81)])),
        (error) =>
          hasCode(error, "already-exists") &&
          messageOf(error).startsWith("host port 8080/tcp is taken by sandbox"),
      );
      const occupied = createServer().listen(8081, "127.0.0.1");
      await once(occupied, "listening");
      t.after(() => occupied.close());
      await assert.rejects(
        fixture.network.attach(pod.attachRequest([tcpPort(8082, 80), tcpPort(8081, 80)])),
        (error) =>
          hasCode(error, "failed-precondition") &&
          messageOf(error) === "host port 8081/tcp is in use by another process",
      );
      assert.equal(await exchangeTcp("127.0.0.1", 8082, ""), "error: ECONNREFUSED");
      await fixture.network.attach(pod.attachRequest([tcpPort(8082, 80)]));
    },
  );
}

test("host ports keep serving through the rules while the daemon is away", needs, async (t) => {
  const { fixture, server, neighbour } = await makeScene(t, "nft");
  await fixture.network.attach(server.attachRequest(bothPorts));
  await fixture.network.close();
  assert.equal(
    await neighbour.run({ op: "tcp", host: "192.0.2.1", port: 8080, text: "hi" }),
    "::ffff:192.0.2.2 hi",
  );
  await fixture.restart().recover([server.detachRequest(bothPorts)]);
});

test("`recover()` without live sandboxes removes the rules of a daemon that was killed", needs, async (t) => {
  const { fixture, server, neighbour } = await makeScene(t, "nft");
  await fixture.network.attach(server.attachRequest([tcpPort(8080, 80)]));
  // Its proxies end with the killed daemon; its rules stay.
  await fixture.network.close();
  await fixture.restart().recover([]);
  const ask = { op: "tcp", host: "192.0.2.1", port: 8080, text: "" } as const;
  assert.equal(await neighbour.run(ask), "error: ECONNREFUSED");
  assert.ok(!(await linkNames()).includes(bridgeName));
});

test("a UDP client that goes on sending reaches the next pod of its port", needs, async (t) => {
  const { fixture, server, neighbour } = await makeScene(t, "nft");
  const next = await fixture.startPod();
  await next.run({ op: "serveUdp", port: 54 });
  const ask = (text: string): Promise<string> =>
    neighbour.run({ op: "udp", host: "192.0.2.1", port: 5353, text, sourcePort: 4000 });
  await fixture.network.attach(server.attachRequest([udpPort(5353, 53)]));
  assert.equal(await ask("one"), "192.0.2.2 one");
  await fixture.network.detach(server.detachRequest());
  await fixture.network.attach(next.attachRequest([udpPort(5353, 54)]));
  assert.equal(await ask("two"), "192.0.2.2 two");
});

test("host ports of an IPv6 pod are rules for both families", needs, async (t) => {
  const fixture = makeNetwork(t, { subnet6: "fd00:199::/64", hostPorts: "nft" });
  const neighbour = await fixture.startNeighbour();
  const server = await startServer(fixture);
  await fixture.network.attach(server.attachRequest([tcpPort(8080, 80)]));
  const ask = (host: string): Promise<string> => neighbour.run({ op: "tcp", host, port: 8080, text: "hi" });
  assert.equal(await ask("192.0.2.1"), "::ffff:192.0.2.2 hi");
  assert.equal(await ask("fd00:77::1"), "fd00:77::2 hi");
});

const sctp = { protocol: "sctp", hostPort: 9999, containerPort: 99, hostIp: "" } as const;

test("SCTP host ports need rules", needs, async (t) => {
  const fixture = makeNetwork(t, { hostPorts: "proxy" });
  const pod = await fixture.startPod();
  await assert.rejects(
    fixture.network.attach(pod.attachRequest([sctp])),
    (error) => hasCode(error, "failed-precondition") && /SCTP needs nftables/.test(messageOf(error)),
  );
});

test("host ports serve at once and get their rules in the background", needs, async (t) => {
  const { fixture, server, neighbour } = await makeScene(t, "auto");
  await fixture.network.attach(server.attachRequest([tcpPort(8080, 80)]));
  const ask = { op: "tcp", host: "192.0.2.1", port: 8080, text: "hi" } as const;
  assert.match(await neighbour.run(ask), / hi$/);
  await fixture.network.close();
  assert.equal(await neighbour.run(ask), "::ffff:192.0.2.2 hi");
  await fixture.restart().recover([server.detachRequest([tcpPort(8080, 80)])]);
});

test("SCTP host ports are rules", needs, async (t) => {
  const fixture = makeNetwork(t);
  const pod = await fixture.startPod();
  await fixture.network.attach(pod.attachRequest([sctp]));
  const table = execFileSync("nft", ["list", "table", "inet", `cricket-${bridgeName}`], { encoding: "utf8" });
  assert.match(table, /elements = \{ sctp \. 9999 : 10\.199\.0\.2 \. 99 \}/);
});

test("pods reach other machines masqueraded, and each other as they are", needs, async (t) => {
  const { fixture, server, neighbour } = await makeScene(t, "auto");
  await fixture.network.attach(server.attachRequest());
  await neighbour.run({ op: "serveTcp", port: 80, host: "0.0.0.0" });
  assert.equal(await server.run({ op: "tcp", host: "192.0.2.2", port: 80, text: "hi" }), "192.0.2.1 hi");
  const client = await fixture.startPod();
  await fixture.network.attach(client.attachRequest());
  assert.equal(
    await client.run({ op: "tcp", host: "10.199.0.2", port: 80, text: "hi" }),
    "::ffff:10.199.0.3 hi",
  );
});

// A pod with CAP_NET_ADMIN sends packets for 127.0.0.1 over its own link to the node.
test("a pod cannot reach what listens on the node's loopback address (CVE-2020-8558)", needs, async (t) => {
  const { fixture, server } = await makeScene(t, "nft");
  await fixture.network.attach(server.attachRequest([tcpPort(8080, 80)]));
  const attacker = await fixture.startPod();
  await fixture.network.attach(attacker.attachRequest());
  const secret = createServer((client) => client.end("secret")).listen(7777, "127.0.0.1");
  await once(secret, "listening");
  t.after(() => secret.close());
  inPod(attacker, "ip", "link", "set", "lo", "down");
  inPod(attacker, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo");
  inPod(attacker, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet");
  inPod(attacker, "ip", "route", "add", "127.0.0.1/32", "via", "10.199.0.1", "src", "10.199.0.3");
  assert.equal(await exchangeTcp("127.0.0.1", 7777, ""), "secret");
  assert.match(await attacker.run({ op: "tcp", host: "127.0.0.1", port: 7777, text: "" }), /^error: /);
});

// Router advertisements are what a pod with CAP_NET_RAW can send to become the node's default router.
test(
  "a router advertisement of a pod does not change the node's routes (CVE-2020-10749)",
  needs,
  async (t) => {
    const fixture = makeNetwork(t, { subnet6: "fd00:199::/64" });
    const pod = await fixture.startPod();
    await fixture.network.attach(pod.attachRequest());
    await pod.run({ op: "advertiseRouter", times: 5 });
    assert.ok(!ip("-6", "route", "show").includes("default"));
  },
);
