// Launches that begin in an empty mount namespace: what is in it must look, to all who are in the container and to all
// who enter it, as if the host's mounts had been copied and removed.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import { close } from "../../../src/linux/files.ts";
import { CLONE_NEWNS } from "../../../src/linux/launch-program.ts";
import { signalPidfd } from "../../../src/linux/pidfd.ts";
import { reapSoon } from "../../../src/linux/reap.ts";
import { runSpawn } from "../../../src/linux/run-spawn.ts";
import { requires } from "../../support/requires.ts";
import { Pod, volume, type ContainerRequest, type PodOptions } from "./pod-fixture.ts";
import { readLog } from "./probe-report.ts";

const beginnings: [string, PodOptions][] = [
  ["an empty namespace", {}],
  ["a copy of the host's", { copiesHost: true }],
];

/** Of /proc/<pid>/mountinfo: mount point, options and type. Its order is that in which the mounts were made. */
function mountsIn(mountinfo: string): string[] {
  const lines = mountinfo.trim().split("\n");
  const mounts = lines.map((line) => {
    const [before = "", after = ""] = line.split(" - ");
    const [, , , , point, options] = before.split(" ");
    return `${point} ${options} ${after.split(" ")[0]}`;
  });
  return mounts.sort();
}

async function mountsOf(t: TestContext, options: PodOptions): Promise<string[]> {
  const pod = await Pod.start(t, options);
  const data = volume(pod.directory, "/data");
  const config = { mounts: [{ ...data, readonly: true }], tty: true };
  const { mounts } = await pod.report([], { config });
  return mountsIn(mounts);
}

const privileged = { privileged: true, noNewPrivs: false };

async function rootsOf(t: TestContext, options: PodOptions): Promise<string> {
  const pod = await Pod.start(t, { ...options, privileged: true });
  const { output } = await pod.run({ probe: ["roots"], security: privileged });
  return output;
}

describe("a launch that begins in an empty mount namespace", requires("root"), () => {
  test("mounts what one mounts that begins in a copy of the host's", async (t) => {
    const [empty, copied] = [await mountsOf(t, {}), await mountsOf(t, { copiesHost: true })];
    assert.ok(empty.length > 10, empty.join("\n"));
    assert.deepEqual(empty, copied);
  });

  for (const [name, options] of beginnings)
    test(`leaves nothing of the host below the root: ${name}`, async (t) => {
      const lines = (await rootsOf(t, options)).split("\n");
      assert.match(lines[0]!, /^climb: dev etc probe proc .*tmp/);
      assert.deepEqual(lines.slice(1, 3), ["user namespace: ok", "pivot: ok"]);
      if (options.copiesHost !== true) assert.deepEqual(lines.slice(3), ["uncover: dev", ""]);
    });

  test("is entered from outside at the container's root", async (t) => {
    const pod = await Pod.start(t);
    const { monitor } = await pod.create();
    await monitor.start();
    const listed = execFileSync("nsenter", [
      "-t",
      String(monitor.initPid),
      "-m",
      "/probe",
      "report",
      "/probe",
    ]);
    const { paths, cwd } = JSON.parse(listed.toString()) as { paths: Record<string, object>; cwd: string };
    assert.equal(cwd, "/");
    assert.ok(!("error" in paths["/probe"]!), listed.toString());
  });

  test("leaves the namespace it began in as it was, and that cannot be written to", async (t) => {
    const pod = await Pod.start(t);
    const own = readlinkSync("/proc/self/ns/mnt");
    const before = await emptyMounts(pod);
    for (let count = 0; count < 2; count++) {
      const { monitor } = await pod.create({ config: { mounts: [volume(pod.directory, "/data")] } });
      assert.notEqual(readlinkSync(`/proc/${monitor.initPid}/ns/mnt`), own);
      assert.deepEqual(await emptyMounts(pod), before);
    }
    assert.equal(before.length, 2);
    assert.match(before[0]!, /^\/ ro,nosuid,nodev,noexec\S* tmpfs$/);
    assert.match(before[1]!, /^\/dev\/null /);
  });

  test("sees in a volume what the host's tree has there, mounts below it as asked", async (t) => {
    const pod = await Pod.start(t);
    const data = volume(pod.directory, "/data");
    mkdirSync(join(data.hostPath, "below"));
    writeFileSync(join(data.hostPath, "file"), "of the host");
    const { paths } = await pod.report(["/data/file", "/data/below", "/etc/hosts"], {
      config: { mounts: [data, { ...data, containerPath: "/data/below/again" }] },
    });
    assert.equal(paths["/data/file"]!.content, "of the host");
    assert.equal(paths["/data/below"]!.error, undefined);
    assert.equal(paths["/etc/hosts"]!.content, "hosts of the pod\n");
  });

  test("is left to the copy of the host's mounts where a container may have few files open, or has many mounts", async (t) => {
    const pod = await Pod.start(t);
    const limited: ContainerRequest = {
      probe: ["print", "1", "ran"],
      change: ({ process }) => {
        process!.rlimits = [{ type: "RLIMIT_NOFILE", soft: 32n, hard: 32n }];
      },
    };
    assert.match((await pod.run(limited)).output, /ran/);
    const data = volume(pod.directory, "/data");
    const mounts = Array.from({ length: 270 }, (_, index) => ({ ...data, containerPath: `/data${index}` }));
    assert.match((await pod.run({ probe: ["print", "1", "ran"], config: { mounts } })).output, /ran/);
  });

  test("is not made where a hook looks for the host's files in the container's namespace", async (t) => {
    const pod = await Pod.start(t);
    const found = join(pod.directory, "found");
    const hook = { path: "/bin/sh", args: ["sh", "-c", `test -d ${pod.directory} && echo yes >${found}`] };
    const request: ContainerRequest = {
      probe: ["print", "1", "ran"],
      change: (spec) => {
        spec.hooks = { createContainer: [hook] };
      },
    };
    const container = await pod.create({ ...request });
    await container.monitor.start();
    await container.monitor.onExit;
    assert.equal(readFileSync(found, "utf8"), "yes\n");
    assert.match(readLog(container.logPath), /ran/);
  });
});

/** The mounts of the empty namespace, as a process in it has them. */
async function emptyMounts({ helper }: Pod): Promise<string[]> {
  const { pid, pidfd } = await runSpawn(helper, {
    steps: [
      { op: "joinNamespaces", fd: helper.emptyNamespace!, mask: CLONE_NEWNS },
      { op: "execFd", fd: helper.pauseFd, argv: ["pause"], env: [] },
    ],
  });
  const mounts = mountsIn(readFileSync(`/proc/${pid}/mountinfo`, "utf8"));
  signalPidfd(pidfd, 9);
  close(pidfd);
  reapSoon(pid);
  return mounts;
}
