import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { applyAdjustment } from "../../../src/container/apply-adjustment.ts";
import type { ContainerSpec } from "../../../src/container/build-spec.ts";
import type { LaunchAdjustment } from "../../../src/container/launch-adjustment.ts";
import type { Spec } from "../../../src/oci/spec.ts";

const spec: Spec = {
  ociVersion: "1.2.0",
  annotations: { a: "1", b: "2" },
  mounts: [
    { destination: "/proc", type: "proc" },
    { destination: "/data/inner", type: "tmpfs" },
  ],
  process: {
    cwd: "/",
    args: ["sleep"],
    env: ["A=1", "B=2"],
    user: { uid: 0, gid: 0, additionalGids: [5] },
    rlimits: [{ type: "RLIMIT_CORE", soft: 1n, hard: 1n }],
    oomScoreAdj: 1,
  },
  linux: {
    namespaces: [{ type: "mount" }, { type: "ipc", path: "/proc/1/ns/ipc" }],
    devices: [{ type: "c", path: "/dev/x", major: 1, minor: 1 }],
    resources: {
      devices: [{ allow: false, access: "rwm" }],
      memory: { limit: 5n },
      hugepageLimits: [{ pageSize: "2MB", limit: 1n }],
    },
  },
};
const built: ContainerSpec = { spec, env: [Buffer.from("A=1"), Buffer.from([66, 61, 0xff])] };
const adjusted = (change: LaunchAdjustment): Spec => applyAdjustment(built, change).spec;

describe("`applyAdjustment()`", () => {
  test("leaves what is not mentioned as it is", () => {
    assert.deepEqual(adjusted({}), { ...spec, process: { ...spec.process, env: ["A=1", "B=\ufffd"] } });
  });

  test("changes the environment as bytes", () => {
    const { env } = applyAdjustment(built, {
      env: [
        { key: "A", value: null },
        { key: "C", value: "3" },
      ],
    });
    assert.deepEqual(
      env.map((line) => [...line]),
      [
        [66, 61, 0xff],
        [67, 61, 51],
      ],
    );
  });

  test("replaces mounts by destination and keeps parents first", () => {
    const mounts = [
      { destination: "/data", mount: { destination: "/data", type: "bind", source: "/src" } },
      { destination: "/proc", mount: null },
    ];
    assert.deepEqual(
      adjusted({ mounts }).mounts?.map(({ destination }) => destination),
      ["/data", "/data/inner"],
    );
  });

  test("grants a new device and its access", () => {
    const device = { type: "b", path: "/dev/x", major: 8, minor: 0, permissions: "r" } as const;
    const { linux } = adjusted({ devices: [{ path: "/dev/x", device }] });
    assert.deepEqual(linux?.devices, [{ type: "b", path: "/dev/x", major: 8, minor: 0 }]);
    assert.deepEqual(linux.resources?.devices?.at(-1), {
      allow: true,
      type: "b",
      major: 8,
      minor: 0,
      access: "r",
    });
    assert.deepEqual(adjusted({ devices: [{ path: "/dev/x", device: null }] }).linux?.devices, []);
  });

  test("merges limits member by member", () => {
    const { resources } =
      adjusted({
        resources: {
          memory: { swap: 9n },
          cpu: { shares: 2n },
          hugepageLimits: [{ pageSize: "1GB", limit: 2n }],
        },
      }).linux ?? {};
    assert.deepEqual(resources?.memory, { limit: 5n, swap: 9n });
    assert.deepEqual(resources.cpu, { shares: 2n });
    assert.equal(resources.hugepageLimits?.length, 2);
  });

  test("replaces namespaces and rlimits by type, and adds groups and hooks", () => {
    const { linux, process, hooks } = adjusted({
      namespaces: [{ type: "ipc", namespace: null }],
      rlimits: [{ type: "RLIMIT_CORE", soft: 2n, hard: 3n }],
      additionalGids: [5, 6],
      hooks: { poststop: [{ path: "/bin/hook" }] },
    });
    assert.deepEqual(linux?.namespaces, [{ type: "mount" }]);
    assert.deepEqual(process?.rlimits, [{ type: "RLIMIT_CORE", soft: 2n, hard: 3n }]);
    assert.deepEqual(process.user.additionalGids, [5, 6]);
    assert.deepEqual(hooks, { poststop: [{ path: "/bin/hook" }] });
  });

  const wrong: [LaunchAdjustment, RegExp][] = [
    [{ env: [{ key: "A=B", value: "" }] }, /"A=B"/],
    [{ env: [{ key: "A", value: "\0" }] }, /"A"/],
    [{ mounts: [{ destination: "data", mount: null }] }, /"data": not an absolute path/],
    [{ hooks: { poststop: [{ path: "hook" }] } }, /poststop hook "hook"/],
  ];
  for (const [change, message] of wrong)
    test(`refuses ${JSON.stringify(change)}`, () => {
      assert.throws(() => adjusted(change), { code: "invalid-argument", message });
    });
});
