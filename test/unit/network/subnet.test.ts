import assert from "node:assert/strict";
import test from "node:test";
import { hasCode } from "../../../src/base/errors.ts";
import { formatIp, parseIp } from "../../../src/network/ip-address.ts";
import { formatSubnet, isPodAddress, parseSubnet } from "../../../src/network/subnet.ts";

const summary = (text: string): string[] => {
  const subnet = parseSubnet(text, "subnet");
  const address = (value: bigint): string => formatIp({ family: subnet.family, value });
  return [
    formatSubnet(subnet),
    formatIp(subnet.gateway),
    address(subnet.firstPod),
    address(subnet.lastPod),
    subnet.broadcast === undefined ? "" : formatIp(subnet.broadcast),
  ];
};

test("`parseSubnet()` keeps gateway, network and broadcast address from pods", () => {
  assert.deepEqual(summary("10.88.0.0/16"), [
    "10.88.0.0/16",
    "10.88.0.1",
    "10.88.0.2",
    "10.88.255.254",
    "10.88.255.255",
  ]);
  assert.deepEqual(summary("192.0.2.4/30"), [
    "192.0.2.4/30",
    "192.0.2.5",
    "192.0.2.6",
    "192.0.2.6",
    "192.0.2.7",
  ]);
  assert.deepEqual(summary("fd00:88::/64"), [
    "fd00:88::/64",
    "fd00:88::1",
    "fd00:88::2",
    "fd00:88::ffff:ffff:ffff:ffff",
    "",
  ]);
});

test("`parseSubnet()` refuses what has no room, bits beyond the prefix, and other text", () => {
  for (const text of [
    "10.88.0.1/16",
    "10.88.0.0/31",
    "10.88.0.0/32",
    "fd00::/127",
    "10.88.0.0/0",
    "10.88.0.0",
    "/16",
    "a/16",
    "10.88.0.0/-1",
    "10.88.0.0/16/8",
  ])
    assert.throws(
      () => parseSubnet(text, "network.subnet"),
      (error) =>
        hasCode(error, "invalid-argument") && (error as Error).message.startsWith("network.subnet: "),
      text,
    );
});

test("`isPodAddress()` is false for gateway, broadcast, other subnets and the other family", () => {
  const subnet = parseSubnet("10.88.0.0/24", "subnet");
  const inside = (text: string): boolean => isPodAddress(subnet, parseIp(text, "ip"));
  assert.deepEqual(["10.88.0.2", "10.88.0.254"].map(inside), [true, true]);
  assert.deepEqual(["10.88.0.0", "10.88.0.1", "10.88.0.255", "10.88.1.2", "::a58:2"].map(inside), [
    false,
    false,
    false,
    false,
    false,
  ]);
});
