import assert from "node:assert/strict";
import { test } from "node:test";
import { sandboxConfigFromWire } from "../../../../src/cri/convert/sandbox-config.ts";
import { toInt64 } from "../../../../cri-api/int64.ts";
import type { v1 } from "../../../../cri-api/runtime/v1/api.js";
import { refusal, sandboxSecurity, sandboxWire } from "./wire.ts";

const convert = (wire: v1.PodSandboxConfig) => sandboxConfigFromWire(wire, "config");
const id = (value: bigint) => ({ value: toInt64(value) });

test("`sandboxConfigFromWire()` gives a config with defaults for all that is left out", () => {
  assert.deepEqual(convert(sandboxWire()), {
    metadata: { name: "web", uid: "u1", namespace: "default", attempt: 2 },
    hostname: "",
    logDirectory: "",
    portMappings: [],
    labels: {},
    annotations: {},
    cgroupParent: "",
    sysctls: {},
    security: {
      namespaces: { network: "pod", pid: "pod", ipc: "pod", targetId: "" },
      privileged: false,
      readonlyRootfs: false,
      supplementalGroups: [],
      supplementalGroupsPolicy: "merge",
    },
  });
});

test("`sandboxConfigFromWire()` takes over every field", () => {
  const config = convert(
    sandboxWire({
      hostname: "web-1",
      logDirectory: "/var/log/pods/web",
      dnsConfig: {
        servers: ["10.0.0.10", "fd00::a"],
        searches: [".", "svc.cluster.local"],
        options: ["ndots:5"],
      },
      portMappings: [{ protocol: 1, containerPort: 53, hostPort: 5353, hostIp: "127.0.0.1" }],
      labels: { a: "ü\n", "": "empty" },
      annotations: { __proto__x: "1" },
      linux: {
        cgroupParent: "/kubepods/burstable/pod1",
        sysctls: { "net.ipv4.ip_local_port_range": "1024 65000" },
        overhead: { cpuShares: toInt64(2n) },
        resources: { memoryLimitInBytes: toInt64(2n ** 60n) },
        securityContext: {
          namespaceOptions: {
            network: 2,
            pid: 1,
            ipc: 2,
            usernsOptions: {
              uids: [{ hostId: 65536, containerId: 0, length: 65536 }],
              gids: [{ hostId: 65536, containerId: 0, length: 65536 }],
            },
          },
          privileged: true,
          readonlyRootfs: true,
          runAsUser: id(0n),
          runAsGroup: id(2147483647n),
          supplementalGroups: [toInt64(7n)],
          supplementalGroupsPolicy: 1,
          seccomp: { profileType: 2, localhostRef: "/profiles/x.json" },
          apparmor: { profileType: 1 },
          selinuxOptions: { user: "u", role: "r", type: "t", level: "s0:c1,c2" },
        },
      },
    }),
  );
  assert.equal(config.hostname, "web-1");
  assert.deepEqual(config.dns?.servers, ["10.0.0.10", "fd00::a"]);
  assert.deepEqual(config.portMappings, [
    { protocol: "udp", containerPort: 53, hostPort: 5353, hostIp: "127.0.0.1" },
  ]);
  assert.deepEqual(config.labels, { a: "ü\n", "": "empty" });
  assert.equal(config.overhead?.cpuShares, 2n);
  assert.equal(config.resources?.memoryLimitBytes, 2n ** 60n);
  const mapping = { hostId: 65536, containerId: 0, length: 65536 };
  assert.deepEqual(config.security, {
    namespaces: {
      network: "node",
      pid: "container",
      ipc: "node",
      targetId: "",
      user: { mode: "pod", uids: [mapping], gids: [mapping] },
    },
    privileged: true,
    readonlyRootfs: true,
    runAsUser: 0,
    runAsGroup: 2147483647,
    supplementalGroups: [7],
    supplementalGroupsPolicy: "strict",
    seccomp: { type: "localhost", ref: "/profiles/x.json" },
    apparmor: { type: "unconfined" },
    selinux: { user: "u", role: "r", type: "t", level: "s0:c1,c2" },
  });
});

const refused: [v1.PodSandboxConfigSent, string][] = [
  [{ metadata: null }, "config.metadata is missing"],
  [{ metadata: { uid: "u", namespace: "n" } }, "config.metadata.name is empty"],
  [{ metadata: { name: "a", namespace: "n" } }, "config.metadata.uid is empty"],
  [{ metadata: { name: "a", uid: "u" } }, "config.metadata.namespace is empty"],
  [
    { metadata: { name: "a\nlevel=error", uid: "u", namespace: "n" } },
    "config.metadata.name contains a control character",
  ],
  [{ hostname: "a b" }, 'config.hostname is "a b": empty or with a blank'],
  [{ hostname: "h".repeat(65) }, "config.hostname is longer than 64 bytes"],
  [{ logDirectory: "var/log" }, 'config.log_directory is "var/log": not an absolute path'],
  [{ logDirectory: "/var/../etc" }, 'config.log_directory is "/var/../etc": contains ".."'],
  [{ logDirectory: "/var/\0" }, "config.log_directory contains a NUL byte"],
  [
    { dnsConfig: { servers: ["10.0.0.1", "1.1.1.1\nnameserver 6.6.6.6"] } },
    'config.dns_config.servers[1] is "1.1.1.1\\nnameserver 6.6.6.6": not an IP address',
  ],
  [{ dnsConfig: { searches: ["a b"] } }, 'config.dns_config.searches[0] is "a b": empty or with a blank'],
  [{ dnsConfig: { options: [""] } }, 'config.dns_config.options[0] is "": empty or with a blank'],
  [
    { portMappings: [{ containerPort: 80 }, { containerPort: 65536 }] },
    "config.port_mappings[1].container_port is 65536: not in 1..65535",
  ],
  [
    { portMappings: [{ containerPort: 80, hostPort: -1 }] },
    "config.port_mappings[0].host_port is -1: not in 0..65535",
  ],
  [
    { portMappings: [{ containerPort: 80, protocol: 9 }] },
    "config.port_mappings[0].protocol is 9: not a known value",
  ],
  [
    { portMappings: [{ containerPort: 80, hostIp: "localhost" }] },
    'config.port_mappings[0].host_ip is "localhost": not an IP address',
  ],
  [{ linux: { cgroupParent: "pods" } }, 'config.linux.cgroup_parent is "pods": not an absolute path'],
  [
    { linux: { cgroupParent: "/pods/../.." } },
    'config.linux.cgroup_parent is "/pods/../..": not a plain path below the cgroup root',
  ],
  [
    { linux: { cgroupParent: "/" } },
    'config.linux.cgroup_parent is "/": not a plain path below the cgroup root',
  ],
  [
    { linux: { sysctls: { "kernel/../x": "1" } } },
    'config.linux.sysctls["kernel/../x"] is not a sysctl name',
  ],
  [
    { linux: { overhead: { cpuPeriod: toInt64(5n) } } },
    "config.linux.overhead.cpu_period is 5: not in 1000..1000000",
  ],
];

for (const [change, message] of refused)
  test(`\`sandboxConfigFromWire()\` refuses: ${JSON.stringify(message)}`, () => {
    assert.equal(
      refusal(() => convert(sandboxWire(change))),
      message,
    );
  });

const at = "config.linux.security_context";
const one = { hostId: 1000, containerId: 0, length: 10 };

const refusedSecurity: [v1.LinuxSandboxSecurityContextSent, string][] = [
  [{ runAsUser: id(2147483648n) }, `${at}.run_as_user.value is 2147483648: not in 0..2147483647`],
  [{ runAsUser: id(-1n) }, `${at}.run_as_user.value is -1: not in 0..2147483647`],
  [
    { runAsUser: id(1n), runAsGroup: id(2n ** 62n) },
    `${at}.run_as_group.value is ${2n ** 62n}: not in 0..2147483647`,
  ],
  [{ runAsGroup: id(0n) }, `${at}.run_as_group is given without run_as_user`],
  [
    { supplementalGroups: [toInt64(1n), toInt64(2n ** 31n)] },
    `${at}.supplemental_groups[1] is 2147483648: not in 0..2147483647`,
  ],
  [{ supplementalGroupsPolicy: 2 }, `${at}.supplemental_groups_policy is 2: not a known value`],
  [
    { namespaceOptions: { network: 1 } },
    `${at}.namespace_options.network is CONTAINER: not possible here, only POD, NODE`,
  ],
  [{ namespaceOptions: { pid: 7 } }, `${at}.namespace_options.pid is 7: not a known value`],
  [
    { namespaceOptions: { pid: 3, targetId: "x" } },
    `${at}.namespace_options.pid is TARGET: only a container can have that`,
  ],
  [
    { namespaceOptions: { ipc: 3 } },
    `${at}.namespace_options.ipc is TARGET: not possible here, only POD, NODE`,
  ],
  [
    { namespaceOptions: { usernsOptions: { mode: 1 } } },
    `${at}.namespace_options.userns_options.mode is CONTAINER: not possible here, only POD, NODE`,
  ],
  [
    { namespaceOptions: { usernsOptions: { uids: [one, one], gids: [one] } } },
    `${at}.namespace_options.userns_options.uids has 2 mappings: exactly one is needed`,
  ],
  [
    { namespaceOptions: { usernsOptions: { uids: [one], gids: [{ ...one, containerId: 5 }] } } },
    `${at}.namespace_options.userns_options.gids[0].container_id is 5: id 0 has to be mapped`,
  ],
  [
    { namespaceOptions: { usernsOptions: { uids: [{ ...one, length: 0 }] } } },
    `${at}.namespace_options.userns_options.uids[0].length is 0`,
  ],
  [
    { namespaceOptions: { usernsOptions: { uids: [{ hostId: 0xffffffff, containerId: 0, length: 1 }] } } },
    `${at}.namespace_options.userns_options.uids[0].host_id + length is 4294967296: more than 32 bits`,
  ],
  [
    { namespaceOptions: { usernsOptions: { mode: 2, uids: [one] } } },
    `${at}.namespace_options.userns_options.uids is given, but mode is NODE`,
  ],
  [{ seccomp: { profileType: 2 } }, `${at}.seccomp.localhost_ref is empty`],
  [
    { seccomp: { profileType: 2, localhostRef: "p.json" } },
    `${at}.seccomp.localhost_ref is "p.json": not an absolute path`,
  ],
  [
    { seccomp: { profileType: 0, localhostRef: "/p" } },
    `${at}.seccomp.localhost_ref is given, but profile_type is not Localhost`,
  ],
  [{ seccomp: { profileType: 3 } }, `${at}.seccomp.profile_type is 3: not a known value`],
  [{ seccompProfilePath: "x" }, `${at}.seccomp_profile_path is "x": not a profile`],
  [{ selinuxOptions: { type: "a\n" } }, `${at}.selinux_options.type contains a control character`],
];

for (const [context, message] of refusedSecurity)
  test(`\`sandboxConfigFromWire()\` refuses: ${JSON.stringify(message)}`, () => {
    assert.equal(
      refusal(() => convert(sandboxSecurity(context))),
      message,
    );
  });

test("`sandboxConfigFromWire()` refuses a sysctl hidden in the value of another (CVE-2022-0811)", () => {
  const sysctls = { "kernel.shm_rmid_forced": "1+kernel.core_pattern=|/bin/sh" };
  assert.equal(
    refusal(() => convert(sandboxWire({ linux: { sysctls } }))),
    'config.linux.sysctls["kernel.shm_rmid_forced"] is "1+kernel.core_pattern=|/bin/sh": not a sysctl value',
  );
});

test("`sandboxConfigFromWire()` refuses ids that wrap to root (CVE-2024-40635)", () => {
  for (const value of [2n ** 31n, 2n ** 32n, 2n ** 63n - 1n, -(2n ** 63n)])
    assert.match(
      refusal(() => convert(sandboxSecurity({ runAsUser: id(value) }))),
      /run_as_user\.value is -?\d+: not in 0\.\.2147483647/,
    );
});
