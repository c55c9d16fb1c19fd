import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { toInt64 } from "../../../cri-api/int64.ts";
import { v1 } from "../../../cri-api/nri/v1/api.js";
import { CricketError } from "../../../src/base/errors.ts";
import { adjustmentFromWire } from "../../../src/plugins/nri/adjustment-from-wire.ts";
import { FieldOwners } from "../../../src/plugins/nri/field-owners.ts";
import { AdjustmentMerge } from "../../../src/plugins/nri/merge-adjustment.ts";
import { UpdateMerge } from "../../../src/plugins/nri/merge-updates.ts";
import { splitSynchronize } from "../../../src/plugins/nri/synchronize.ts";

const received = (change: v1.ContainerAdjustmentSent): v1.ContainerAdjustment =>
  v1.ContainerAdjustment.decode(v1.ContainerAdjustment.encode(change).finish());

const merged = (container: v1.ContainerSent, ...changes: v1.ContainerAdjustmentSent[]): AdjustmentMerge => {
  const merge = new AdjustmentMerge({ id: "c", ...container }, new FieldOwners());
  for (const [index, change] of changes.entries()) merge.add(`0${index}-p`, received(change));
  return merge;
};

const value = (number: bigint) => ({ value: toInt64(number) });

describe("two plugins that set the same", () => {
  const cases: [name: string, v1.ContainerAdjustmentSent][] = [
    ["annotation", { annotations: { a: "1" } }],
    ["mount", { mounts: [{ destination: "/m", type: "tmpfs" }] }],
    ["env", { env: [{ key: "K", value: "1" }] }],
    ["args", { args: ["true"] }],
    ["rlimit", { rlimits: [{ type: "RLIMIT_CORE" }] }],
    ["cdi device", { cdiDevices: [{ name: "v/c=d" }] }],
    ["device", { linux: { devices: [{ path: "/dev/x" }] } }],
    ["namespace", { linux: { namespaces: [{ type: "ipc" }] } }],
    ["sysctl", { linux: { sysctl: { "net.a": "1" } } }],
    ["net device", { linux: { netDevices: { eth9: { name: "in" } } } }],
    ["memory limit", { linux: { resources: { memory: { limit: value(1n) } } } }],
    ["cpu shares", { linux: { resources: { cpu: { shares: { value: toInt64(1n) } } } } }],
    ["cpuset cpus", { linux: { resources: { cpu: { cpus: "0" } } } }],
    ["pids limit", { linux: { resources: { pids: { limit: toInt64(1n) } } } }],
    ["hugepage limit", { linux: { resources: { hugepageLimits: [{ pageSize: "2MB" }] } } }],
    ["unified", { linux: { resources: { unified: { "memory.high": "1" } } } }],
    ["rdt class", { linux: { resources: { rdtClass: { value: "a" } } } }],
    ["cgroups path", { linux: { cgroupsPath: "/a" } }],
    ["oom score adj", { linux: { oomScoreAdj: value(1n) } }],
    ["io priority", { linux: { ioPriority: { class: 1 } } }],
    ["seccomp policy", { linux: { seccompPolicy: { defaultAction: "SCMP_ACT_ALLOW" } } }],
    ["scheduler", { linux: { scheduler: { policy: 1 } } }],
    ["memory policy", { linux: { memoryPolicy: { mode: 1 } } }],
    ["rdt clos id", { linux: { rdt: { closId: { value: "a" } } } }],
  ];
  for (const [name, change] of cases)
    test(`${name} are both named`, () => {
      merged({}, change);
      assert.throws(() => merged({}, change, change), {
        code: "failed-precondition",
        message: new RegExp(`^plugins 00-p and 01-p both set ${name}`),
      });
    });
});

test("hooks of several plugins add up", () => {
  const hooks = (path: string) => ({ hooks: { poststop: [{ path }] } });
  const { adjustment } = merged({}, hooks("/a"), hooks("/b"));
  assert.deepEqual(
    adjustment.hooks?.poststop?.map(({ path }) => path),
    ["/a", "/b"],
  );
});

describe("a plugin", () => {
  test("sees what those before it changed", () => {
    const { container } = merged(
      { env: ["A=0", "B=0", "C=0"], mounts: [{ destination: "/m", type: "bind" }], annotations: { x: "0" } },
      {
        env: [{ key: "A", value: "1" }, { key: "-B" }],
        mounts: [{ destination: "/m", type: "tmpfs" }],
        annotations: { "-x": "", y: "1" },
        linux: { resources: { memory: { limit: value(7n) } } },
      },
    );
    assert.deepEqual(container.env, ["C=0", "A=1"]);
    assert.deepEqual(
      container.mounts?.map(({ type }) => type),
      ["tmpfs"],
    );
    assert.deepEqual(container.annotations, { y: "1" });
    assert.equal(container.linux?.resources?.memory?.limit?.value?.low, 7);
  });

  test("that removes what an earlier one set may set it anew", () => {
    const { adjustment } = merged(
      {},
      {
        env: [{ key: "K", value: "1" }],
        annotations: { a: "1" },
        mounts: [{ destination: "/m", type: "one" }],
        args: ["a"],
      },
      {
        env: [{ key: "-K" }, { key: "K", value: "2" }],
        annotations: { "-a": "", a: "2" },
        mounts: [{ destination: "-/m" }, { destination: "/m", type: "two" }],
        args: ["", "b"],
      },
    );
    const change = adjustmentFromWire(adjustment);
    assert.deepEqual(change.env, [
      { key: "K", value: null },
      { key: "K", value: "2" },
    ]);
    assert.deepEqual(change.annotations, { a: "2" });
    assert.deepEqual(change.mounts?.at(-1)?.mount?.type, "two");
    assert.deepEqual(change.args, ["b"]);
  });

  test("that removes what an earlier one set owns it: no third one sets it", () => {
    const cases: [set: v1.ContainerAdjustmentSent, remove: v1.ContainerAdjustmentSent, name: string][] = [
      [{ env: [{ key: "K", value: "1" }] }, { env: [{ key: "-K" }] }, 'env "K"'],
      [{ annotations: { a: "1" } }, { annotations: { "-a": "" } }, 'annotation "a"'],
      [{ mounts: [{ destination: "/m" }] }, { mounts: [{ destination: "-/m" }] }, 'mount "/m"'],
      [{ args: ["a"] }, { args: [""] }, "args"],
    ];
    for (const [set, remove, name] of cases)
      assert.throws(() => merged({}, set, remove, set), {
        code: "failed-precondition",
        message: `plugins 01-p and 02-p both set ${name}`,
      });
    // What the container has by itself is nobody's.
    const { container } = merged({ env: ["K=0"] }, { env: [{ key: "-K" }] }, cases[0]![0]);
    assert.deepEqual(container.env, ["K=1"]);
  });

  test("that removes a namespace another one set contradicts it", () => {
    const namespaces = (type: string) => ({ linux: { namespaces: [{ type }] } });
    assert.throws(
      () => merged({}, namespaces("ipc"), namespaces("-ipc")),
      /plugins 00-p and 01-p both set namespace "ipc"/,
    );
  });

  test("that takes back the arguments of another one leaves the container's own", () => {
    const { adjustment, container } = merged({ args: ["own"] }, { args: ["theirs"] }, { args: [""] });
    assert.deepEqual(container.args, ["own"]);
    assert.equal(adjustmentFromWire(adjustment).args, undefined);
  });

  test("may send the mode of a device with the bits that Go has for its type", () => {
    const mode = { value: 0o666 | (1 << 26) | (1 << 21) };
    const device = { path: "/dev/x", type: "c", fileMode: mode };
    const { devices } = adjustmentFromWire(merged({}, { linux: { devices: [device] } }).adjustment);
    assert.equal(devices?.[0]?.device?.fileMode, 0o666);
  });

  test("that only removes takes away what the container has", () => {
    const { adjustment, container } = merged(
      { linux: { namespaces: [{ type: "ipc", path: "/x" }], sysctl: { "net.a": "1" } } },
      { linux: { namespaces: [{ type: "-ipc" }], sysctl: { "-net.a": "" } } },
    );
    assert.deepEqual(container.linux?.namespaces, []);
    const change = adjustmentFromWire(adjustment);
    assert.deepEqual(change.namespaces, [{ type: "ipc", namespace: null }]);
    assert.deepEqual(change.sysctl, { "net.a": null });
  });
});

test("any adjustment is merged or refused, and any bytes are decoded or refused", () => {
  const text = fc.string({ maxLength: 6 });
  const entry = fc.record({ key: text, value: text });
  const change = fc.record({
    annotations: fc.dictionary(text, text, { maxKeys: 4 }),
    env: fc.array(entry, { maxLength: 4 }),
    mounts: fc.array(fc.record({ destination: text, type: text }), { maxLength: 4 }),
    args: fc.array(text, { maxLength: 3 }),
    linux: fc.record({
      cgroupsPath: text,
      sysctl: fc.dictionary(text, text, { maxKeys: 3 }),
      namespaces: fc.array(fc.record({ type: text, path: text }), { maxLength: 3 }),
      scheduler: fc.record({ policy: fc.integer(), flags: fc.array(fc.nat({ max: 20 }), { maxLength: 3 }) }),
      ioPriority: fc.record({ class: fc.integer(), priority: fc.integer() }),
    }),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 4 }), (changes) => {
      try {
        adjustmentFromWire(merged({}, ...changes).adjustment);
      } catch (error) {
        assert.ok(error instanceof CricketError, String(error));
      }
    }),
    { numRuns: 300, interruptAfterTimeLimit: 2000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      try {
        const decoded = v1.CreateContainerResponse.decode(bytes);
        const merge = new AdjustmentMerge({ id: "c" }, new FieldOwners());
        if (decoded.adjust !== undefined && decoded.adjust !== null) merge.add("00-p", decoded.adjust);
        new UpdateMerge(new FieldOwners(), "c").add("00-p", decoded.update);
        adjustmentFromWire(merge.adjustment);
      } catch (error) {
        assert.ok(error instanceof Error);
      }
    }),
    { numRuns: 1000, interruptAfterTimeLimit: 2000 },
  );
});

describe("updates", () => {
  const update = (containerId: string, limit: bigint, ignoreFailure = false): v1.ContainerUpdate =>
    v1.ContainerUpdate.decode(
      v1.ContainerUpdate.encode({
        containerId,
        ignoreFailure,
        linux: { resources: { memory: { limit: value(limit) } } },
      }).finish(),
    );

  test("of two plugins for one field are refused, unless failing does not matter", () => {
    const merge = new UpdateMerge(new FieldOwners());
    merge.add("00-a", [update("c", 1n)]);
    assert.throws(() => merge.add("01-b", [update("c", 2n)]), /plugins 00-a and 01-b both set memory limit/);
    merge.add("01-b", [update("c", 2n, true)]);
    assert.equal(merge.get("c")?.resources.memory?.limit?.value?.low, 1);
  });

  test("of the container that is being adjusted are refused", () => {
    const merge = new UpdateMerge(new FieldOwners(), "c");
    assert.throws(() => merge.add("00-a", [update("c", 1n)]), /which it is to adjust/);
  });

  test("keep what the caller asked for beside what plugins set", () => {
    const merge = new UpdateMerge(new FieldOwners());
    merge.seed("c", { cpu: { shares: value(5n) } });
    merge.add("00-a", [update("c", 1n), update("d", 2n)]);
    assert.equal(merge.get("c")?.resources.cpu?.shares?.value?.low, 5);
    assert.deepEqual(
      merge.others("c").map(({ containerId }) => containerId),
      ["d"],
    );
  });
});

test("`splitSynchronize()` keeps the order and the limit", () => {
  const pods = Array.from({ length: 10 }, (_unused, index) => ({
    id: `pod-${index}`,
    name: "x".repeat(100),
  }));
  const requests = splitSynchronize(pods, [{ id: "c" }], 350);
  assert.deepEqual(
    requests.flatMap((request) => request.pods?.map(({ id }) => id)),
    pods.map(({ id }) => id),
  );
  assert.deepEqual(
    requests.map(({ more }) => more),
    [true, true, true, false],
  );
  assert.equal(splitSynchronize([], []).length, 1);
});
