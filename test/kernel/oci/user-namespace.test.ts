// Containers in a pod that has a user namespace of its own.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { requires } from "../../support/requires.ts";
import { Pod } from "./pod-fixture.ts";

describe("a container in a user namespace", requires("root", "user-namespaces"), () => {
  test("is root there and nobody on the host", async (t) => {
    const pod = await Pod.start(t, { firstHostId: 300_000 });
    const container = await pod.create({ probe: ["sleep", "60"] });
    await container.monitor.start();
    assert.match(
      readFileSync(`/proc/${container.monitor.initPid}/status`, "utf8"),
      /^Uid:\s+300000\s+300000/m,
    );
    const { stdout } = await pod.exec(
      container,
      "report",
      "/dev/null",
      "/proc/1/cmdline",
      "/proc/sys/net",
      "/sys",
    );
    const report = JSON.parse(stdout.toString()) as Awaited<ReturnType<Pod["report"]>>;
    assert.deepEqual(report.uids, [0, 0, 0]);
    assert.deepEqual(report.gids, [0, 0, 0]);
    assert.equal(report.paths["/dev/null"]?.device, "1:3");
    assert.match(report.paths["/proc/1/cmdline"]?.content ?? "", /^\/probe/);
  });

  test("has a pid namespace, proc and sysfs of its own", async (t) => {
    const pod = await Pod.start(t, { firstHostId: 300_000 });
    const report = await pod.report(["/sys/class/net/lo", "/dev/pts/ptmx"]);
    assert.equal(report.pid, 1);
    assert.match(report.mounts, / \/proc rw,nosuid,nodev,noexec/);
    assert.match(report.mounts, / \/sys ro,/);
    assert.equal(report.paths["/sys/class/net/lo"]?.error, undefined);
  });
});
