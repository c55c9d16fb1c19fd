// Mounts that travel between host and container. The machine's own mounts may be private: these tests bring shared ones.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { ContainerMount } from "../../../src/container/container-config.ts";
import type { Step } from "../../../src/linux/launch-program.ts";
import { requires } from "../../support/requires.ts";
import { mountShared, Pod, volume } from "./pod-fixture.ts";

const hostMounts = (): string[] =>
  readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "");

const mountInner: Step = {
  op: "mountFs",
  type: "tmpfs",
  options: [],
  attributes: 0,
  target: "/volume/from-container",
  create: "directory",
};

/** A container with a volume that is a shared mount, and one mount of the host that came after it. */
async function withVolume(pod: Pod, propagation: ContainerMount["propagation"]) {
  const mount = volume(pod.directory, "/volume");
  mountShared(mount.hostPath);
  for (const name of ["from-host", "from-container"]) mkdirSync(join(mount.hostPath, name));
  const container = await pod.create({
    config: { mounts: [{ ...mount, propagation }] },
    security: { privileged: true, noNewPrivs: false },
    parentMount: pod.directory,
  });
  await container.monitor.start();
  mountShared(join(mount.hostPath, "from-host"));
  const { stdout } = await pod.execWith(container, ["report"], [mountInner]);
  const { mounts } = JSON.parse(stdout.toString()) as { mounts: string };
  return {
    sawHost: mounts.includes(" /volume/from-host "),
    hostSaw: hostMounts().includes(join(mount.hostPath, "from-container")),
  };
}

const cases: [ContainerMount["propagation"], { sawHost: boolean; hostSaw: boolean }][] = [
  ["private", { sawHost: false, hostSaw: false }],
  ["host-to-container", { sawHost: true, hostSaw: false }],
  ["bidirectional", { sawHost: true, hostSaw: true }],
];

describe("a volume on a shared mount", requires("root"), () => {
  for (const [propagation, expected, copiesHost] of cases.flatMap(([...known]) => [
    [...known, false] as const,
    [...known, true] as const,
  ]))
    test(`with propagation ${propagation} shows ${JSON.stringify(expected)}${copiesHost ? ", also in a copy of the host's mounts" : ""}`, async (t) => {
      const pod = await Pod.start(t, { privileged: true, sharedDirectory: true, copiesHost });
      assert.deepEqual(await withVolume(pod, propagation), expected);
      // The rootfs and all that is mounted in it never appear on the host, nor in other containers.
      const below = hostMounts().filter((point) => point.startsWith(`${pod.directory}/c`));
      assert.deepEqual(below, []);
    });
});
