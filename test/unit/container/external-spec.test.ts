import assert from "node:assert/strict";
import { test } from "node:test";
import { buildContainerSpec, type ContainerSpec } from "../../../src/container/build-spec.ts";
import { externalResources, externalSpec } from "../../../src/container/external-spec.ts";
import { containerConfig, specInput } from "./container-fixtures.ts";

const facts = {
  rootfs: "/run/rootfs/c",
  volumes: new Map(),
  lowestOomScoreAdj: undefined,
  limitsHugepages: true,
};

function built(mounts: { options: string[] }[] = []): ContainerSpec {
  const { spec, env } = buildContainerSpec(specInput({ config: containerConfig({}) }));
  const more = mounts.map(({ options }) => ({ destination: "/m", type: "bind", source: "/m", options }));
  return { spec: { ...spec, mounts: [...(spec.mounts ?? []), ...more] }, env };
}

test("`externalSpec()` names the mounted rootfs", () => {
  assert.equal(externalSpec(built(), facts).root?.path, "/run/rootfs/c");
});

test("`externalSpec()` lets shared and slave mounts reach as far as they say", () => {
  const propagation = (option: string) =>
    externalSpec(built([{ options: ["rbind", option] }]), facts).linux?.rootfsPropagation;
  assert.equal(propagation("rshared"), "shared");
  assert.equal(propagation("rslave"), "slave");
  assert.equal(propagation("rprivate"), undefined);
});

test("`externalSpec()` asks for no lower score than may be given", () => {
  const container = built();
  const { process } = container.spec;
  assert.ok(process !== undefined);
  const spec = { ...container.spec, process: { ...process, oomScoreAdj: -998 } };
  const score = (lowestOomScoreAdj: number | undefined) =>
    externalSpec({ ...container, spec }, { ...facts, lowestOomScoreAdj }).process?.oomScoreAdj;
  assert.equal(score(undefined), -998);
  assert.equal(score(-500), -500);
});

test("`externalSpec()` leaves out huge page limits of 0 where the runtime finds no controller for them", () => {
  const container = built();
  const limits = [
    { pageSize: "2MB", limit: 0n },
    { pageSize: "1GB", limit: 1n << 30n },
  ];
  const resources = { ...container.spec.linux?.resources, hugepageLimits: limits };
  const spec = { ...container.spec, linux: { ...container.spec.linux, resources } };
  const asked = (limitsHugepages: boolean) =>
    externalSpec({ ...container, spec }, { ...facts, limitsHugepages }).linux?.resources;
  assert.deepEqual(asked(true), resources);
  assert.deepEqual(asked(false), { ...resources, hugepageLimits: limits.slice(1) });
});

test("`externalSpec()` refuses an environment that JSON cannot hold", () => {
  const container = { ...built(), env: [Uint8Array.of(0x41, 0x3d, 0xff)] };
  assert.throws(() => externalSpec(container, facts), { code: "invalid-argument" });
});

test("`externalResources()` has what is set and nothing else", () => {
  const { resources } = containerConfig({});
  const change = { ...resources, memoryLimitBytes: 64n, cpuQuota: 5n, unified: { "memory.high": "1" } };
  assert.deepEqual(externalResources(change), {
    memory: { limit: 64n },
    cpu: { quota: 5n },
    unified: { "memory.high": "1" },
  });
});
