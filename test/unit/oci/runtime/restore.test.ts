import assert from "node:assert/strict";
import { test } from "node:test";
import type { Spec } from "../../../../src/oci/spec.ts";
import { checkSpec } from "../../../../src/oci/runtime/restore.ts";

test("`checkSpec()` refuses what a restore cannot give, by the name of the property", () => {
  const spec: Spec = { ociVersion: "1.3.0", root: { path: "rootfs" } };
  const process = { cwd: "/", user: { uid: 0, gid: 0 }, args: ["true"], terminal: true };
  const cases: [change: Partial<Spec>, message: RegExp][] = [
    [{ process }, /^process\.terminal/],
    [{ hooks: { createContainer: [{ path: "/bin/true" }] } }, /^hooks\.createContainer/],
    [{ linux: { intelRdt: { closID: "gold" } } }, /^linux\.intelRdt: restored processes/],
  ];
  for (const [change, message] of cases)
    assert.throws(() => checkSpec({ ...spec, ...change }), { code: "failed-precondition", message });
  assert.deepEqual(checkSpec(spec), []);
});
