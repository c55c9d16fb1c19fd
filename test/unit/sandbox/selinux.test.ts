import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { SecurityConfig } from "../../../src/config/config.ts";
import { Selinux, type SelinuxHost } from "../../../src/sandbox/selinux.ts";
import {
  formatSelinuxLabel,
  overrideLabels,
  parseContexts,
  parseSelinuxLabel,
  uniqueLevel,
} from "../../../src/sandbox/selinux-label.ts";

const config: SecurityConfig = {
  apparmorProfile: "cricket-default",
  enableSelinux: true,
  selinuxCategoryRange: 1024,
  hostNetworkDisableSelinux: true,
};
const host: SelinuxHost = {
  hasLevels: true,
  isEnforcing: () => true,
  isValid: (label) => /:(?:container_t|container_file_t|other_t|spc_t)(?::|$)/.test(label),
  contexts: {},
  hasNosuidTransitions: true,
  labelFile: () => {},
};
const pod = {
  process: "system_u:system_r:container_t:s0:c1,c2",
  mount: "system_u:object_r:container_file_t:s0:c1,c2",
};
const options = { user: "", role: "", type: "", level: "" };
const own = { network: "pod", pid: "container", ipc: "pod" };

test("`parseSelinuxLabel()` and `formatSelinuxLabel()` are inverses", () => {
  for (const label of [pod.process, "u:r:t", "u:r:t:s0", "u:r:t:s0-s0:c0.c1023"])
    assert.equal(formatSelinuxLabel(parseSelinuxLabel(label)), label);
});

test("`uniqueLevel()` gives each pair of categories once, in order, and then none", () => {
  const taken = new Set<string>();
  for (let pairs = 0; pairs < 10; pairs++) taken.add(uniqueLevel(5, taken) ?? "none");
  assert.equal(taken.size, 10);
  for (const level of taken) assert.match(level, /^s0:c[0-3],c[1-4]$/);
  assert.equal(uniqueLevel(5, taken), undefined);
});

test("`uniqueLevel()` stays in its range, smaller category first", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 1024 }),
      fc.double({ min: 0, max: 0.999999, noNaN: true }),
      (range, at) => {
        const match = /^s0:c(\d+),c(\d+)$/.exec(uniqueLevel(range, new Set(), () => at) ?? "");
        const [low, high] = [Number(match?.[1]), Number(match?.[2])];
        return low >= 0 && low < high && high < range;
      },
    ),
  );
});

test("`parseContexts()` reads what policies ship", () => {
  const text =
    '# comment\nprocess = "a:b:c:s0"\ncontent = "x:y:z:s0"\nfile = "d:e:f:s0"\n\nro_file="g:h:i:s0"\n';
  assert.deepEqual(parseContexts(text), { process: "a:b:c:s0", file: "d:e:f:s0" });
  assert.deepEqual(parseContexts(""), {});
});

test("`overrideLabels()` takes a level alone, for process and files", () => {
  assert.deepEqual(overrideLabels(pod, { ...options, level: "s0:c7,c8" }), {
    process: "system_u:system_r:container_t:s0:c7,c8",
    mount: "system_u:object_r:container_file_t:s0:c7,c8",
  });
  assert.equal(
    overrideLabels(pod, { ...options, type: "spc_t" }).mount,
    "system_u:object_r:container_file_t:s0:c1,c2",
  );
});

test("`Selinux.labelsOfPod()` gives no two pods the same categories", () => {
  const selinux = new Selinux({ ...config, selinuxCategoryRange: 3 }, host);
  const labels: ReturnType<typeof selinux.labelsOfPod>[] = [];
  for (let pods = 0; pods < 3; pods++) labels.push(selinux.labelsOfPod(undefined, labels));
  assert.equal(new Set(labels.map((one) => one?.process)).size, 3);
  assert.throws(() => selinux.labelsOfPod(undefined, labels), { code: "resource-exhausted" });
  // Who names a level takes it, free or not.
  const named = selinux.labelsOfPod({ ...options, level: "s0:c0,c1" }, labels);
  assert.equal(named?.process, "system_u:system_r:container_t:s0:c0,c1");
});

test("`Selinux.labelsOfPod()` refuses what the policy does not know", () => {
  assert.throws(() => new Selinux(config, host).labelsOfPod({ ...options, type: "nonsense_t" }, []), {
    code: "invalid-argument",
    message:
      /selinux_options: the loaded SELinux policy does not know the label system_u:system_r:nonsense_t:/,
  });
});

test("`Selinux` without levels in the policy leaves them out", () => {
  const selinux = new Selinux(config, { ...host, hasLevels: false });
  assert.equal(
    selinux.labelsOfPod({ ...options, level: "s0:c1,c2" }, [])?.process,
    "system_u:system_r:container_t",
  );
});

test("`Selinux` is off where the policy has no word on containers", () => {
  const selinux = new Selinux(config, { ...host, isValid: () => false });
  assert.equal(selinux.isEnabled, false);
  assert.equal(selinux.labelsOfPod({ ...options, type: "x_t" }, []), undefined);
  assert.deepEqual(selinux.labelsOfContainer(undefined, { privileged: false, namespaces: own }), {
    process: "",
    mount: "",
  });
});

test("`Selinux.labelsOfContainer()` follows the pod, and what the container asks for", () => {
  const selinux = new Selinux(config, host);
  const of = (changes: object) =>
    selinux.labelsOfContainer(pod, { privileged: false, namespaces: own, ...changes });
  assert.deepEqual(of({}), pod);
  assert.equal(
    of({ selinux: { ...options, type: "other_t" } }).process,
    "system_u:system_r:other_t:s0:c1,c2",
  );
  assert.deepEqual(of({ privileged: true }), { ...pod, process: "system_u:system_r:spc_t:s0" });
  assert.deepEqual(of({ namespaces: { ...own, network: "node" } }), { ...pod, process: "" });
  assert.deepEqual(of({ namespaces: { ...own, pid: "node" } }), { process: "", mount: "" });
  assert.deepEqual(of({ namespaces: { ...own, ipc: "node" } }), { process: "", mount: "" });
  const keeping = new Selinux({ ...config, hostNetworkDisableSelinux: false }, host);
  assert.deepEqual(
    keeping.labelsOfContainer(pod, { privileged: false, namespaces: { ...own, network: "node" } }),
    pod,
  );
});

test("`labelOfPause()` is the label of a container of the pod", () => {
  const selinux = new Selinux(config, host);
  const label = (namespaces = own, privileged = false) =>
    selinux.labelOfPause(pod, { privileged, namespaces });
  assert.equal(label(), pod.process);
  assert.equal(label({ ...own, pid: "pod" }), pod.process);
  assert.equal(label(own, true), "system_u:system_r:spc_t:s0");
  for (const namespaces of [
    { ...own, pid: "node" },
    { ...own, ipc: "node" },
    { ...own, network: "node" },
  ])
    assert.equal(label(namespaces), "");
});

test("`labelOfPause()` is none where the policy would let no pause start under it", () => {
  const old = new Selinux(config, { ...host, hasNosuidTransitions: false });
  assert.equal(old.labelOfPause(pod, { privileged: false, namespaces: own }), "");
  assert.equal(
    new Selinux(config, undefined).labelOfPause(undefined, { privileged: false, namespaces: own }),
    "",
  );
});

test("`labelPauseProgram()` makes it a file of containers, of no pod", () => {
  const labelled: unknown[] = [];
  const labelFile = (fd: number, label: string) => labelled.push([fd, label]);
  new Selinux(config, { ...host, labelFile }).labelPauseProgram(7);
  assert.deepEqual(labelled, [[7, "system_u:object_r:container_file_t:s0"]]);
});
