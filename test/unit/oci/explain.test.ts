// Golden programs: what `cricket explain` prints for containers of the daemon. assert-golden.ts says how to change them.
import { test } from "node:test";
import { namespaceJoins } from "../../../src/container/build-namespaces.ts";
import { buildContainerSpec, type ContainerSpecInput } from "../../../src/container/build-spec.ts";
import type { ContainerConfig, ContainerSecurity } from "../../../src/container/container-config.ts";
import type { LaunchProgram } from "../../../src/linux/launch-program.ts";
import { compileContainer } from "../../../src/oci/compile-container.ts";
import { compileExec } from "../../../src/oci/compile-exec.ts";
import { compileSandbox } from "../../../src/oci/compile-sandbox.ts";
import type { CgroupView } from "../../../src/oci/container-launch.ts";
import { explainProgram } from "../../../src/oci/explain.ts";
import type { Linux } from "../../../src/oci/linux-spec.ts";
import type { Spec } from "../../../src/oci/spec.ts";
import { assertGolden } from "./assert-golden.ts";
import { containerConfig, security, specInput } from "../container/container-fixtures.ts";

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
  test(`\`explainProgram()\` explains a ${name}`, () => assertGolden(name, explainContainer(request)));

test("`explainProgram()` explains an exec", () => {
  const { spec, env } = specOf({ input: { user: { uid: 5, gid: 6, additionalGids: [6], home: "/" } } });
  const program = compileExec({
    id: "c1",
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
