import assert from "node:assert/strict";
import test from "node:test";
import { parseIp } from "../../../src/network/ip-address.ts";
import {
  renderRuleset,
  renderTableRemoval,
  tableName,
  type ServedPort,
} from "../../../src/network/nft-ruleset.ts";
import { parseSubnet } from "../../../src/network/subnet.ts";

const subnets = [parseSubnet("10.88.0.0/16", "subnet"), parseSubnet("fd00:88::/64", "subnet6")];

const served = (fields: Partial<ServedPort>): ServedPort => ({
  protocol: "tcp",
  hostIp: undefined,
  hostPort: 8080,
  podIp: parseIp("10.88.0.5", "ip"),
  containerPort: 80,
  ...fields,
});

const elementsOf = (ruleset: string): string[] =>
  [...ruleset.matchAll(/elements = \{ (.*) \}/g)].map((match) => match[1] ?? "");

test("`tableName()` gives each bridge a table of its own", () => {
  assert.deepEqual(["cricket0", "br-test"].map(tableName), ["cricket", "cricket-br-test"]);
});

test("`renderRuleset()` replaces the whole table in one transaction", () => {
  const ruleset = renderRuleset({ bridgeName: "cricket0", subnets }, []);
  assert.ok(ruleset.startsWith("add table inet cricket\ndelete table inet cricket\n"));
  assert.ok(ruleset.startsWith(renderTableRemoval("cricket0")));
  assert.deepEqual(elementsOf(ruleset), []);
});

test("`renderRuleset()` puts ports into the map of their family and address", () => {
  const ruleset = renderRuleset({ bridgeName: "cricket0", subnets }, [
    served({}),
    served({ protocol: "udp", hostIp: parseIp("192.0.2.1", "ip"), hostPort: 53, containerPort: 5353 }),
    served({ podIp: parseIp("fd00:88::5", "ip") }),
  ]);
  assert.deepEqual(elementsOf(ruleset), [
    "tcp . 8080 : 10.88.0.5 . 80",
    "192.0.2.1 . udp . 53 : 10.88.0.5 . 5353",
    "tcp . 10.88.0.5 . 80, udp . 10.88.0.5 . 5353",
    "tcp . 8080 : fd00:88::5 . 80",
    "tcp . fd00:88::5 . 80",
  ]);
});

test("`renderRuleset()` names a pod port once in the set for two host ports", () => {
  const ruleset = renderRuleset({ bridgeName: "cricket0", subnets }, [
    served({}),
    served({ hostPort: 8081 }),
  ]);
  assert.deepEqual(elementsOf(ruleset), [
    "tcp . 8080 : 10.88.0.5 . 80, tcp . 8081 : 10.88.0.5 . 80",
    "tcp . 10.88.0.5 . 80",
  ]);
});

test("`renderRuleset()` masquerades each subnet and leaves loopback to the proxy (CVE-2020-8558)", () => {
  const ruleset = renderRuleset({ bridgeName: "cricket0", subnets }, []);
  for (const rule of [
    'ip saddr 10.88.0.0/16 ip daddr != { 10.88.0.0/16, 224.0.0.0/4 } oifname != "cricket0" masquerade',
    'ip6 saddr fd00:88::/64 ip6 daddr != { fd00:88::/64, ff00::/8 } oifname != "cricket0" masquerade',
    "ip daddr 127.0.0.0/8 return",
    "ip6 daddr ::1 return",
  ])
    assert.ok(ruleset.includes(`    ${rule}\n`), rule);
});
