import assert from "node:assert/strict";
import test from "node:test";
import { hasCode } from "../../../src/base/errors.ts";
import { newId } from "../../../src/base/ids.ts";
import { describeHostPort, HostPortClaims, parseHostPorts } from "../../../src/network/host-port.ts";
import type { PortMapping } from "../../../src/network/pod-network.ts";

const mapping = (fields: Partial<PortMapping> = {}): PortMapping => ({
  protocol: "tcp",
  containerPort: 80,
  hostPort: 8080,
  hostIp: "",
  ...fields,
});

const names = (mappings: PortMapping[]): string[] => parseHostPorts(mappings).map(describeHostPort);

test("`parseHostPorts()` leaves out mappings without a host port and repeated ones", () => {
  assert.deepEqual(names([mapping({ hostPort: 0, containerPort: 0 }), mapping(), mapping()]), ["8080/tcp"]);
});

test("`parseHostPorts()` tells all addresses, all of a family, and one address apart", () => {
  const hosts = ["", "0.0.0.0", "::", "127.0.0.1", "::1", "::ffff:10.0.0.1"];
  assert.deepEqual(
    hosts.flatMap((hostIp) => names([mapping({ hostIp })])),
    [
      "8080/tcp",
      "0.0.0.0:8080/tcp",
      "[::]:8080/tcp",
      "127.0.0.1:8080/tcp",
      "[::1]:8080/tcp",
      "10.0.0.1:8080/tcp",
    ],
  );
});

test("`parseHostPorts()` refuses ports out of range and bad addresses with the field's name", () => {
  const refused: [Partial<PortMapping>, string][] = [
    [{ hostPort: -1 }, "port_mappings[0].host_port is -1: not in 1..65535"],
    [{ hostPort: 65_536 }, "port_mappings[0].host_port is 65536: not in 1..65535"],
    [{ hostPort: Number.NaN }, "port_mappings[0].host_port is NaN: not in 1..65535"],
    [{ containerPort: 0 }, "port_mappings[0].container_port is 0: not in 1..65535"],
    [{ hostIp: "localhost" }, 'port_mappings[0].host_ip: "localhost" is not an IP address'],
  ];
  for (const [fields, message] of refused)
    assert.throws(
      () => parseHostPorts([mapping(fields)]),
      (error) => hasCode(error, "invalid-argument") && (error as Error).message === message,
    );
});

function conflicts(one: Partial<PortMapping>, other: Partial<PortMapping>): boolean {
  const claims = new HostPortClaims();
  claims.claim(newId(), parseHostPorts([mapping(one)]));
  try {
    claims.claim(newId(), parseHostPorts([mapping(other)]));
    return false;
  } catch (error) {
    assert.ok(hasCode(error, "already-exists"));
    return true;
  }
}

test("`claim()` refuses a port that another pod has on a common address", () => {
  assert.ok(conflicts({}, {}));
  assert.ok(conflicts({ hostIp: "127.0.0.1" }, {}));
  assert.ok(conflicts({ hostIp: "0.0.0.0" }, { hostIp: "127.0.0.1" }));
  assert.ok(conflicts({ hostIp: "::1" }, { hostIp: "::" }));
});

test("`claim()` lets ports on different addresses, families, protocols and numbers be", () => {
  assert.ok(!conflicts({ hostIp: "127.0.0.1" }, { hostIp: "127.0.0.2" }));
  assert.ok(!conflicts({ hostIp: "0.0.0.0" }, { hostIp: "::" }));
  assert.ok(!conflicts({ hostIp: "0.0.0.0" }, { hostIp: "::1" }));
  assert.ok(!conflicts({}, { protocol: "udp" }));
  assert.ok(!conflicts({}, { hostPort: 8081 }));
});

test("`claim()` refuses two targets for one port within a pod and keeps nothing", () => {
  const claims = new HostPortClaims();
  const twice = parseHostPorts([mapping(), mapping({ containerPort: 81 })]);
  assert.throws(() => claims.claim(newId(), twice), /host port 8080\/tcp is mapped twice/);
  claims.claim(newId(), parseHostPorts([mapping()]));
});

test("`claim()` of the same sandbox again replaces its claims, `release()` frees them", () => {
  const claims = new HostPortClaims();
  const id = newId();
  claims.claim(id, parseHostPorts([mapping()]));
  claims.claim(id, parseHostPorts([mapping(), mapping({ hostPort: 8081 })]));
  claims.release(id);
  claims.release(id);
  claims.claim(newId(), parseHostPorts([mapping()]));
});
