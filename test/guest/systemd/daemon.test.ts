// The daemon with cgroup.driver = "systemd" against a real systemd, as a kubelet with that driver uses it.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before, describe, it } from "node:test";
import { toInt64 } from "../../../cri-api/int64.ts";
import { v1 } from "../../../cri-api/runtime/v1/api.js";
import { startDaemon, type TestDaemon } from "../../support/daemon.ts";
import { containerConfig, podConfig } from "../../support/pod.ts";
import { runInPod, untilEnded } from "../../support/run-in-pod.ts";
import { requires } from "../../support/requires.ts";
import { startStaticRegistry, type StaticRegistry } from "../../support/static-registry.ts";
import { busyboxImage } from "../../support/test-image.ts";
import { cgroupFile, show, systemctl, unitsLike, withSystemd } from "./units.ts";
import { until } from "../../support/until.ts";

const mebibyte = 1024n * 1024n;

describe("the daemon with systemd's cgroups", withSystemd, () => {
  let registry: StaticRegistry;
  let daemon: TestDaemon;
  let image: string;

  before(async () => {
    registry = await startStaticRegistry();
    daemon = await startDaemon({
      registries: [registry.address],
      settings: {
        "cgroup.driver": "systemd",
        "cgroup.parent": "crickettest.slice",
        "runtimes.crun.path": "/usr/bin/crun",
        "runtimes.runc.path": "/usr/sbin/runc",
      },
    });
    image = registry.add("test/busybox", "1", await busyboxImage());
    await daemon.client.image.pullImage({ image: { image } });
  });
  after(async () => {
    try {
      await daemon.close();
      assert.deepEqual(unitsLike("cricket*.s[cl]*"), []);
    } finally {
      await registry.close();
    }
  });

  const limited = (memoryBytes: bigint) => ({
    linux: { resources: { memoryLimitInBytes: toInt64(memoryBytes), cpuShares: toInt64(512n) } },
  });

  interface Started {
    podSandboxId: string;
    containerId: string;
  }

  async function start(
    name: string,
    cgroupParent = "",
    { annotations = {}, runtimeHandler = "" } = {},
  ): Promise<Started> {
    const { runtime } = daemon.client;
    const logDirectory = path.join(daemon.directory, name);
    fs.mkdirSync(logDirectory);
    const plain = podConfig({ name, logDirectory });
    const pod = { ...plain, annotations, linux: { ...plain.linux, cgroupParent } };
    const more = { ...limited(64n * mebibyte), annotations };
    const config = containerConfig({ name: "c", image, command: ["sleep", "1000"], more });
    const { podSandboxId } = await runtime.runPodSandbox({ config: pod, runtimeHandler });
    const { containerId } = await runtime.createContainer({ podSandboxId, config, sandboxConfig: pod });
    await runtime.startContainer({ containerId });
    return { podSandboxId, containerId };
  }

  async function remove({ podSandboxId }: Started): Promise<void> {
    await daemon.client.runtime.stopPodSandbox({ podSandboxId });
    await daemon.client.runtime.removePodSandbox({ podSandboxId });
  }

  it("tells the kubelet of its driver", async () => {
    const { linux } = await daemon.client.runtime.runtimeConfig({});
    assert.equal(linux?.cgroupDriver, v1.CgroupDriver.SYSTEMD);
  });

  it("makes a slice for a pod and scopes for pause and container, and removes them", async () => {
    const started = await start("own");
    const slice = `crickettest-pod${started.podSandboxId}.slice`;
    const scope = `cricket-${started.containerId}.scope`;
    const cgroup = `/crickettest.slice/${slice}/${scope}`;
    assert.deepEqual(show(scope, "ActiveState", "ControlGroup", "MemoryMax"), {
      ActiveState: "active",
      ControlGroup: cgroup,
      MemoryMax: String(64n * mebibyte),
    });
    assert.equal(show(`cricket-${started.podSandboxId}.scope`, "Slice")["Slice"], slice);
    // Nothing but the container's own process: no placeholder is left.
    assert.equal(cgroupFile(cgroup, "cgroup.procs").split("\n").length, 1);
    await remove(started);
    assert.deepEqual(unitsLike("crickettest-pod*"), []);
    assert.deepEqual(unitsLike("cricket-*.scope"), []);
  });

  it("goes into the slice that the kubelet names, by its name or its path, and leaves it there", async () => {
    const slice = "crickettestpods-burstable-pod1.slice";
    const whole = `/crickettestpods.slice/crickettestpods-burstable.slice/${slice}`;
    for (const parent of [slice, whole]) {
      const started = await start(`named${parent.length}`, parent);
      const scope = `cricket-${started.containerId}.scope`;
      assert.equal(show(scope, "ControlGroup")["ControlGroup"], `${whole}/${scope}`);
      await remove(started);
    }
    assert.deepEqual(unitsLike(slice), [slice]);
    systemctl("stop", "crickettestpods.slice");
  });

  it("refuses a parent that is no slice, before anything is made", async () => {
    const pod = podConfig({ name: "refused", logDirectory: daemon.directory });
    for (const cgroupParent of ["/pods/x", "/pods/-x.slice"]) {
      const config = { ...pod, linux: { ...pod.linux, cgroupParent } };
      await assert.rejects(daemon.client.runtime.runPodSandbox({ config }), { status: "INVALID_ARGUMENT" });
    }
    assert.deepEqual((await daemon.client.runtime.listPodSandbox({})).items, []);
  });

  it("updates limits so that a reload does not undo them, and execs", async () => {
    const started = await start("updated");
    const { containerId } = started;
    const linux = { memoryLimitInBytes: toInt64(32n * mebibyte) };
    await daemon.client.runtime.updateContainerResources({ containerId, linux });
    systemctl("daemon-reload");
    const { stdout } = await daemon.client.runtime.execSync({
      containerId,
      cmd: ["cat", "/sys/fs/cgroup/memory.max"],
      timeout: toInt64(60n),
    });
    assert.equal(Buffer.from(stdout).toString(), `${32n * mebibyte}\n`);
    assert.equal(show(`cricket-${containerId}.scope`, "MemoryMax")["MemoryMax"], String(32n * mebibyte));
    await remove(started);
  });

  it("no annotation of a pod becomes a property of its scope (CVE-2024-3154)", async () => {
    const started = await start("annotated", "", {
      annotations: {
        "org.systemd.property.TimeoutStopUSec": "uint64 7000000",
        "org.systemd.property.ExecStartPre": "[('/bin/touch', ['touch', '/tmp/owned'], false)]",
      },
    });
    const scope = `cricket-${started.containerId}.scope`;
    assert.notEqual(show(scope, "TimeoutStopUSec")["TimeoutStopUSec"], "7s");
    await remove(started);
  });

  for (const handler of ["crun", "runc"])
    it(`has ${handler} make the scopes of its containers`, requires(`package:${handler}`), async () => {
      const started = await start(`by-${handler}`, "", { runtimeHandler: handler });
      const scope = `cricket-${started.containerId}.scope`;
      const slice = `crickettest-pod${started.podSandboxId}.slice`;
      assert.deepEqual(show(scope, "ActiveState", "ControlGroup"), {
        ActiveState: "active",
        ControlGroup: `/crickettest.slice/${slice}/${scope}`,
      });
      const { containerId } = started;
      const { stdout } = await daemon.client.runtime.execSync({
        containerId,
        cmd: ["cat", "/sys/fs/cgroup/memory.max"],
        timeout: toInt64(60n),
      });
      assert.equal(Buffer.from(stdout).toString(), `${64n * mebibyte}\n`);
      await remove(started);
      assert.deepEqual(unitsLike("cricket-*.scope"), []);
    });

  it("says OOMKilled although systemd removes the scope with its counters at once", async () => {
    for (let round = 0; round < 4; round++) {
      const { exitCode, reason } = await runInPod(daemon, {
        image,
        command: ["sh", "-c", "exec tail /dev/zero"],
        more: limited(16n * mebibyte),
      });
      assert.deepEqual({ exitCode, reason }, { exitCode: 137, reason: "OOMKilled" });
    }
  });

  it("does not say OOMKilled of a container that was stopped after another of its pod had been", async () => {
    const { runtime } = daemon.client;
    const started = await start("neighbour");
    const logDirectory = path.join(daemon.directory, "neighbour");
    const pod = podConfig({ name: "neighbour", logDirectory });
    const { podSandboxId, containerId } = started;
    const config = containerConfig({
      name: "hungry",
      image,
      command: ["tail", "/dev/zero"],
      more: limited(16n * mebibyte),
    });
    const hungry = await runtime.createContainer({ podSandboxId, config, sandboxConfig: pod });
    await runtime.startContainer(hungry);
    assert.equal((await untilEnded(daemon, hungry.containerId)).reason, "OOMKilled");
    await runtime.stopContainer({ containerId, timeout: toInt64(0n) });
    const { exitCode, reason } = await untilEnded(daemon, containerId);
    assert.deepEqual({ exitCode, reason }, { exitCode: 137, reason: "Error" });
    await remove(started);
  });

  it("finds its containers again after a restart, and nothing is left of one that was killed between steps", async () => {
    const started = await start("restarted");
    await daemon.restart({ CRICKET_FAILPOINT: "create-container/cgroup-reserved:kill" });
    const pod = podConfig({ name: "restarted", logDirectory: path.join(daemon.directory, "restarted") });
    const config = containerConfig({ name: "d", image, command: ["sleep", "1000"] });
    const { podSandboxId } = started;
    await assert.rejects(daemon.client.runtime.createContainer({ podSandboxId, config, sandboxConfig: pod }));
    await daemon.ended();
    // The placeholder has died with the daemon.
    await until("one scope each is left", () => unitsLike("cricket-*.scope").length === 2);
    await daemon.start();
    const { containers } = await daemon.client.runtime.listContainers({});
    assert.deepEqual(
      containers.map(({ id }) => id),
      [started.containerId],
    );
    await remove(started);
    assert.deepEqual(unitsLike("cricket-*.scope"), []);
  });
});
