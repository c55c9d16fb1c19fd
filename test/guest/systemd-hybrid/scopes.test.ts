// The systemd driver where systemd has the controllers on cgroup v1, as distributions had it until 2021.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { after, before, describe, it, type TestContext } from "node:test";
import { HelperBinary } from "../../../src/linux/helper-binary.ts";
import { hierarchyOf } from "../../../src/linux/cgroup/layout.ts";
import { startPlaceholder } from "../../../src/linux/systemd/placeholder.ts";
import { SystemdCgroupManager } from "../../../src/linux/systemd/systemd-cgroup-manager.ts";
import { SystemdClient } from "../../../src/linux/systemd/systemd-client.ts";
import { show, systemctl, unitsLike, withSystemd } from "../systemd/units.ts";

const MiB = 1024n * 1024n;
const unit = "cricket-a.scope";
const cgroup = `/crickettest.slice/${unit}`;

describe("scopes on cgroup v1", withSystemd, () => {
  let helper: HelperBinary;
  let client: SystemdClient;
  let manager: SystemdCgroupManager;

  before(() => {
    helper = HelperBinary.load(path.join(import.meta.dirname, "../../../build"));
    client = new SystemdClient();
    manager = new SystemdCgroupManager({ client, startPlaceholder: () => startPlaceholder(helper) });
  });
  after(async () => {
    await client.close();
    helper.close();
    systemctl("stop", "crickettest.slice");
  });

  const file = (controller: string, name: string): string =>
    fs.readFileSync(`${hierarchyOf(manager.layout, controller)?.root}${cgroup}/${name}`, "utf8").trim();

  const devices = (): string[] => file("devices", "devices.list").split("\n").toSorted();

  async function sleeper(t: TestContext): Promise<void> {
    const child = spawn("sleep", ["1000"]);
    t.after(() => child.kill("SIGKILL"));
    await once(child, "spawn");
    manager.addProcess(cgroup, child.pid ?? 0);
  }

  it("the machine has v1 controllers and a v2 hierarchy beside them", () => {
    assert.equal(manager.layout.kind, "hybrid");
    assert.equal(hierarchyOf(manager.layout, "memory")?.version, 1);
  });

  it("keep limits and device rules when systemd is reloaded", async (t) => {
    const limits = {
      memoryLimitBytes: 64n * MiB,
      cpuShares: 512n,
      cpuQuota: 20_000n,
      cpuPeriod: 100_000n,
      pidsLimit: 30n,
      networkClassId: 0x10_0001,
    };
    const hold = await manager.reserve(cgroup, limits);
    manager.create(cgroup, limits);
    manager.setDevices(cgroup, [
      { allow: false },
      { allow: true, type: "c", access: "m" },
      { allow: true, type: "c", major: 1, minor: 3, access: "rwm" },
      { allow: true, type: "c", major: 136, access: "rwm" },
    ]);
    await sleeper(t);
    await hold.release();
    const read = (): string[] => [
      file("memory", "memory.limit_in_bytes"),
      file("cpu", "cpu.shares"),
      file("cpu", "cpu.cfs_quota_us"),
      file("pids", "pids.max"),
      file("net_cls", "net_cls.classid"),
      ...devices(),
    ];
    const expected = [
      String(64n * MiB),
      "512",
      "20000",
      "30",
      "1048577",
      "c *:* m",
      "c 136:* rwm",
      "c 1:3 rwm",
    ];
    assert.deepEqual(read(), expected);
    assert.deepEqual(show(unit, "MemoryLimit", "CPUShares", "TasksMax", "DevicePolicy"), {
      CPUShares: "512",
      MemoryLimit: String(64n * MiB),
      TasksMax: "30",
      DevicePolicy: "strict",
    });
    systemctl("daemon-reload");
    assert.deepEqual(read(), expected);
    await manager.updateResources(cgroup, { memoryLimitBytes: 32n * MiB });
    systemctl("daemon-reload");
    assert.deepEqual(read(), [String(32n * MiB), ...expected.slice(1)]);
    await manager.kill(cgroup);
    await manager.remove(cgroup);
    assert.deepEqual(unitsLike(unit), []);
    for (const { root } of manager.layout.v1) assert.equal(fs.existsSync(root + cgroup), false, root);
  });
});
