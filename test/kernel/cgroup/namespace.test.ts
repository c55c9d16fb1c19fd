// A node that is itself a container: cricket sees as root a cgroup that has processes of its own, cricket among them,
// and no cgroup with processes can switch on controllers for its children (cgroups(7)).
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { asRoot, cgroupFixture } from "./cgroup-fixture.ts";

const inside = `
import { readFileSync } from "node:fs";
import { CgroupManager } from "./src/linux/cgroup/cgroup-manager.ts";
const manager = new CgroupManager();
manager.create("/pods/one", { memoryLimitBytes: 1n << 26n });
manager.create("/pods/two", { memoryLimitBytes: 1n << 27n });
console.log(JSON.stringify({
  limit: String(manager.readResources("/pods/one").memoryLimitBytes),
  own: readFileSync("/proc/self/cgroup", "utf8").trim(),
}));
`;

test("cricket in a container moves out of the way of its pods", asRoot, async (t) => {
  const { manager, path } = cgroupFixture(t);
  const { unified, kind } = manager.layout;
  if (kind !== "v2" || unified === undefined) return t.skip("needs cgroup v2 alone");
  manager.create(`${path}/node`);
  const procs = `${unified.root}${path}/node/cgroup.procs`;
  // sh enters the cgroup, which then becomes the root of a namespace with a mount of its own.
  const script = `echo $$ > ${procs} && exec unshare -C -m sh -c 'umount -l /sys/fs/cgroup && mount -t cgroup2 node /sys/fs/cgroup && exec "$@"' sh "$@"`;
  const node = [process.execPath, "--import", "tsx", "--input-type=module", "-e", inside];
  const { stdout } = await promisify(execFile)("sh", ["-c", script, "sh", ...node], {
    cwd: join(import.meta.dirname, "../../.."),
  });
  assert.deepEqual(JSON.parse(stdout), { limit: String(1n << 26n), own: "0::/cricket-node" });
  assert.equal(readFileSync(procs, "utf8"), "");
  return undefined;
});

test("a cgroup with somebody else's processes above a pod is an error that says so", asRoot, async (t) => {
  const { manager, path, run } = cgroupFixture(t);
  const { unified, kind } = manager.layout;
  if (kind !== "v2" || unified === undefined) return t.skip("needs cgroup v2 alone");
  manager.create(`${path}/pod`);
  // Nobody has switched controllers on below the pod yet.
  await run("exec sleep 100", `${path}/pod`);
  assert.throws(() => manager.create(`${path}/pod/container`), {
    code: "failed-precondition",
    message: /\/pod\/cgroup\.subtree_control: EBUSY \(the cgroup has processes of its own\)/,
  });
  writeFileSync(`${unified.root}${path}/pod/cgroup.kill`, "1");
  return undefined;
});
