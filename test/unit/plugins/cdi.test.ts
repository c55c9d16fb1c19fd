import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import fc from "fast-check";
import { CricketError } from "../../../src/base/errors.ts";
import { Log } from "../../../src/base/log.ts";
import { applyAdjustment } from "../../../src/container/apply-adjustment.ts";
import type { ContainerSpec } from "../../../src/container/build-spec.ts";
import type { Spec } from "../../../src/oci/spec.ts";
import { Cdi, requestedDevices } from "../../../src/plugins/cdi/cdi.ts";
import { CdiRegistry } from "../../../src/plugins/cdi/cdi-registry.ts";
import { checkCdiSpec, parseQualifiedName } from "../../../src/plugins/cdi/cdi-spec.ts";
import { containerConfig } from "../container/container-fixtures.ts";

const log = new Log({ level: "error", format: "text" });
const root = mkdtempSync(join(tmpdir(), "cdi-"));
after(() => rmSync(root, { recursive: true }));

let count = 0;
const directory = (files: Record<string, unknown>): string => {
  const path = join(root, String(count++));
  mkdirSync(path);
  for (const [name, content] of Object.entries(files))
    writeFileSync(join(path, name), typeof content === "string" ? content : JSON.stringify(content));
  return path;
};

const minimal = (changes: object = {}, edits: object = { env: ["A=1"] }): object => ({
  cdiVersion: "0.3.0",
  kind: "vendor.com/class",
  devices: [{ name: "dev", containerEdits: edits }],
  ...changes,
});

describe("`checkCdiSpec()`", () => {
  test("takes a specification that uses everything", () => {
    const edits = {
      env: ["A=1"],
      deviceNodes: [
        {
          path: "/dev/a",
          hostPath: "/dev/b",
          type: "c",
          major: 1,
          minor: 3,
          fileMode: 0o600,
          permissions: "rw",
          uid: 1,
          gid: 2,
        },
      ],
      netDevices: [{ hostInterfaceName: "eth9", name: "in0" }],
      hooks: [{ hookName: "createContainer", path: "/bin/x", args: ["x"], env: ["A=b"], timeout: 3 }],
      mounts: [{ hostPath: "/a", containerPath: "/b", options: ["ro"], type: "none" }],
      intelRdt: { closID: "a", schemata: ["L3:0=f"], enableMonitoring: true },
      additionalGids: [5],
    };
    const spec = minimal({ cdiVersion: "1.1.0", annotations: { a: "b" }, containerEdits: edits });
    assert.deepEqual(checkCdiSpec(spec), spec);
    assert.deepEqual(
      checkCdiSpec(minimal({ cdiVersion: "v1.0.0" }, { additionalGIDs: [7] })).devices[0]?.containerEdits,
      { additionalGids: [7] },
    );
  });

  const wrong: [name: string, document: unknown, message: RegExp][] = [
    ["no object", [], /document is \[\]/],
    ["an unknown version", minimal({ cdiVersion: "2.0.0" }), /cdiVersion "2.0.0" is not known/],
    ["an unknown property", minimal({ devises: [] }), /devises is not known/],
    ["an unknown property below", minimal({}, { evn: [] }), /devices\[0\].containerEdits.evn is not known/],
    ["a kind without vendor", minimal({ kind: "class" }), /kind is "class"/],
    ["a kind with three parts", minimal({ kind: "a/b/c" }), /kind/],
    ["a vendor that begins with a digit", minimal({ kind: "1a/b" }), /kind/],
    ["no device", minimal({ devices: [] }), /devices is empty/],
    ["a device without edits", minimal({}, {}), /containerEdits is empty/],
    [
      "a device twice",
      minimal({ devices: [1, 2].map(() => ({ name: "d", containerEdits: { env: ["A="] } })) }),
      /twice/,
    ],
    ["a variable without a name", minimal({}, { env: ["=x"] }), /env\[0\]/],
    ["a relative device", minimal({}, { deviceNodes: [{ path: "dev" }] }), /path is "dev"/],
    ["strange permissions", minimal({}, { deviceNodes: [{ path: "/d", permissions: "rx" }] }), /permissions/],
    ["an unknown hook", minimal({}, { hooks: [{ hookName: "before", path: "/x" }] }), /hookName/],
    ["a closID that is a path", minimal({ cdiVersion: "0.7.0" }, { intelRdt: { closID: "../x" } }), /closID/],
    ["a class with a dot too early", minimal({ kind: "v.com/a.b" }), /needs 0.6.0/],
    ["a host path too early", minimal({}, { deviceNodes: [{ path: "/d", hostPath: "/e" }] }), /needs 0.5.0/],
    [
      "a digit too early",
      minimal({ devices: [{ name: "0", containerEdits: { env: ["A="] } }] }),
      /needs 0.5.0/,
    ],
    [
      "a mount type too early",
      minimal({}, { mounts: [{ hostPath: "/a", containerPath: "/b", type: "x" }] }),
      /needs 0.4.0/,
    ],
    ["groups too early", minimal({}, { additionalGids: [1] }), /needs 0.7.0/],
    [
      "network devices too early",
      minimal({ cdiVersion: "1.0.0" }, { netDevices: [{ hostInterfaceName: "a", name: "b" }] }),
      /needs 1.1.0/,
    ],
  ];
  for (const [name, document, message] of wrong)
    test(`refuses ${name}`, () => {
      assert.throws(() => checkCdiSpec(document), { code: "invalid-argument", message });
    });

  test("takes or refuses anything", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (document, edits) => {
        for (const value of [document, minimal({}, edits as object)])
          try {
            checkCdiSpec(value);
          } catch (error) {
            assert.ok(error instanceof CricketError, String(error));
          }
      }),
      { numRuns: 500, interruptAfterTimeLimit: 2000 },
    );
  });
});

test("`parseQualifiedName()` wants vendor, class and name", () => {
  assert.deepEqual(parseQualifiedName("v.com/c=0:1"), { kind: "v.com/c", name: "0:1" });
  for (const text of [
    "",
    "v.com/c",
    "v.com=d",
    "/c=d",
    "v.com/c=",
    "v.com/c=d/e",
    "v.com/c=-d",
    "v.com/c=d-",
  ])
    assert.equal(parseQualifiedName(text), undefined, text);
});

describe("`CdiRegistry`", () => {
  test("reads JSON and YAML, and lets the later directory go before", async () => {
    const first = directory({
      "a.json": minimal({ devices: [{ name: "one", containerEdits: { env: ["A=first"] } }] }),
      "b.yaml":
        'cdiVersion: "0.3.0"\nkind: other.com/class\ndevices:\n- name: two\n  containerEdits:\n    env: ["B=yaml"]\n',
      "ignored.txt": "not CDI",
    });
    const second = directory({
      "z.json": minimal({ devices: [{ name: "one", containerEdits: { env: ["A=second"] } }] }),
    });
    const registry = new CdiRegistry([first, join(root, "missing"), second], log);
    const found = await registry.find(["vendor.com/class=one", "other.com/class=two"]);
    assert.deepEqual(
      found.map(({ device }) => device.containerEdits?.env),
      [["A=second"], ["B=yaml"]],
    );
  });

  test("names files that contradict each other, and those that cannot be read", async () => {
    const path = directory({
      "a.json": minimal(),
      "b.json": minimal(),
      "c.json": "{",
      "d.yaml": "a: &x [*x]",
    });
    const registry = new CdiRegistry([path], log);
    await assert.rejects(registry.find(["vendor.com/class=dev"]), {
      code: "failed-precondition",
      message: `CDI device vendor.com/class=dev is in several files: ${path}/a.json, ${path}/b.json`,
    });
    await assert.rejects(
      registry.find(["vendor.com/class=none"]),
      /is in no file of .*c.json cannot be used: .*d.yaml/,
    );
    await assert.rejects(registry.find(["none"]), { code: "invalid-argument" });
  });

  test("sees a change, and reads nothing again without one", async () => {
    const path = directory({ "a.json": minimal() });
    const registry = new CdiRegistry([path], log);
    const [before] = await registry.find(["vendor.com/class=dev"]);
    const [again] = await registry.find(["vendor.com/class=dev"]);
    assert.equal(again?.device, before?.device);
    writeFileSync(join(path, "a.json"), JSON.stringify(minimal({}, { env: ["A=changed"] })));
    const [changed] = await registry.find(["vendor.com/class=dev"]);
    assert.deepEqual(changed?.device.containerEdits?.env, ["A=changed"]);
    rmSync(join(path, "a.json"));
    await assert.rejects(registry.find(["vendor.com/class=dev"]), /is in no file/);
  });
});

describe("`Cdi`", () => {
  const spec = { ociVersion: "1.2.0", process: { cwd: "/", user: { uid: 1000, gid: 2000 } } };
  const resolveFor = async (container: Spec, document: object, ...names: string[]) =>
    new Cdi({ specDirs: [directory({ "a.json": document })] }, log).resolve(
      names.map((name) => `vendor.com/class=${name}`),
      container,
    );
  const resolve = (document: object, ...names: string[]) => resolveFor(spec, document, ...names);

  test("does what a file's devices have in common once, then each", async () => {
    const adjustments = await resolve(
      minimal({
        containerEdits: { env: ["COMMON=1"] },
        devices: ["a", "b"].map((name) => ({ name, containerEdits: { env: [`${name}=1`] } })),
      }),
      "b",
      "a",
      "b",
    );
    assert.deepEqual(
      adjustments.map(({ env }) => env?.[0]?.key),
      ["COMMON", "b", "a"],
    );
  });

  test("completes a device from that of the host, and gives it to the container's user", async () => {
    const nodes = [
      { path: "/dev/mine", hostPath: "/dev/null" },
      { path: "/dev/full", permissions: "none", uid: 0 },
    ];
    const [adjustment] = await resolve(minimal({ cdiVersion: "0.5.0" }, { deviceNodes: nodes }), "dev");
    const [first, second] = adjustment?.devices?.map(({ device }) => device) ?? [];
    assert.deepEqual(first, {
      ...first,
      type: "c",
      major: 1,
      minor: 3,
      permissions: "rwm",
      uid: 1000,
      gid: 2000,
    });
    assert.deepEqual(second, { ...second, path: "/dev/full", permissions: "", uid: 0 });
  });

  test("takes a device that is fully described without looking", async () => {
    const nodes = [{ path: "/dev/not-there", type: "b", major: 240, minor: 1 }];
    const [adjustment] = await resolve(minimal({}, { deviceNodes: nodes }), "dev");
    assert.equal(adjustment?.devices?.[0]?.device?.major, 240);
  });

  test("names the device whose node is not there, or another kind", async () => {
    await assert.rejects(
      resolve(minimal({}, { deviceNodes: [{ path: "/dev/not-there" }] }), "dev"),
      /CDI device vendor.com\/class=dev: \/dev\/not-there is not a device/,
    );
    await assert.rejects(
      resolve(minimal({}, { deviceNodes: [{ path: "/dev/null", type: "b" }] }), "dev"),
      /is a device of type c, not b/,
    );
  });

  test("makes bind mounts of mounts that do not say what they are", async () => {
    const mounts = [
      { hostPath: "/a", containerPath: "/b", options: ["ro", "bind"] },
      { hostPath: "/a", containerPath: "/c" },
      { hostPath: "tmpfs", containerPath: "/d", type: "tmpfs", options: ["size=1m"] },
    ];
    const [adjustment] = await resolve(minimal({ cdiVersion: "0.4.0" }, { mounts }), "dev");
    assert.deepEqual(
      adjustment?.mounts?.map(({ mount }) => [mount?.type, mount?.options]),
      [
        ["bind", ["ro", "bind"]],
        ["bind", ["rbind"]],
        ["tmpfs", ["size=1m"]],
      ],
    );
  });

  test("maps the ids of bind mounts where the container has a user namespace", async () => {
    const mounts = [
      { hostPath: "/a", containerPath: "/b", options: ["ro", "bind"] },
      { hostPath: "/a", containerPath: "/c" },
      { hostPath: "/a", containerPath: "/d", options: ["rbind", "idmap"] },
      { hostPath: "tmpfs", containerPath: "/e", type: "tmpfs", options: ["size=1m"] },
    ];
    const own = { ...spec, linux: { namespaces: [{ type: "user" as const, path: "/proc/1/ns/user" }] } };
    const [adjustment] = await resolveFor(own, minimal({ cdiVersion: "0.4.0" }, { mounts }), "dev");
    assert.deepEqual(
      adjustment?.mounts?.map(({ mount }) => mount?.options),
      [["ro", "bind", "idmap"], ["rbind", "ridmap"], ["rbind", "idmap"], ["size=1m"]],
    );
  });
});

describe("CDI and RDT:", () => {
  test("the root of resctrl is a class, and a class may be left out", () => {
    for (const intelRdt of [{ closID: "/" }, { closID: "" }, { l3CacheSchema: "L3:0=f" }])
      checkCdiSpec(minimal({ cdiVersion: "0.7.0" }, { intelRdt }));
  });

  test("what one device says takes the place of what another does", async () => {
    const rdts = [{ closID: "gold", schemata: ["L3:0=f"] }, { closID: "silver" }];
    const document = minimal({
      cdiVersion: "1.1.0",
      devices: rdts.map((intelRdt, index) => ({ name: `d${index}`, containerEdits: { intelRdt } })),
    });
    const cdi = new Cdi({ specDirs: [directory({ "a.json": document })] }, log);
    const adjustments = await cdi.resolve(["vendor.com/class=d0", "vendor.com/class=d1"], {
      ociVersion: "1.2.0",
    });
    let adjusted: ContainerSpec = { spec: { ociVersion: "1.2.0" }, env: [] };
    for (const adjustment of adjustments) adjusted = applyAdjustment(adjusted, adjustment);
    assert.deepEqual(adjusted.spec.linux?.intelRdt, { closID: "silver" });
  });
});

test("`requestedDevices()` takes the field, then the annotations", () => {
  const config = containerConfig({
    cdiDevices: ["v.com/c=a"],
    annotations: { "cdi.k8s.io/x": "v.com/c=b,v.com/c=c", other: "no" },
  });
  assert.deepEqual(requestedDevices(config), ["v.com/c=a", "v.com/c=b", "v.com/c=c"]);
  assert.throws(() => requestedDevices(containerConfig({ annotations: { "cdi.k8s.io/x": "a,b" } })), {
    code: "invalid-argument",
    message: /annotation cdi.k8s.io\/x/,
  });
});
