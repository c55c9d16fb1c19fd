// Golden programs: what `cricket explain` prints for a dozen launches. After a wanted change:
//   UPDATE_GOLDEN=1 npx tsx --test test/unit/oci/explain.test.ts
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { namespaceJoins } from "../../../src/container/build-namespaces.ts";
import { buildContainerSpec, type ContainerSpecInput } from "../../../src/container/build-spec.ts";
import type { ContainerConfig, ContainerSecurity } from "../../../src/container/container-config.ts";
import type { LaunchProgram } from "../../../src/linux/launch-program.ts";
import { compileContainer } from "../../../src/oci/compile-container.ts";
import { compileExec } from "../../../src/oci/compile-exec.ts";
import { compileSandbox } from "../../../src/oci/compile-sandbox.ts";
import type { CgroupView } from "../../../src/oci/container-launch.ts";
import { explainProgram, explainSpec } from "../../../src/oci/explain.ts";
import type { Linux } from "../../../src/oci/linux-spec.ts";
import type { Spec } from "../../../src/oci/spec.ts";
import { containerConfig, security, specInput } from "../container/container-fixtures.ts";

const golden = join(import.meta.dirname, "golden");

function assertGolden(name: string, text: string): void {
  const path = join(golden, `${name}.txt`);
  if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(path, text);
  assert.equal(text, readFileSync(path, "utf8"));
}

const names = new Map([
  [10, "rootfs mount"],
  [20, "tasks of memory"],
  [21, "cgroup directory"],
  [30, "pidfd of pause"],
  [31, "pidfd of the target"],
  [32, "pidfd of init"],
  [40, "pause program"],
]);
const explain = (program: LaunchProgram): string =>
  explainProgram(program, (fd) => names.get(fd) ?? `fd ${fd}`);

// Three instructions stand for a filter: the real one differs from library to library.
const filter = { program: new Uint8Array(24), flags: 4, listener: false };

interface Case {
  security?: Partial<ContainerSecurity>;
  config?: Partial<ContainerConfig>;
  input?: Partial<ContainerSpecInput>;
  seccomp?: boolean;
  cgroupView?: CgroupView;
}

function specOf({ security: changes, config, input }: Case): { spec: Spec; env: Uint8Array[] } {
  return buildContainerSpec(
    specInput({ config: containerConfig({ security: security(changes), ...config }), ...input }),
  );
}

function explainContainer(request: Case): string {
  const { spec, env } = specOf(request);
  const linux: Linux = {
    ...spec.linux,
    ...(request.seccomp === true ? { seccomp: { defaultAction: "SCMP_ACT_ALLOW" } } : {}),
  };
  const hasTarget = spec.linux?.namespaces?.some(({ path }) => path === "/proc/77/ns/pid") === true;
  return explain(
    compileContainer({
      id: "c1",
      spec: { ...spec, linux },
      env,
      rootfs: { mount: 10, target: "/run/containers/c1/rootfs", parentMount: "/run" },
      join: namespaceJoins(spec, 30, hasTarget ? 31 : undefined),
      cgroup: { files: [20], directory: 21 },
      cgroupView: request.cgroupView ?? { version: 2 },
      ...(request.seccomp === true ? { seccomp: filter } : {}),
      parentDeathSignal: 9,
    }),
  );
}

const volume = {
  readonly: false,
  recursiveReadOnly: false,
  propagation: "private",
  selinuxRelabel: false,
  uidMappings: [],
  gidMappings: [],
} as const;
const privilegedPod = { ...specInput().sandbox, privileged: true };
const host = specInput().host;

const containers: Record<string, Case> = {
  "plain container": {},
  "container as the kubelet asks for one": {
    seccomp: true,
    security: {
      noNewPrivs: true,
      readonlyRootfs: true,
      capabilities: { add: ["NET_BIND_SERVICE"], drop: ["ALL"], addAmbient: [] },
    },
    config: {
      workingDir: "/srv",
      mounts: [
        {
          ...volume,
          containerPath: "/etc/hosts",
          hostPath: "/pods/p1/etc-hosts",
          uidMappings: [],
          gidMappings: [],
        },
        {
          ...volume,
          containerPath: "/data",
          hostPath: "/pods/p1/volumes/data",
          uidMappings: [],
          gidMappings: [],
        },
        {
          ...volume,
          containerPath: "/data/ro",
          hostPath: "/srv/ro",
          readonly: true,
          recursiveReadOnly: true,
          uidMappings: [],
          gidMappings: [],
        },
      ],
    },
    input: { user: { uid: 1000, gid: 2000, additionalGids: [2000, 3000], home: "/home/app" } },
  },
  "container that may gain privileges": { seccomp: true, security: { noNewPrivs: false } },
  "privileged container": {
    security: { privileged: true, noNewPrivs: false },
    input: {
      sandbox: privilegedPod,
      devices: [{ type: "b", path: "/dev/sda", major: 8, minor: 0, permissions: "rwm" }],
    },
  },
  "container with a terminal": { config: { tty: true, stdin: true } },
  "container in the host's namespaces": {
    security: { namespaces: { network: "node", ipc: "node", pid: "node", targetId: "" } },
  },
  "container that shares the pod's processes": {
    security: { namespaces: { network: "pod", ipc: "pod", pid: "pod", targetId: "" } },
  },
  "container that looks into another": {
    security: { namespaces: { network: "pod", ipc: "pod", pid: "target", targetId: "c0" } },
    input: { sandbox: { ...specInput().sandbox, targetPid: 77 } },
  },
  "container with a volume shared both ways": {
    security: { privileged: true },
    config: {
      mounts: [
        {
          ...volume,
          containerPath: "/mnt",
          hostPath: "/srv/mnt",
          propagation: "bidirectional",
          uidMappings: [],
          gidMappings: [],
        },
      ],
    },
    input: { sandbox: privilegedPod },
  },
  "container on cgroup v1": {
    input: { host: { ...host, cgroupVersion: 1 } },
    cgroupView: {
      version: 1,
      hierarchies: [
        { name: "memory", path: "/sys/fs/cgroup/memory/pods/c1", links: [] },
        { name: "cpu,cpuacct", path: "/sys/fs/cgroup/cpu,cpuacct/pods/c1", links: ["cpu", "cpuacct"] },
      ],
    },
  },
};

for (const [name, request] of Object.entries(containers))
  test(`\`explainProgram()\` explains a ${name}`, () =>
    assertGolden(name.replaceAll(" ", "-"), explainContainer(request)));

test("`explainProgram()` explains an exec", () => {
  const { spec, env } = specOf({ input: { user: { uid: 5, gid: 6, additionalGids: [6], home: "/" } } });
  const program = compileExec({
    spec,
    env,
    initPidfd: 32,
    command: ["cat", "/etc/hosts"],
    cgroup: { files: [20], directory: 21 },
  });
  assertGolden("exec", explain(program));
});

test("`explainProgram()` explains a sandbox", () => {
  const program = compileSandbox({
    namespaces: { network: true, ipc: true, pid: true, uts: true },
    hostname: "pod-a",
    sysctls: [{ path: "/proc/sys/net/ipv4/ip_unprivileged_port_start", value: "0" }],
    cgroup: { files: [20], directory: 21 },
    pause: 40,
    rootfs: { mount: 10, target: "/run/sandboxes/s1" },
  });
  assertGolden("sandbox", explain(program));
});

test("`explainSpec()` explains a config.json with everything in it, with words for descriptors", () => {
  const ids = [{ containerID: 0, hostID: 100000, size: 65536 }];
  const spec: Spec = {
    ociVersion: "1.2.0",
    root: { path: "/bundles/b1/rootfs", readonly: true },
    hostname: "box",
    domainname: "example.org",
    mounts: [
      { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
      { destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["ro", "noatime", "size=1m"] },
      { destination: "/data", source: "/srv", options: ["rbind", "rslave", "ro"] },
    ],
    process: {
      terminal: true,
      consoleSize: { height: 24, width: 80 },
      cwd: "/work",
      args: ["sh", "-c", "echo 'a b'"],
      env: ["PATH=/bin", "SECRET=hidden"],
      user: { uid: 1, gid: 2, umask: 0o77, additionalGids: [3] },
      rlimits: [{ type: "RLIMIT_NOFILE", soft: 1024n, hard: 2n ** 64n - 1n }],
      capabilities: { bounding: ["CAP_KILL"], permitted: ["CAP_KILL"], effective: [] },
      apparmorProfile: "strict",
      selinuxLabel: "system_u:system_r:container_t:s0",
      oomScoreAdj: 100,
      scheduler: { policy: "SCHED_BATCH", nice: 5 },
      ioPriority: { class: "IOPRIO_CLASS_IDLE", priority: 0 },
    },
    linux: {
      namespaces: [{ type: "mount" }, { type: "pid" }, { type: "uts" }, { type: "user" }, { type: "ipc" }],
      uidMappings: ids,
      gidMappings: ids,
      cgroupsPath: "/boxes/b1",
      sysctl: { "kernel.shmmax": "65536" },
      rootfsPropagation: "rslave",
      personality: { domain: "LINUX32" },
      maskedPaths: ["/proc/kcore"],
      readonlyPaths: ["/proc/sys"],
    },
  };
  const text = explainSpec(spec);
  assertGolden("config", text);
  assert.ok(!text.includes("hidden"));
});
