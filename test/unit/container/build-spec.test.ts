import assert from "node:assert/strict";
import { test } from "node:test";
import { buildContainerSpec, type ContainerSpecInput } from "../../../src/container/build-spec.ts";
import { namespaceJoins } from "../../../src/container/build-namespaces.ts";
import type { ContainerSecurity } from "../../../src/container/container-config.ts";
import { parseSpec, stringifySpec } from "../../../src/oci/parse-spec.ts";
import { defaultSeccompProfile } from "../../../src/oci/seccomp-default.ts";
import type { Spec } from "../../../src/oci/spec.ts";
import { containerConfig, resources, security, specInput } from "./container-fixtures.ts";

function build(changes: Partial<ContainerSecurity> = {}, more: Partial<ContainerSpecInput> = {}): Spec {
  const input = specInput({ config: containerConfig({ security: security(changes) }), ...more });
  return buildContainerSpec(input).spec;
}

const inPrivilegedPod = (): Pick<ContainerSpecInput, "sandbox"> => ({
  sandbox: { ...specInput().sandbox, privileged: true },
});

test("`buildContainerSpec()` makes a spec that its own parser takes", () => {
  const spec = build({ seccomp: { type: "runtime-default" } }, { seccompProfile: defaultSeccompProfile });
  assert.deepEqual(
    parseSpec(stringifySpec(spec)),
    JSON.parse(JSON.stringify(spec, bigintAsIs), reviveBigint),
  );
});

// JSON.stringify drops undefined members, as the parser never makes any.
const bigintAsIs = (_key: string, value: unknown): unknown =>
  typeof value === "bigint" ? { big: value.toString() } : value;
const reviveBigint = (_key: string, value: unknown): unknown =>
  typeof value === "object" && value !== null && "big" in value ? BigInt(String(value.big)) : value;

test("`buildContainerSpec()` takes the namespaces of the pod from pause", () => {
  assert.deepEqual(build().linux?.namespaces, [
    { type: "mount" },
    { type: "network", path: "/proc/42/ns/net" },
    { type: "uts", path: "/proc/42/ns/uts" },
    { type: "ipc", path: "/proc/42/ns/ipc" },
    { type: "pid" },
    { type: "cgroup" },
  ]);
});

test("`buildContainerSpec()` leaves out the namespaces of the host", () => {
  const namespaces = { network: "node", ipc: "node", pid: "node", targetId: "" } as const;
  assert.deepEqual(build({ namespaces }).linux?.namespaces, [{ type: "mount" }, { type: "cgroup" }]);
});

test("`buildContainerSpec()` joins the pid namespace of a target container", () => {
  const namespaces = { network: "pod", ipc: "pod", pid: "target", targetId: "c0" } as const;
  const sandbox = { ...specInput().sandbox, targetPid: 77 };
  const spec = build({ namespaces }, { sandbox });
  assert.ok(spec.linux?.namespaces?.some(({ type, path }) => type === "pid" && path === "/proc/77/ns/pid"));
  assert.deepEqual(namespaceJoins(spec, 5, 6), [
    { fd: 6, types: ["pid"] },
    { fd: 5, types: ["network", "uts", "ipc"] },
  ]);
  assert.throws(() => build({ namespaces }), { code: "invalid-argument", message: /target_id/ });
});

test("`namespaceJoins()` takes everything from pause where there is no target", () => {
  const namespaces = { network: "pod", ipc: "pod", pid: "pod", targetId: "" } as const;
  assert.deepEqual(namespaceJoins(build({ namespaces }), 5), [
    { fd: 5, types: ["network", "uts", "ipc", "pid"] },
  ]);
});

test("`buildContainerSpec()` refuses a privileged container in a sandbox that is not", () => {
  assert.throws(() => build({ privileged: true }), {
    code: "invalid-argument",
    message: "config.linux.security_context.privileged: the sandbox is not privileged",
  });
});

// Its cgroups are mounted by the user namespace's root, who owns no other cgroup namespace.
test("`buildContainerSpec()` gives a privileged container in a user namespace its own cgroups alone", () => {
  const ids = [{ hostId: 1000, containerId: 0, length: 65_536 }];
  const namespaces = { ...security().namespaces, user: { mode: "pod" as const, uids: ids, gids: ids } };
  const { linux } = build({ privileged: true, namespaces }, inPrivilegedPod());
  assert.ok(linux?.namespaces?.some(({ type }) => type === "cgroup"));
  assert.deepEqual(linux?.uidMappings, [{ containerID: 0, hostID: 1000, size: 65_536 }]);
});

// CRI LinuxContainerSecurityContext.privileged, items 1 to 8.
test("`buildContainerSpec()` spells out what privileged means", () => {
  const device = { type: "b", path: "/dev/sda", major: 8, minor: 0, permissions: "rwm" } as const;
  const { linux = {}, process } = build(
    {
      privileged: true,
      seccomp: { type: "runtime-default" },
      apparmor: { type: "localhost", ref: "x" },
      maskedPaths: ["/proc/kcore"],
      readonlyPaths: ["/proc/sys"],
    },
    { ...inPrivilegedPod(), devices: [device] },
  );
  assert.ok(process?.capabilities?.permitted?.includes("CAP_SYS_ADMIN"));
  assert.deepEqual(linux.maskedPaths, []);
  assert.deepEqual(linux.readonlyPaths, []);
  assert.equal(process?.apparmorProfile, undefined);
  assert.equal(linux.seccomp, undefined);
  assert.deepEqual(linux.resources?.devices, [{ allow: true, access: "rwm" }]);
  assert.deepEqual(linux.devices, [{ type: "b", path: "/dev/sda", major: 8, minor: 0 }]);
  assert.ok(!linux.namespaces?.some(({ type }) => type === "cgroup"));
});

test("`buildContainerSpec()` takes the CRI's masked and read-only paths as they are", () => {
  const { linux } = build({ maskedPaths: ["/bin/ls"] });
  assert.deepEqual(linux?.maskedPaths, ["/bin/ls"]);
  assert.deepEqual(linux?.readonlyPaths, []);
});

test("`buildContainerSpec()` hides the usual paths from a client that names none", () => {
  const { linux } = build();
  assert.ok(linux?.maskedPaths?.includes("/proc/kcore"));
  assert.ok(linux?.readonlyPaths?.includes("/proc/sys"));
});

// containerd#5029: procMount: Unmasked arrives as two empty lists, in pods with a user namespace only.
test("`buildContainerSpec()` hides nothing in a user namespace that asks for nothing", () => {
  const mapping = [{ hostId: 100000, containerId: 0, length: 65536 }];
  const namespaces = {
    network: "pod",
    ipc: "pod",
    pid: "container",
    targetId: "",
    user: { mode: "pod", uids: mapping, gids: mapping },
  } as const;
  const { linux } = build({
    namespaces: { ...namespaces, user: { ...namespaces.user, uids: [...mapping], gids: [...mapping] } },
  });
  assert.deepEqual(linux?.maskedPaths, []);
  assert.deepEqual(linux?.readonlyPaths, []);
});

test("`buildContainerSpec()` denies all devices but the default ones and those granted", () => {
  const device = { type: "c", path: "/dev/fuse", major: 10, minor: 229, permissions: "rw" } as const;
  const rules = build({}, { devices: [device] }).linux?.resources?.devices ?? [];
  assert.deepEqual(rules[0], { allow: false, access: "rwm" });
  assert.deepEqual(rules.at(-1), { allow: true, type: "c", major: 10, minor: 229, access: "rw" });
  assert.ok(rules.slice(1).every(({ allow }) => allow));
});

test("`buildContainerSpec()` sets resources only where they are asked for", () => {
  const config = containerConfig({
    resources: resources({
      memoryLimitBytes: 2n ** 60n,
      cpuShares: 512n,
      cpusetCpus: "0-1",
      oomScoreAdj: 999,
    }),
  });
  const { spec } = buildContainerSpec(specInput({ config }));
  assert.deepEqual(spec.linux?.resources?.memory, { limit: 2n ** 60n });
  assert.deepEqual(spec.linux?.resources?.cpu, { shares: 512n, cpus: "0-1" });
  assert.equal(spec.process?.oomScoreAdj, 999);
  const plain = buildContainerSpec(specInput()).spec.linux?.resources;
  assert.deepEqual(Object.keys(plain ?? {}), ["devices"]);
});

test("`buildContainerSpec()` gives the default rlimits and pids limit of the host", () => {
  const input = specInput();
  const host = {
    ...input.host,
    pidsLimit: 100,
    defaultRlimits: [{ name: "nofile", soft: 1024n, hard: -1n }],
  };
  const { spec } = buildContainerSpec({ ...input, host });
  assert.deepEqual(spec.process?.rlimits, [{ type: "RLIMIT_NOFILE", soft: 1024n, hard: 2n ** 64n - 1n }]);
  assert.deepEqual(spec.linux?.resources?.pids, { limit: 100n });
});

test("`buildContainerSpec()` gives seccomp only where the CRI asks for it", () => {
  const profile = { seccompProfile: defaultSeccompProfile };
  assert.equal(build({}, profile).linux?.seccomp, undefined);
  assert.equal(build({ seccomp: { type: "unconfined" } }, profile).linux?.seccomp, undefined);
  const seccomp = build({ seccomp: { type: "runtime-default" } }, profile).linux?.seccomp;
  assert.equal(seccomp?.defaultAction, "SCMP_ACT_ERRNO");
});

test("`buildContainerSpec()` resolves the seccomp profile by the capabilities of the container", () => {
  const allowed = (changes: Partial<ContainerSecurity>): boolean =>
    build(
      { ...changes, seccomp: { type: "runtime-default" } },
      { seccompProfile: defaultSeccompProfile },
    ).linux?.seccomp?.syscalls?.some(
      ({ names, action }) => names.includes("mount") && action === "SCMP_ACT_ALLOW",
    ) ?? false;
  assert.equal(allowed({}), false);
  assert.equal(allowed({ capabilities: { add: ["SYS_ADMIN"], drop: [], addAmbient: [] } }), true);
});

test("`buildContainerSpec()` names the AppArmor profile and SELinux labels of a host that has them", () => {
  const process = "system_u:system_r:container_t:s0:c1,c2";
  const mount = "system_u:object_r:container_file_t:s0:c1,c2";
  const labelled = build({}, { labels: { apparmorProfile: "cricket-default", selinux: { process, mount } } });
  assert.equal(labelled.process?.apparmorProfile, "cricket-default");
  assert.equal(labelled.process?.selinuxLabel, process);
  assert.equal(labelled.linux?.mountLabel, mount);
  const plain = build({}, { labels: { selinux: { process: "", mount: "" } } });
  assert.equal(plain.process?.selinuxLabel, undefined);
  assert.equal(plain.linux?.mountLabel, undefined);
});

// CVE-2024-3154, CVE-2026-53488: what a pod or an image says must not reach runtimes as if the node had said it.
test("`buildContainerSpec()` passes no annotation of the pod and no label of the image on", () => {
  const config = containerConfig({
    annotations: { "org.systemd.property.ExecStart": "x" },
    labels: { a: "b" },
  });
  const image = { ...specInput().image, labels: { "io.kubernetes.cri.sandbox-id": "other" } };
  const { spec } = buildContainerSpec(specInput({ config, image }));
  assert.deepEqual(spec.annotations, {
    "io.kubernetes.cri.container-type": "container",
    "io.kubernetes.cri.container-name": "web",
    "io.kubernetes.cri.sandbox-id": "s1",
  });
});
