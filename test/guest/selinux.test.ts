// SELinux on a kernel that has it, with a policy of our own, enforced: labels of processes, files, volumes and execs.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before, describe, it } from "node:test";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { getxattr } from "../../src/linux/files.ts";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { containerConfig, podConfig } from "../support/pod.ts";
import { requires } from "../support/requires.ts";
import { readLog, untilEnded } from "../support/run-in-pod.ts";
import { enforceTestPolicy } from "../support/selinux-policy.ts";
import { startStaticRegistry, type StaticRegistry } from "../support/static-registry.ts";
import { busyboxImage } from "../support/test-image.ts";

const needs = requires("root", "selinux", "package:checkpolicy", "package:busybox-static");
const { NODE, CONTAINER, POD } = v1.NamespaceMode;

describe("the daemon with SELinux", needs, () => {
  let registry: StaticRegistry;
  let daemon: TestDaemon;
  let image: string;

  before(async () => {
    fs.mkdirSync("/tmp/policy");
    enforceTestPolicy("/tmp/policy");
    registry = await startStaticRegistry();
    daemon = await startDaemon({ registries: [registry.address] });
    image = registry.add("test/busybox", "1", await busyboxImage());
    await daemon.client.image.pullImage({ image: { image } });
  });
  after(async () => {
    try {
      await daemon.close();
    } finally {
      await registry.close();
    }
  });

  interface Pod {
    id: string;
    config: v1.PodSandboxConfigSent;
    logDirectory: string;
  }

  async function runPod(name: string, security: v1.LinuxSandboxSecurityContextSent = {}): Promise<Pod> {
    const logDirectory = path.join(daemon.directory, name);
    fs.mkdirSync(logDirectory);
    const namespaceOptions = { network: POD, pid: CONTAINER, ipc: POD };
    const more = { linux: { securityContext: { namespaceOptions, ...security } } };
    const config = podConfig({ name, logDirectory, more });
    const { podSandboxId: id } = await daemon.client.runtime.runPodSandbox({ config });
    return { id, config, logDirectory };
  }

  interface Asked {
    command?: string;
    security?: v1.LinuxContainerSecurityContextSent;
    mounts?: v1.MountSent[];
  }

  let containers = 0;
  async function start(pod: Pod, { command = "sleep 1000", security = {}, mounts = [] }: Asked = {}) {
    const { runtime } = daemon.client;
    const name = `c${containers++}`;
    const config = containerConfig({
      name,
      image,
      command: ["sh", "-c", command],
      more: { mounts, linux: { securityContext: security } },
    });
    const ids = { podSandboxId: pod.id, sandboxConfig: pod.config };
    const { containerId } = await runtime.createContainer({ ...ids, config });
    await runtime.startContainer({ containerId });
    return { containerId, log: path.join(pod.logDirectory, `${name}.log`) };
  }

  async function run(pod: Pod, asked: Asked): Promise<string> {
    const { containerId, log } = await start(pod, asked);
    await untilEnded(daemon, containerId);
    return readLog(log);
  }

  async function labelsOf(containerId: string): Promise<{ process: string; of: (path: string) => string }> {
    const { info } = await daemon.client.runtime.containerStatus({ containerId, verbose: true });
    const { pid } = JSON.parse(info["info"] ?? "{}") as { pid: number };
    return {
      process: fs.readFileSync(`/proc/${pid}/attr/current`, "latin1").replaceAll(/[\0\n]/g, ""),
      of: (file) => labelOf(`/proc/${pid}/root${file}`),
    };
  }

  const labelOf = (file: string): string =>
    getxattr(file, "security.selinux")?.toString("latin1").replace(/\0$/, "") ?? "";
  const levelOf = (label: string): string => label.split(":").slice(3).join(":");

  it("says that it is enforced", async () => {
    const { info } = await daemon.client.runtime.status({ verbose: true });
    assert.deepEqual(JSON.parse(info["security"] ?? "{}").selinux, {
      enabled: true,
      enforcing: true,
      processLabel: "system_u:system_r:container_t:s0",
      mountLabel: "system_u:object_r:container_file_t:s0",
    });
  });

  it("labels processes, files and execs with the categories of the pod", async () => {
    const [one, two] = [await runPod("one"), await runPod("two")];
    const first = await start(one);
    const labels = await labelsOf(first.containerId);
    assert.match(labels.process, /^system_u:system_r:container_t:s0:c\d+,c\d+$/);
    const level = levelOf(labels.process);
    for (const file of ["/", "/bin/sh", "/dev", "/dev/shm", "/dev/mqueue", "/etc/hosts", "/etc/resolv.conf"])
      assert.equal(labels.of(file), `system_u:object_r:container_file_t:${level}`, file);
    const exec = await daemon.client.runtime.execSync({
      containerId: first.containerId,
      cmd: ["cat", "/proc/self/attr/current"],
    });
    const { exitCode, stdout, stderr } = exec;
    const output = Buffer.concat([stdout, stderr]).toString().replaceAll("\0", "");
    assert.deepEqual({ exitCode, output }, { exitCode: 0, output: labels.process });
    const sibling = await labelsOf((await start(one)).containerId);
    assert.equal(sibling.process, labels.process);
    const stranger = await labelsOf((await start(two)).containerId);
    assert.notEqual(levelOf(stranger.process), level);
  });

  it("labels a process 1 that the containers of the pod can see, and its root", async () => {
    const namespaceOptions = { network: POD, pid: POD, ipc: POD };
    const pod = await runPod("shared-pids", { namespaceOptions });
    const { info } = await daemon.client.runtime.podSandboxStatus({ podSandboxId: pod.id, verbose: true });
    const { pid } = JSON.parse(info["info"] ?? "{}") as { pid: number };
    const mounts = fs.readFileSync(`/proc/${pid}/mountinfo`, "utf8");
    assert.match(mounts, /,context="system_u:object_r:container_file_t:s0:c\d+,c\d+",/);
    const container = await start(pod);
    const { process } = await labelsOf(container.containerId);
    const exec = await daemon.client.runtime.execSync({
      containerId: container.containerId,
      cmd: ["sh", "-c", "cat /proc/1/attr/current /proc/1/comm"],
    });
    assert.equal(exec.stderr.toString(), "");
    assert.equal(exec.stdout.toString().replaceAll("\0", "\n"), `${process}\npause\n`);
  });

  it("takes a level, and a type, from pod and container", async () => {
    const selinuxOptions = { user: "", role: "", type: "", level: "s0:c5,c6" };
    const pod = await runPod("asked", { selinuxOptions });
    const { process, of } = await labelsOf((await start(pod)).containerId);
    assert.equal(process, "system_u:system_r:container_t:s0:c5,c6");
    assert.equal(of("/bin/sh"), "system_u:object_r:container_file_t:s0:c5,c6");
    const security = { selinuxOptions: { user: "", role: "", type: "spc_t", level: "" } };
    const other = await labelsOf((await start(pod, { security })).containerId);
    assert.equal(other.process, "system_u:system_r:spc_t:s0:c5,c6");
    const unknown = { selinuxOptions: { user: "", role: "", type: "nonsense_t", level: "" } };
    await assert.rejects(start(pod, { security: unknown }), {
      status: "INVALID_ARGUMENT",
      message: /nonsense_t/,
    });
  });

  it("relabels a volume, but neither what its links point to nor the host's own directories", async () => {
    const pod = await runPod("volume");
    const volume = path.join(daemon.directory, "volume-data");
    const outside = path.join(daemon.directory, "outside");
    fs.mkdirSync(path.join(volume, "sub"), { recursive: true });
    for (const file of [path.join(volume, "sub/file"), outside]) fs.writeFileSync(file, "x\n");
    fs.symlinkSync(outside, path.join(volume, "link"));
    const before = labelOf(outside);
    const mount = (selinuxRelabel: boolean, hostPath = volume) => [
      { containerPath: "/data", hostPath, selinuxRelabel },
    ];
    const command = "cat /data/sub/file; echo y >/data/sub/file && echo written";
    // Enforced: without its label the volume is out of reach.
    assert.doesNotMatch(await run(pod, { command, mounts: mount(false) }), /^x|written/m);
    assert.equal(await run(pod, { command, mounts: mount(true) }), "x\nwritten\n");
    const { process } = await labelsOf((await start(pod)).containerId);
    assert.equal(
      labelOf(path.join(volume, "sub/file")),
      `system_u:object_r:container_file_t:${levelOf(process)}`,
    );
    assert.equal(labelOf(outside), before);
    // The volume belongs to that pod now.
    const other = await runPod("other");
    assert.doesNotMatch(await run(other, { command, mounts: mount(false) }), /^y|written/m);
    await assert.rejects(start(pod, { mounts: mount(true, "/var/lib") }), {
      status: "INVALID_ARGUMENT",
      message: /\/var\/lib must keep its label/,
    });
  });

  it("keeps privileged containers from nothing, and labels nothing that shares the host's processes", async () => {
    const pod = await runPod("privileged", { privileged: true });
    const privileged = await labelsOf((await start(pod, { security: { privileged: true } })).containerId);
    assert.equal(privileged.process, "system_u:system_r:spc_t:s0");
    assert.match(privileged.of("/bin/sh"), /^system_u:object_r:container_file_t:s0:c\d+,c\d+$/);
    const namespaceOptions = { network: POD, pid: NODE, ipc: POD };
    const shared = await runPod("shared", { namespaceOptions });
    const { process } = await labelsOf((await start(shared, { security: { namespaceOptions } })).containerId);
    assert.match(process, /^system_u:system_r:kernel_t:/);
  });
});
