// linux.netDevices: interfaces of the host that become the container's.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, beforeEach, describe, it } from "node:test";
import type { NetDevice } from "../../../src/oci/linux-spec.ts";
import type { Spec } from "../../../src/oci/spec.ts";
import { requires } from "../../support/requires.ts";
import { OciFixture } from "./oci-fixture.ts";

const host = `ct${process.pid % 100_000}a`;
const peer = `ct${process.pid % 100_000}b`;

const ip = (...words: string[]): string => execFileSync("ip", words, { encoding: "utf8", stdio: "pipe" });
const tryDelete = (name: string): void => {
  try {
    execFileSync("ip", ["link", "delete", name], { stdio: "ignore" });
  } catch {
    // It went with its peer, or with a network namespace.
  }
};

describe("linux.netDevices", requires("root", "package:busybox-static", "package:iproute2"), () => {
  const fixture = new OciFixture();
  after(async () => {
    tryDelete(peer);
    await fixture.close();
  });

  const devices =
    (netDevices: Record<string, NetDevice>) =>
    (spec: Spec): void => {
      spec.linux = { ...spec.linux, netDevices };
    };
  const addresses = (): string =>
    ip("-oneline", "address", "show", "dev", host)
      .split("\n")
      .map((line) => line.trim().split(/\s+/).slice(2, 4).join(" "))
      .filter((line) => line !== "" && !line.includes("fe80"))
      .join("; ");

  beforeEach(() => {
    tryDelete(peer);
    ip("link", "add", host, "type", "veth", "peer", "name", peer);
    ip("address", "add", "192.0.2.7/24", "dev", host);
    ip("address", "add", "2001:db8::7/64", "dev", host, "nodad");
    ip("link", "set", host, "up");
  });

  it("moves a device with its addresses, under its own name, and sets it up", async () => {
    const { interfaces } = await fixture.report(devices({ [host]: {} }));
    assert.deepEqual(Object.keys(interfaces).includes(host), true);
    assert.equal(interfaces[host]?.up, true);
    assert.deepEqual(
      interfaces[host]?.addresses.filter((address) => !address.startsWith("fe80")),
      ["192.0.2.7", "2001:db8::7"],
    );
    assert.throws(() => ip("link", "show", host));
  });

  it("renames it, also with a number of the kernel's choice", async () => {
    assert.ok("inner" in (await fixture.report(devices({ [host]: { name: "inner" } }))).interfaces);
    tryDelete(peer);
    ip("link", "add", host, "type", "veth", "peer", "name", peer);
    assert.ok("net0" in (await fixture.report(devices({ [host]: { name: "net%d" } }))).interfaces);
  });

  it("refuses a device that is not there and a name that is taken, and leaves the device alone", async () => {
    assert.match(
      await fixture.refusal(devices({ nosuch0: {} })),
      /linux\.netDevices\[\\"nosuch0\\"\]: the host has no such network device/,
    );
    assert.match(
      await fixture.refusal(devices({ [host]: { name: "lo" } })),
      /the container already has a device named lo/,
    );
    assert.equal(addresses(), "inet 192.0.2.7/24; inet6 2001:db8::7/64");
  });

  it("brings the devices back when the create fails later", async () => {
    const refused = await fixture.refusal((spec) => {
      devices({ [host]: { name: "inner" } })(spec);
      spec.hooks = { createRuntime: [{ path: "/bin/false" }] };
    });
    assert.match(refused, /createRuntime hook #0/);
    assert.equal(addresses(), "inet 192.0.2.7/24; inet6 2001:db8::7/64");
    assert.match(ip("link", "show", host), /[<,]UP[,>]/);
  });
});
