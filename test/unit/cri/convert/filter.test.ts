import assert from "node:assert/strict";
import { test } from "node:test";
import { filterContainers, filterSandboxes, imageReference } from "../../../../src/cri/convert/filter.ts";
import { v1 } from "../../../../cri-api/runtime/v1/api.js";
import { containerView, sandboxView } from "./views.ts";
import { refusal } from "./wire.ts";

const sandboxes = [
  sandboxView("aab1", { labels: { app: "web", tier: "1" } }),
  sandboxView("aac2", { labels: { app: "web" } }, { isReady: false }),
];

function sandboxIds(filter: v1.PodSandboxFilterSent): string[] {
  const wire = v1.PodSandboxFilter.decode(v1.PodSandboxFilter.encode(filter).finish());
  return filterSandboxes(sandboxes, wire, "filter").map(({ record }) => record.id);
}

test("`filterSandboxes()` matches ids by prefix, states and labels, all at once", () => {
  assert.deepEqual(sandboxIds({}), ["aab1", "aac2"]);
  assert.deepEqual(sandboxIds({ id: "aa" }), ["aab1", "aac2"]);
  assert.deepEqual(sandboxIds({ id: "aab" }), ["aab1"]);
  assert.deepEqual(sandboxIds({ id: "nothing" }), []);
  assert.deepEqual(sandboxIds({ state: { state: 0 } }), ["aab1"]);
  assert.deepEqual(sandboxIds({ state: { state: 1 }, labelSelector: { app: "web" } }), ["aac2"]);
  assert.deepEqual(sandboxIds({ labelSelector: { app: "we" } }), []);
  assert.deepEqual(sandboxIds({ labelSelector: { toString: "x" } }), []);
});

const containers = [
  containerView("c1", { labels: { a: "1" } }, { startedAtNs: 1n, sandboxId: "s1" }),
  containerView("c2", {}, { sandboxId: "s2" }),
];

function containerIds(filter: v1.ContainerFilterSent): string[] {
  const wire = v1.ContainerFilter.decode(v1.ContainerFilter.encode(filter).finish());
  return filterContainers(containers, wire, "filter").map(({ record }) => record.id);
}

test("`filterContainers()` matches sandbox, state and labels", () => {
  assert.deepEqual(containerIds({ podSandboxId: "s" }), ["c1", "c2"]);
  assert.deepEqual(containerIds({ podSandboxId: "s2" }), ["c2"]);
  assert.deepEqual(containerIds({ state: { state: 1 } }), ["c1"]);
  assert.deepEqual(containerIds({ state: { state: 3 } }), []);
  assert.deepEqual(containerIds({ labelSelector: { a: "1" } }), ["c1"]);
});

test("filters refuse states there are not", () => {
  assert.equal(
    refusal(() => sandboxIds({ state: { state: 2 } })),
    "filter.state.state is 2: not a known value",
  );
  assert.equal(
    refusal(() => containerIds({ state: { state: 9 } })),
    "filter.state.state is 9: not a known value",
  );
});

test("`imageReference()` wants a reference without blanks", () => {
  const spec = (image: string): v1.ImageSpec => v1.ImageSpec.decode(v1.ImageSpec.encode({ image }).finish());
  assert.equal(imageReference(spec("busybox:1"), "image"), "busybox:1");
  assert.equal(
    refusal(() => imageReference(null, "image")),
    "image.image is empty",
  );
  assert.match(
    refusal(() => imageReference(spec("a\nb"), "image")),
    /^image\.image is "a\\nb": contains/,
  );
});
