// What scripts read: tables, lists of processes, durations and sizes.
import assert from "node:assert/strict";
import { test } from "node:test";
import { durationMs, formatList, linesOf } from "../../../../src/cli/oci/inspect.ts";
import { parseBytes } from "../../../../src/oci/runtime/cgroup-limits.ts";
import { defaultSpec } from "../../../../src/oci/runtime/default-spec.ts";
import { parseSpec, stringifySpec } from "../../../../src/oci/parse-spec.ts";
import { explainSpec } from "../../../../src/oci/explain.ts";

test("`formatList()` has columns of 12 and more", () => {
  const state = {
    ociVersion: "1.2.0",
    id: "a",
    pid: 17,
    status: "running" as const,
    bundle: "/a/longer/path",
    rootfs: "/r",
    created: "2026-01-02T03:04:05Z",
    owner: "root",
  };
  assert.equal(
    formatList([state]),
    "ID          PID         STATUS      BUNDLE           CREATED                OWNER\n" +
      "a           17          running     /a/longer/path   2026-01-02T03:04:05Z   root\n",
  );
  assert.equal(formatList([]), "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
});

test("`linesOf()` keeps the title and the container's processes", () => {
  assert.equal(linesOf("UID  PID CMD\nroot  1 a\nroot 12 b\n", new Set([12])), "UID  PID CMD\nroot 12 b\n");
  assert.throws(() => linesOf("CMD\na\n", new Set()), /PID/);
});

test("`durationMs()` takes durations and refuses the rest", () => {
  assert.deepEqual(["5s", "500ms", "1m30s", "1.5s"].map(durationMs), [5000, 500, 90_000, 1500]);
  for (const text of ["", "5", "-1s", "0s", "1d"]) assert.throws(() => durationMs(text), /interval/);
});

test("`parseBytes()` takes sizes with a unit", () => {
  assert.deepEqual(
    ["10", "512k", "64M", "2g", "-1", "1tb"].map((text) => parseBytes(text, "--memory")),
    [10n, 512n << 10n, 64n << 20n, 2n << 30n, -1n, 1n << 40n],
  );
  for (const text of ["", "x", "-2", "1.5g", "1p"])
    assert.throws(() => parseBytes(text, "--memory"), /--memory/);
});

test("`defaultSpec()` is a spec that can be read again", () => {
  for (const spec of [defaultSpec(), defaultSpec({ uid: 7, gid: 8 })])
    assert.deepEqual(parseSpec(stringifySpec(spec)), spec);
});

test("`explainSpec()` explains hooks", () => {
  const spec = defaultSpec();
  const hook = { path: "/bin/h", timeout: 3 };
  const text = explainSpec({
    ...spec,
    hooks: { createRuntime: [hook], createContainer: [hook], startContainer: [hook] },
  });
  const steps = text.split("\n").filter((line) => /^ *\d+ {2}(sync|runHook|waitGate)/.test(line));
  assert.deepEqual(
    steps.map((line) => line.replace(/^ *\d+ +/, "").trim()),
    ["sync", "runHook /bin/h, at most 3 s", "waitGate", "runHook /bin/h, at most 3 s"],
  );
});
