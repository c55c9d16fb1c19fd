import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readFileSync, writeSync } from "node:fs";
import { test } from "node:test";
import { readProcessCgroups } from "../../../src/linux/proc.ts";
import { asRoot, cgroupFixture, exitOf, until } from "./cgroup-fixture.ts";

test("`joinFiles()` gives descriptors by which a child enters every v1 hierarchy", asRoot, async (t) => {
  const { manager, path } = cgroupFixture(t);
  manager.create(path);
  using join = manager.joinFiles(path);
  assert.equal(join.files.length, manager.layout.v1.length);
  if (join.files.length === 0) return t.skip("needs a cgroup v1 hierarchy");
  const writes = join.files.map((_fd, index) => `echo 0 > /proc/self/fd/${index + 3}`);
  const child = spawn("sh", ["-c", `${writes.join("; ")}; echo in; read end`], {
    stdio: ["pipe", "pipe", "inherit", ...join.files],
  });
  await once(child.stdout as NodeJS.ReadableStream, "data");
  const cgroups = readProcessCgroups(child.pid ?? 0);
  for (const { controllers } of manager.layout.v1)
    for (const controller of controllers) assert.equal(cgroups.get(controller), path);
  child.stdin?.end("\n");
  assert.equal(await exitOf(child), 0);
  return undefined;
});

test("an exec's processes die alone", asRoot, async (t) => {
  const { manager, path, run } = cgroupFixture(t);
  if (manager.layout.unified === undefined) return t.skip("needs cgroup v2 mounted");
  manager.create(path);
  const container = await run("exec sleep 100");
  const id = "0123456789abcdef0123456789abcdef";
  {
    using group = manager.execSubgroup(path, id);
    assert.ok(group.directory !== undefined);
    const [name = ""] = manager.list(path);
    assert.match(name, /^exec-[0-9a-f]+$/);
    const exec = spawn("sh", ["-c", "sleep 100 & sleep 100 & wait"]);
    writeProcs(`${manager.layout.unified.root}${path}/${name}`, exec.pid ?? 0);
    assert.ok(await until(() => manager.pids(`${path}/${name}`).length > 0));
    if (group.killFile === undefined) {
      await manager.kill(`${path}/${name}`);
    } else {
      writeSync(group.killFile, "1");
    }
    assert.equal(await exitOf(exec), "SIGKILL");
    assert.ok(await until(() => !manager.hasProcesses(`${path}/${name}`)));
  }
  assert.deepEqual(manager.list(path), []);
  assert.equal(container.exitCode ?? container.signalCode, null);
  return undefined;
});

test("an exec subgroup with a process left stays until the container's cgroup goes", asRoot, async (t) => {
  const { manager, path } = cgroupFixture(t);
  const { unified } = manager.layout;
  if (unified === undefined) return t.skip("needs cgroup v2 mounted");
  manager.create(path);
  const child = spawn("sleep", ["100"]);
  {
    using _group = manager.execSubgroup(path, "feed");
    writeProcs(`${unified.root}${path}/exec-feed`, child.pid ?? 0);
  }
  assert.ok(existsSync(`${unified.root}${path}/exec-feed`));
  await manager.kill(path);
  await manager.remove(path);
  assert.equal(existsSync(unified.root + path), false);
  assert.equal(await exitOf(child), "SIGKILL");
  return undefined;
});

test("disposing closes every descriptor", asRoot, (t) => {
  const { manager, path } = cgroupFixture(t);
  manager.create(path);
  const { files, directory, killFile } = (() => {
    using join = manager.joinFiles(path);
    return join;
  })();
  for (const fd of [...files, directory, killFile])
    if (fd !== undefined) assert.throws(() => writeSync(fd, "0"), { code: "EBADF" });
});

test("`joinFiles()` of a cgroup that does not exist fails and keeps nothing open", asRoot, (t) => {
  const { manager, path } = cgroupFixture(t);
  assert.throws(() => manager.joinFiles(path), /open \/.*: ENOENT/);
  assert.throws(() => manager.execSubgroup(path, "x"), /mkdir \/.*: ENOENT/);
});

function writeProcs(directory: string, pid: number): void {
  const file = `${directory}/cgroup.procs`;
  const fd = openSync(file, "r+");
  try {
    writeSync(fd, String(pid));
  } finally {
    closeSync(fd);
  }
  assert.match(readFileSync(file, "utf8"), new RegExp(`^${pid}$`, "m"));
}
