import assert from "node:assert/strict";
import { test } from "node:test";
import type { Spec } from "../../../../src/oci/spec.ts";
import { checkRestorable } from "../../../../src/oci/runtime/restore-plan.ts";

test("`checkRestorable()` refuses what a restore cannot give, by the name of the property", () => {
  const spec: Spec = { ociVersion: "1.3.0", root: { path: "rootfs" } };
  const user = { namespaces: [{ type: "user" as const, path: "/n" }] };
  const cases: [change: Partial<Spec>, message: RegExp][] = [
    [{ linux: { intelRdt: { closID: "gold" } } }, /^linux\.intelRdt: restored processes/],
    [{ linux: user }, /^linux\.namespaces: a user namespace/],
  ];
  for (const [change, message] of cases)
    assert.throws(() => checkRestorable({ ...spec, ...change }), { code: "failed-precondition", message });
  assert.deepEqual(checkRestorable(spec), []);
});
