import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { NamespaceOptions } from "../../../src/sandbox/sandbox-config.ts";
import { resolveSysctls } from "../../../src/sandbox/sandbox-sysctls.ts";

const allowed = ["kernel.sem", "kernel.shm*", "kernel.msg*", "fs.mqueue.*", "net.*"];
const own: NamespaceOptions = { network: "pod", pid: "container", ipc: "pod", targetId: "" };
const hosts: NamespaceOptions = { network: "node", pid: "container", ipc: "node", targetId: "" };

const paths = (asked: Record<string, string>, namespaces = own): string[] =>
  resolveSysctls(asked, namespaces, allowed)
    .map(({ path }) => path)
    .filter((path) => !/ip_unprivileged_port_start|ping_group_range|accept_ra/.test(path));

test("resolveSysctls() takes dots and slashes, and keeps a dot inside a name", () => {
  assert.deepEqual(paths({ "net.ipv4.ip_forward": "1" }), ["/proc/sys/net/ipv4/ip_forward"]);
  assert.deepEqual(paths({ "net/ipv4/ip_forward": "1" }), ["/proc/sys/net/ipv4/ip_forward"]);
  assert.deepEqual(paths({ "net/ipv4/conf/eth0.100/forwarding": "1" }), [
    "/proc/sys/net/ipv4/conf/eth0.100/forwarding",
  ]);
  assert.deepEqual(paths({ "net.ipv4.conf.eth0/100.forwarding": "1" }), [
    "/proc/sys/net/ipv4/conf/eth0.100/forwarding",
  ]);
});

test("resolveSysctls() gives pods with a network of their own unprivileged ports and ping", () => {
  assert.deepEqual(resolveSysctls({}, own, allowed), [
    { path: "/proc/sys/net/ipv4/ip_unprivileged_port_start", value: "0", optional: true },
    { path: "/proc/sys/net/ipv4/ping_group_range", value: "0 2147483647", optional: true },
    { path: "/proc/sys/net/ipv6/conf/default/accept_ra", value: "0", optional: true },
  ]);
  assert.deepEqual(resolveSysctls({}, hosts, allowed), []);
  const asked = resolveSysctls({ "net.ipv4.ip_unprivileged_port_start": "1024" }, own, allowed);
  assert.equal(asked.find(({ path }) => path.endsWith("port_start"))?.value, "1024");
});

test("CVE-2022-0811: a name or value that reaches another sysctl is refused", () => {
  const names = [
    "kernel.core_pattern",
    "kernel.shm_rmid_forced+kernel.core_pattern",
    "net/../kernel/core_pattern",
    "net.//.kernel.core_pattern",
    "net...kernel.core_pattern",
    "net/ipv4/../../kernel/core_pattern",
    "net./../.kernel",
    "net",
    "",
    "/net/ipv4",
    "net.ipv4.ip_forward\0x",
  ];
  for (const name of names) assert.throws(() => paths({ [name]: "1" }), /sysctl/, name);
  assert.throws(() => paths({ "net.ipv4.ip_forward": "1\nkernel.x=1" }), /newline/);
});

test("CVE-2022-0532: sysctls of the host's namespaces are refused", () => {
  assert.throws(() => paths({ "net.ipv4.ip_forward": "1" }, hosts), /network namespace/);
  assert.throws(() => paths({ "kernel.shm_rmid_forced": "1" }, hosts), /IPC namespace/);
});

test("resolveSysctls() never leaves /proc/sys, whatever the name", () => {
  const piece = fc.constantFrom(
    "net",
    "ipv4",
    ".",
    "..",
    "/",
    "//",
    "eth0",
    "kernel",
    "core_pattern",
    "+",
    " ",
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 10 }), (pieces) => {
      let found: string[] = [];
      try {
        found = paths({ [pieces.join("")]: "1" });
      } catch {
        return;
      }
      for (const path of found) {
        assert.ok(path.startsWith("/proc/sys/net/"), path);
        assert.ok(!path.split("/").includes(".."), path);
        assert.ok(!path.includes("//"), path);
      }
    }),
  );
});

test("resolveSysctls() keeps the ping group range within a user namespace's groups", () => {
  const ids = [{ hostId: 100_000, containerId: 0, length: 1000 }];
  const namespaces: NamespaceOptions = { ...own, user: { mode: "pod", uids: ids, gids: ids } };
  const ping = (asked: Record<string, string>): string | undefined =>
    resolveSysctls(asked, namespaces, allowed).find(({ path }) => path.endsWith("ping_group_range"))?.value;
  assert.equal(ping({}), "0 999");
  assert.equal(ping({ "net.ipv4.ping_group_range": "0\t2147483647" }), "0 999");
  assert.equal(ping({ "net.ipv4.ping_group_range": "5 10" }), "5 10");
  assert.equal(ping({ "net.ipv4.ping_group_range": "1 0" }), "1 0");
});
