import assert from "node:assert/strict";
import test from "node:test";
import { NetlinkError } from "../../../src/linux/netlink-error.ts";
import {
  decodeAddress,
  decodeLink,
  decodeRoute,
  deleteLink,
  getLink,
  listAddresses,
  listLinks,
  listRoutes,
  newAddress,
  newBridge,
  newDefaultRoute,
  setLinkUp,
  setMaster,
} from "../../../src/linux/netlink-route.ts";
import { NETLINK_ROUTE, NetlinkSocket } from "../../../src/linux/netlink-socket.ts";
import { requires } from "../../support/requires.ts";
import { enterPrivateNetns } from "./private-netns.ts";

const needs = requires("root");
if (needs.skip === undefined) await enterPrivateNetns();

const hardwareAddress = Buffer.from("0a5800000001", "hex");

function open(t: test.TestContext): NetlinkSocket {
  const socket = NetlinkSocket.open(NETLINK_ROUTE);
  t.after(() => socket.close());
  return socket;
}

async function makeBridges(t: test.TestContext, names: readonly string[]): Promise<NetlinkSocket> {
  const socket = open(t);
  await socket.request(names.map((name) => newBridge(name, 1400, hardwareAddress)));
  t.after(async () => {
    const own = NetlinkSocket.open(NETLINK_ROUTE);
    await own.request(names.map((name) => deleteLink({ name })));
    own.close();
  });
  return socket;
}

test("`request()` creates, `get()` and `decodeLink()` read back", needs, async (t) => {
  const socket = await makeBridges(t, ["nl0"]);
  await socket.request([setLinkUp({ name: "nl0" })]);
  const { index, statistics, ...link } = decodeLink(await socket.get(getLink({ name: "nl0" })));
  assert.ok(index > 1);
  assert.equal(statistics?.rxBytes, 0n);
  assert.deepEqual(link, {
    name: "nl0",
    up: true,
    carrier: false,
    mtu: 1400,
    kind: "bridge",
    masterIndex: 0,
    alias: "",
    hardwareAddress: "0a:58:00:00:00:01",
  });
});

test(
  "`request()` throws the first failure of a batch with the kernel's explanation, the rest is done",
  needs,
  async (t) => {
    const socket = await makeBridges(t, ["nl0", "nl1"]);
    const batch = [
      setMaster({ name: "nl0" }, 9999),
      setMaster({ name: "nl1" }, 9998),
      setLinkUp({ name: "nl1" }),
    ];
    await assert.rejects(socket.request(batch), (error) => {
      assert.ok(error instanceof NetlinkError);
      assert.deepEqual([error.syscall, error.errno], ["add nl0 to its bridge", "EINVAL"]);
      return true;
    });
    assert.equal(decodeLink(await socket.get(getLink({ name: "nl1" }))).up, true);
  },
);

test("`request()` carries the text of the extended acknowledgement", needs, async (t) => {
  const socket = await makeBridges(t, ["nl0"]);
  const { index } = decodeLink(await socket.get(getLink({ name: "nl0" })));
  await assert.rejects(
    socket.request([newDefaultRoute(index, Buffer.from([192, 0, 2, 9]))]),
    (error) =>
      error instanceof NetlinkError && error.explanation !== "" && error.message.includes(error.explanation),
  );
});

test("`request()` takes a tolerated errno for success", needs, async (t) => {
  const socket = await makeBridges(t, ["nl0"]);
  await socket.request([newBridge("nl0", 1400, hardwareAddress)], ["EEXIST"]);
  await assert.rejects(socket.request([newBridge("nl0", 1400, hardwareAddress)]), { errno: "EEXIST" });
});

test("`dump()` lists links, addresses and routes, more than one datagram of them", needs, async (t) => {
  const names = Array.from({ length: 40 }, (_, number) => `nl${number}`);
  const socket = await makeBridges(t, names);
  const links = (await socket.dump(listLinks())).map(decodeLink);
  assert.deepEqual(
    links.map(({ name }) => name).filter((name) => name.startsWith("nl")),
    names,
  );
  const first = links.find(({ name }) => name === "nl0");
  assert.ok(first !== undefined);
  const address = Buffer.from([10, 99, 0, 1]);
  await socket.request([
    newAddress({ linkIndex: first.index, address, prefixLength: 24 }),
    setLinkUp({ index: first.index }),
    newDefaultRoute(first.index, Buffer.from([10, 99, 0, 2])),
  ]);
  const addresses = (await socket.dump(listAddresses())).map(decodeAddress);
  assert.ok(
    addresses.some(
      (one) => one.linkIndex === first.index && one.prefixLength === 24 && one.address.equals(address),
    ),
  );
  const routes = (await socket.dump(listRoutes(4))).map(decodeRoute);
  assert.ok(
    routes.some((route) => route?.prefixLength === 0 && route.gateway?.equals(Buffer.from([10, 99, 0, 2]))),
  );
});

test("`NetlinkSocket` keeps conversations that overlap apart", needs, async (t) => {
  const socket = await makeBridges(t, ["nl0", "nl1"]);
  const results = await Promise.all(
    Array.from({ length: 50 }, async (_, number) => {
      const name = number % 2 === 0 ? "nl0" : "nl1";
      if (number % 5 === 0) await socket.dump(listLinks());
      if (number % 7 === 0)
        await assert.rejects(socket.get(getLink({ name: "absent" })), { errno: "ENODEV" });
      return decodeLink(await socket.get(getLink({ name }))).name === name;
    }),
  );
  assert.ok(results.every(Boolean));
});

test("`NetlinkSocket` on a closed descriptor fails with the errno", needs, async () => {
  const socket = NetlinkSocket.open(NETLINK_ROUTE);
  socket.close();
  await assert.rejects(socket.get(getLink({ name: "lo" })), { errno: "EBADF" });
});
