import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { hasCode } from "../../../src/base/errors.ts";
import { CgroupManager } from "../../../src/linux/cgroup/cgroup-manager.ts";
import { allHierarchies, hierarchyOf } from "../../../src/linux/cgroup/layout.ts";
import { readProcessCgroups } from "../../../src/linux/proc.ts";
import { leakFree, type LeakScope } from "../../support/leak-check.ts";
import { asRoot, cgroupFixture, exitOf, fileOf, needsController, until, v1Alone } from "./cgroup-fixture.ts";

/** Other daemons and tests on the machine come and go. */
const own: LeakScope = { marks: [`cricket-test-${process.pid}`] };

test(
  "`create()` makes the cgroup and its parents in every hierarchy, twice without harm",
  asRoot,
  leakFree((t) => {
    const { manager, path } = cgroupFixture(t);
    manager.create(`${path}/pod/container`);
    manager.create(`${path}/pod/container`);
    for (const { root } of allHierarchies(manager.layout))
      assert.ok(existsSync(`${root}${path}/pod/container`), root);
    assert.ok(manager.exists(`${path}/pod`));
    assert.deepEqual(manager.list(path), ["pod"]);
  }, own),
);

test(
  "`create()` leaves no cpuset empty, also below one that another program made",
  needsController("cpuset"),
  leakFree((t) => {
    const { manager, path } = cgroupFixture(t);
    for (const { root } of allHierarchies(manager.layout)) mkdirSync(`${root}${path}`);
    manager.create(`${path}/a/b`);
    const isV2 = hierarchyOf(manager.layout, "cpuset")?.version === 2;
    for (const kind of ["cpus", "mems"]) {
      const file = isV2 ? `cpuset.${kind}.effective` : `cpuset.effective_${kind}`;
      assert.notEqual(fileOf(manager, "cpuset", `${path}/a/b`, file), "");
    }
  }, own),
);

test("a process enters all hierarchies, and its threads with it", asRoot, async (t) => {
  const { manager, path, run } = cgroupFixture(t);
  manager.create(path);
  const child = await run("exec sleep 100");
  const cgroups = readProcessCgroups(child.pid ?? 0);
  for (const { controllers, version } of allHierarchies(manager.layout))
    for (const controller of version === 2 ? [""] : controllers) assert.equal(cgroups.get(controller), path);
  assert.deepEqual(manager.pids(path), [child.pid]);
});

test("`kill()` ends a whole tree of processes, in subgroups too", asRoot, async (t) => {
  const { manager, path, run } = cgroupFixture(t);
  // Beside each other: in v2 no process may live above a cgroup with controllers.
  manager.create(`${path}/outer`);
  manager.create(`${path}/inner`);
  const outer = await run("(sleep 100 & sleep 100 & wait) & sleep 100 & wait", `${path}/outer`);
  const inner = await run("trap '' TERM INT HUP; sleep 100 & wait", `${path}/inner`);
  assert.ok(await until(() => manager.pids(path).length >= 6));
  assert.equal(await manager.kill(path), true);
  assert.deepEqual(manager.pids(path), []);
  assert.equal(await exitOf(outer), "SIGKILL");
  assert.equal(await exitOf(inner), "SIGKILL");
});

test("without a unified hierarchy `kill()` freezes, signals every process and thaws", asRoot, async (t) => {
  const layout = v1Alone();
  if (layout === undefined) return t.skip("needs cgroup v1 hierarchies");
  const { manager, path, run } = cgroupFixture(t, layout);
  manager.create(`${path}/inner`);
  const outer = await run("trap '' TERM; (sleep 100 & sleep 100 & wait) & wait");
  const inner = await run("while :; do (:) ; done", `${path}/inner`);
  assert.ok(await until(() => manager.pids(path).length >= 5));
  assert.equal(manager.hasProcesses(path), true);
  assert.equal(await manager.kill(path), true);
  assert.equal(await exitOf(outer), "SIGKILL");
  assert.equal(await exitOf(inner), "SIGKILL");
  assert.equal(manager.hasProcesses(path), false);
  const exec = manager.execSubgroup(path, "x");
  assert.deepEqual(
    [exec.directory, exec.killFile, manager.killFile(path)],
    [undefined, undefined, undefined],
  );
  exec[Symbol.dispose]();
  await manager.remove(path);
  return undefined;
});

test("on a v2 without `cgroup.kill` (before Linux 5.14) `kill()` freezes and signals", asRoot, async (t) => {
  const { manager, path, run } = cgroupFixture(t);
  const { unified } = manager.layout;
  if (unified === undefined) return t.skip("needs cgroup v2 mounted");
  manager.create(path);
  // The same cgroup, seen through a directory that lacks the file.
  const root = mkdtempSync(join(tmpdir(), "cricket-no-kill-"));
  t.after(() => rmSync(root, { recursive: true }));
  mkdirSync(root + path);
  for (const file of ["cgroup.procs", "cgroup.freeze", "cgroup.events"])
    symlinkSync(`${unified.root}${path}/${file}`, `${root}${path}/${file}`);
  const old = new CgroupManager({ kind: "v2", v1: [], unified: { ...unified, root } });
  const outer = await run("trap '' TERM; (sleep 100 & sleep 100 & wait) & wait");
  const inner = await run("while :; do (:) ; done");
  assert.ok(await until(() => manager.pids(path).length >= 5));
  assert.equal(await old.kill(path), true);
  assert.equal(await exitOf(outer), "SIGKILL");
  assert.equal(await exitOf(inner), "SIGKILL");
  assert.equal(readFileSync(`${unified.root}${path}/cgroup.freeze`, "utf8").trim(), "0");
  return undefined;
});

test("`kill()` ends processes that are frozen", asRoot, async (t) => {
  const { manager, path, run } = cgroupFixture(t);
  manager.create(path);
  const child = await run("sleep 100 & wait");
  assert.equal(await manager.freeze(path), true);
  assert.equal(await manager.kill(path), true);
  assert.equal(await exitOf(child), "SIGKILL");
});

test("`freeze()` stops a process until `thaw()`", asRoot, async (t) => {
  const { manager, path, run } = cgroupFixture(t);
  manager.create(path);
  const child = await run("while :; do :; done");
  const used = (): bigint => manager.stats(path)?.cpu?.usageNs ?? 0n;
  assert.ok(await until(() => used() > 10_000_000n));
  assert.equal(await manager.freeze(path), true);
  const frozenAt = used();
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(used(), frozenAt);
  manager.thaw(path);
  assert.ok(await until(() => used() > frozenAt));
  child.kill("SIGKILL");
  await exitOf(child);
});

test("`kill()` and `remove()` of a cgroup that does not exist succeed", asRoot, async (t) => {
  const { manager, path } = cgroupFixture(t);
  assert.equal(await manager.kill(path), true);
  await manager.remove(path);
  assert.equal(manager.exists(path), false);
  assert.equal(manager.stats(path), undefined);
  assert.deepEqual(manager.pids(path), []);
  assert.deepEqual(manager.list(path), []);
});

test("`remove()` takes what a container made below its cgroup", asRoot, async (t) => {
  const { manager, path } = cgroupFixture(t);
  manager.create(path);
  for (const { root } of allHierarchies(manager.layout))
    mkdirSync(`${root}${path}/init.scope/deep`, { recursive: true });
  await manager.remove(path);
  for (const { root } of allHierarchies(manager.layout)) assert.equal(existsSync(root + path), false);
});

test("`remove()` waits for the last process", asRoot, async (t) => {
  const { manager, path, run } = cgroupFixture(t);
  manager.create(path);
  const child = await run("exec sleep 0.1");
  await manager.remove(path);
  assert.equal(manager.exists(path), false);
  assert.equal(await exitOf(child), 0);
});

test("`remove()` of a cgroup with processes fails and says so", asRoot, async (t) => {
  const { manager, path, run } = cgroupFixture(t);
  manager.create(path);
  await run("exec sleep 100");
  await assert.rejects(manager.remove(path), (error) => {
    assert.ok(hasCode(error, "failed-precondition"));
    assert.match(String(error), /rmdir \/.*cricket-test.*: EBUSY/);
    return true;
  });
});

test("`prune()` removes a cgroup only where nothing is in it", asRoot, async (t) => {
  const { manager, path, run } = cgroupFixture(t);
  manager.create(`${path}/a/b`);
  await manager.prune(`${path}/a`);
  assert.ok(manager.exists(`${path}/a/b`));
  const child = await run("exec sleep 100", `${path}/a/b`);
  await manager.prune(`${path}/a/b`);
  assert.ok(manager.exists(`${path}/a/b`));
  child.kill("SIGKILL");
  await exitOf(child);
  assert.ok(await until(() => !manager.hasProcesses(path)));
  for (const inner of ["/a/b", "/a", "/a"]) await manager.prune(path + inner);
  assert.deepEqual(manager.list(path), []);
});

test("paths that leave the hierarchy are refused", asRoot, () => {
  const manager = cgroupFixture({ after: () => {} } as never).manager;
  for (const path of ["", "/", "relative", "/a/../b", "/a//b", "/a/./b", "/a\nb", `/${"x".repeat(256)}`])
    assert.throws(() => manager.create(path), { code: "invalid-argument" }, path);
});
