// `cricket oci --systemd-cgroup` against a real systemd.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { join } from "node:path";
import fs from "node:fs";
import type { Spec } from "../../../src/oci/spec.ts";
import { OciFixture } from "../../kernel/oci-runtime/oci-fixture.ts";
import { cgroupFile, show, systemctl, unitsLike, withSystemd } from "./units.ts";
import { until } from "../../support/until.ts";

const MiB = 1024 * 1024;

describe("cricket oci --systemd-cgroup", withSystemd, () => {
  let fixture: OciFixture;
  before(() => {
    fixture = new OciFixture();
  });
  after(async () => {
    await fixture.close();
    systemctl("stop", "crickettest.slice");
  });

  async function ok(...words: string[]): Promise<string> {
    const ended = await fixture.run(["--systemd-cgroup", ...words].flat());
    assert.equal(ended.status, 0, `${words.join(" ")}: ${ended.stderr}`);
    return ended.stdout;
  }
  async function fails(...words: string[]): Promise<string> {
    const ended = await fixture.run(["--systemd-cgroup", ...words]);
    assert.notEqual(ended.status, 0);
    return ended.stderr;
  }
  const inSlice =
    (path: string | undefined, more: Partial<Spec> = {}) =>
    (spec: Spec): void => {
      Object.assign(spec, more);
      spec.linux = {
        ...spec.linux,
        ...(path === undefined ? {} : { cgroupsPath: path }),
        resources: { ...spec.linux?.resources, memory: { limit: BigInt(64 * MiB) }, pids: { limit: 20n } },
      };
    };

  it("runs a container in a scope: state, exec, pause, update, delete", async () => {
    const id = fixture.newId();
    fixture.write(["sleep", "1000"], inSlice(`crickettest-a.slice:lib:${id}`));
    await ok("run", "-d", id);
    const unit = `lib-${id}.scope`;
    const cgroup = `/crickettest.slice/crickettest-a.slice/${unit}`;
    const { pid } = JSON.parse(await ok("state", id)) as { pid: number };
    assert.equal(fs.readFileSync(`/proc/${pid}/cgroup`, "utf8"), `0::${cgroup}\n`);
    assert.deepEqual(show(unit, "ActiveState", "ControlGroup", "MemoryMax", "TasksMax", "Slice"), {
      ActiveState: "active",
      ControlGroup: cgroup,
      MemoryMax: String(64 * MiB),
      TasksMax: "20",
      Slice: "crickettest-a.slice",
    });
    // The placeholder has gone: the container is alone.
    assert.equal(cgroupFile(cgroup, "cgroup.procs"), String(pid));
    assert.equal(await ok("exec", id, "cat", "/proc/self/cgroup"), "0::/\n");
    await ok("pause", id);
    assert.equal((JSON.parse(await ok("state", id)) as { status: string }).status, "paused");
    await ok("resume", id);
    // Without --systemd-cgroup: the container remembers who has its cgroup.
    const updated = await fixture.run(["update", "--memory", "96M", "--pids-limit", "30", id]);
    assert.equal(updated.status, 0, updated.stderr);
    assert.deepEqual(show(unit, "MemoryMax", "TasksMax"), { MemoryMax: String(96 * MiB), TasksMax: "30" });
    systemctl("daemon-reload");
    assert.equal(cgroupFile(cgroup, "memory.max"), String(96 * MiB));
    const deleted = await fixture.run(["delete", "--force", id]);
    assert.equal(deleted.status, 0, deleted.stderr);
    assert.deepEqual(unitsLike(unit), []);
    assert.equal(fs.existsSync(`/sys/fs/cgroup${cgroup}`), false);
  });

  it("without a path the scope lies in system.slice", async () => {
    const id = fixture.newId();
    fixture.write(["cat", "/proc/self/cgroup"], (spec) => {
      inSlice(undefined)(spec);
      // The host's view of the cgroup.
      const namespaces = (spec.linux?.namespaces ?? []).filter(({ type }) => type !== "cgroup");
      spec.linux = { ...spec.linux, namespaces };
    });
    assert.equal(await ok("run", id), `0::/system.slice/cricket-${id}.scope\n`);
    await until("the scope is gone", () => unitsLike(`cricket-${id}.scope`).length === 0);
  });

  it("a container that has ended is deleted, and its scope is gone already", async () => {
    const id = fixture.newId();
    fixture.write(["true"], inSlice(`crickettest-a.slice:lib:${id}`));
    await ok("run", "-d", id);
    await until("the scope is gone", () => unitsLike(`lib-${id}.scope`).length === 0);
    await ok("delete", id);
    assert.equal(await ok("list", "-q"), "");
  });

  it("a launch that fails leaves no scope", async () => {
    const id = fixture.newId();
    fixture.write(["true"], inSlice(`crickettest-a.slice:lib:${id}`, { root: { path: "no-such-rootfs" } }));
    assert.match(await fails("create", id), /no-such-rootfs/);
    assert.deepEqual(unitsLike(`lib-${id}.scope`), []);
    assert.equal(await ok("list", "-q"), "");
  });

  it("annotations set properties of the list and no others (CVE-2024-3154)", async () => {
    const id = fixture.newId();
    const annotated = (key: string, value: string): void =>
      fixture.write(
        ["sleep", "1000"],
        inSlice(`crickettest-a.slice:lib:${id}`, { annotations: { [`org.systemd.property.${key}`]: value } }),
      );
    annotated("ExecStartPre", "[('/bin/touch', ['touch', '/tmp/owned'], false)]");
    assert.match(await fails("create", id), /org\.systemd\.property\.ExecStartPre.*only/);
    assert.deepEqual(unitsLike(`lib-${id}.scope`), []);
    annotated("TimeoutStopUSec", "uint64 7000000");
    await ok("run", "-d", id);
    assert.equal(show(`lib-${id}.scope`, "TimeoutStopUSec")["TimeoutStopUSec"], "7s");
    await ok("delete", "--force", id);
  });

  it("refuses paths of the other driver, either way round", async () => {
    const id = fixture.newId();
    fixture.write(["true"], inSlice("/a/b"));
    assert.match(await fails("create", id), /cgroupsPath .*slice:prefix:name/);
    fixture.write(["true"], inSlice("a.slice:b:c"));
    const ended = await fixture.run(["create", id]);
    assert.match(ended.stderr, /cgroupsPath .*needs --systemd-cgroup/);
    assert.equal(fs.existsSync(join(fixture.directory, "state", id)), false);
  });
});
