// The systemd driver against a real systemd, over the message bus and over systemd's own socket.
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { after, before, describe, it, type TestContext } from "node:test";
import { HelperBinary } from "../../../src/linux/helper-binary.ts";
import { startPlaceholder } from "../../../src/linux/systemd/placeholder.ts";
import { SystemdCgroupManager } from "../../../src/linux/systemd/systemd-cgroup-manager.ts";
import { SystemdClient, type SystemdAddress } from "../../../src/linux/systemd/systemd-client.ts";
import { uint64 } from "../../../src/linux/systemd/unit-properties.ts";
import { cgroupFile, show, systemctl, unitsLike, withSystemd } from "./units.ts";
import { until } from "../../support/until.ts";

const MiB = 1024n * 1024n;
const addresses: Record<string, SystemdAddress> = {
  "the message bus": { path: "/run/dbus/system_bus_socket", isBus: true },
  "systemd's own socket": { path: "/run/systemd/private", isBus: false },
};

describe("the machine", withSystemd, () => {
  it("has a systemd as PID 1 and cgroup v2 alone", () => {
    assert.equal(fs.readFileSync("/proc/1/comm", "utf8"), "systemd\n");
    assert.doesNotMatch(fs.readFileSync("/proc/self/mountinfo", "utf8"), / - cgroup /);
  });
});

for (const [name, address] of Object.entries(addresses))
  describe(`scopes by way of ${name}`, withSystemd, () => {
    let helper: HelperBinary;
    let client: SystemdClient;
    let manager: SystemdCgroupManager;
    let count = 0;

    before(() => {
      helper = HelperBinary.load(path.join(import.meta.dirname, "../../../build"));
      client = new SystemdClient([address]);
      manager = new SystemdCgroupManager({ client, startPlaceholder: () => startPlaceholder(helper) });
    });
    after(async () => {
      await client.close();
      helper.close();
    });

    /** A path in a slice of the test's own, which is stopped at its end. */
    function newScope(t: TestContext): { cgroup: string; unit: string } {
      const slice = `crickettest-${process.pid}x${count++}.slice`;
      const unit = "cricket-a.scope";
      t.after(() => systemctl("stop", slice));
      return { cgroup: `/crickettest.slice/${slice}/${unit}`, unit };
    }

    async function run(t: TestContext, cgroup: string, script: string): Promise<ChildProcess> {
      const child = spawn("sh", ["-c", `read go; ${script}`], { stdio: ["pipe", "ignore", "inherit"] });
      t.after(() => child.kill("SIGKILL"));
      await once(child, "spawn");
      manager.addProcess(cgroup, child.pid ?? 0);
      child.stdin?.end("go\n");
      return child;
    }

    it("makes a delegated scope with its limits, which a reload does not undo", async (t) => {
      const { cgroup, unit } = newScope(t);
      const limits = {
        memoryLimitBytes: 64n * MiB,
        memorySwapLimitBytes: 64n * MiB,
        memoryReservationBytes: 16n * MiB,
        cpuShares: 512n,
        cpuQuota: 12_345n,
        cpuPeriod: 50_000n,
        pidsLimit: 33n,
        unified: { "memory.high": String(48n * MiB), "memory.oom.group": "1" },
      };
      const hold = await manager.reserve(cgroup, limits);
      manager.create(cgroup, limits);
      await run(t, cgroup, "exec sleep 1000");
      await hold.release();
      assert.deepEqual(
        show(unit, "ActiveState", "ControlGroup", "Delegate", "CollectMode", "MemoryMax", "TasksMax"),
        {
          ActiveState: "active",
          ControlGroup: cgroup,
          Delegate: "yes",
          CollectMode: "inactive-or-failed",
          MemoryMax: String(64n * MiB),
          TasksMax: "33",
        },
      );
      const files = ["memory.max", "memory.low", "memory.high", "cpu.weight", "pids.max"];
      const read = (): string[] => files.map((file) => cgroupFile(cgroup, file));
      const expected = ["67108864", "16777216", "50331648", "59", "33"];
      assert.deepEqual(read(), expected);
      assert.equal(cgroupFile(cgroup, "cpu.max"), "12345 50000");
      assert.equal(cgroupFile(cgroup, "memory.oom.group"), "1");
      systemctl("daemon-reload");
      assert.deepEqual(read(), expected);
      // In whole percents a second after a reload, never less than what was asked.
      assert.equal(cgroupFile(cgroup, "cpu.max"), "12500 50000");
      // Before 253 there was nothing to tell systemd by.
      if ((await client.version()) >= 253) assert.equal(cgroupFile(cgroup, "memory.oom.group"), "1");
      await manager.kill(cgroup);
      await manager.remove(cgroup);
      assert.deepEqual(unitsLike("cricket-a.scope"), []);
      assert.equal(fs.existsSync(`/sys/fs/cgroup${cgroup}`), false);
    });

    it("changes limits, also for systemd, and refuses what does not fit", async (t) => {
      const { cgroup, unit } = newScope(t);
      const hold = await manager.reserve(cgroup);
      manager.create(cgroup);
      await run(t, cgroup, "dd if=/dev/zero bs=20M count=1 2>/dev/null | sleep 1000");
      await hold.release();
      assert.equal(show(unit, "MemoryMax")["MemoryMax"], "infinity");
      await manager.updateResources(cgroup, {
        memoryLimitBytes: 128n * MiB,
        pidsLimit: 44n,
        cpuQuota: 10_000n,
      });
      assert.deepEqual(show(unit, "MemoryMax", "TasksMax", "CPUQuotaPerSecUSec"), {
        CPUQuotaPerSecUSec: "100ms",
        MemoryMax: String(128n * MiB),
        TasksMax: "44",
      });
      await until("memory in use", () => BigInt(cgroupFile(cgroup, "memory.current")) > 19n * MiB);
      await assert.rejects(manager.updateResources(cgroup, { memoryLimitBytes: 4n * MiB }), /EBUSY/);
      assert.equal(show(unit, "MemoryMax")["MemoryMax"], String(128n * MiB));
      systemctl("daemon-reload");
      assert.equal(cgroupFile(cgroup, "memory.max"), String(128n * MiB));
      assert.equal(cgroupFile(cgroup, "pids.max"), "44");
      await manager.kill(cgroup);
      await manager.remove(cgroup);
    });

    it("goes when the placeholder goes before a process came", async (t) => {
      const { cgroup, unit } = newScope(t);
      const hold = await manager.reserve(cgroup);
      assert.equal(show(unit, "ActiveState")["ActiveState"], "active");
      await hold.release();
      await hold.release();
      await until("the scope is gone", () => unitsLike(unit).length === 0);
      await manager.remove(cgroup);
      await manager.remove(cgroup);
    });

    it("leaves no failed scope behind, and takes the place of one that another left", async (t) => {
      const { cgroup, unit } = newScope(t);
      const sleeper = spawn("sleep", ["1000"]);
      t.after(() => sleeper.kill("SIGKILL"));
      await once(sleeper, "spawn");
      // Without CollectMode, and ended by its time limit: such a scope fails and stays loaded.
      await client.startTransientUnit(unit, [
        ["PIDs", { signature: "au", value: [sleeper.pid ?? 0] }],
        ["RuntimeMaxUSec", uint64(1000n)],
      ]);
      await until("the scope has failed", () => show(unit, "ActiveState")["ActiveState"] === "failed");
      const hold = await manager.reserve(cgroup);
      assert.equal(show(unit, "ActiveState")["ActiveState"], "active");
      await hold.release();
      await until("the scope is gone", () => unitsLike(unit).length === 0);
    });

    it("refuses a scope that is in use, and leaves it as it is", async (t) => {
      const { cgroup, unit } = newScope(t);
      const hold = await manager.reserve(cgroup);
      await assert.rejects(client.startTransientUnit(unit, []), { code: "already-exists" });
      assert.equal(show(unit, "ActiveState")["ActiveState"], "active");
      await hold.release();
    });

    it("says which property systemd refused, and leaves nothing", async (t) => {
      const { cgroup, unit } = newScope(t);
      await assert.rejects(
        manager.reserve(cgroup, {}, [["NoSuchProperty", uint64(1n)]]),
        /scope cricket-a\.scope: StartTransientUnit: .*NoSuchProperty/,
      );
      assert.deepEqual(unitsLike(unit), []);
      assert.equal(fs.existsSync(`/sys/fs/cgroup${cgroup}`), false);
    });

    it("enters the container where it is when systemd has lost its scope (runc#4620)", async (t) => {
      const { cgroup, unit } = newScope(t);
      const hold = await manager.reserve(cgroup);
      manager.create(cgroup);
      const child = await run(t, cgroup, "exec sleep 1000");
      await hold.release();
      const elsewhere = `/crickettest-elsewhere-${process.pid}`;
      fs.mkdirSync(`/sys/fs/cgroup${elsewhere}`);
      t.after(async () => {
        child.kill("SIGKILL");
        await once(child, "exit");
        fs.rmdirSync(`/sys/fs/cgroup${elsewhere}`);
      });
      fs.writeFileSync(`/sys/fs/cgroup${elsewhere}/cgroup.procs`, String(child.pid));
      await until("the scope is gone", () => unitsLike(unit).length === 0);
      assert.throws(() => manager.joinFiles(cgroup), /ENOENT/);
      for (const join of [
        manager.joinFiles(cgroup, child.pid),
        manager.execSubgroup(cgroup, "x", child.pid),
      ]) {
        assert.equal(fs.readlinkSync(`/proc/self/fd/${join.directory}`), `/sys/fs/cgroup${elsewhere}`);
        assert.equal(join.killFile, undefined);
        join[Symbol.dispose]();
      }
      await manager.remove(cgroup);
    });

    it("goes on after the bus or systemd has closed the connection", async () => {
      assert.ok((await client.version()) > 200);
      await client.close();
      await client.resetFailedUnit("no-such-unit.scope");
    });
  });
