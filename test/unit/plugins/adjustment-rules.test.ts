import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { v1 } from "../../../cri-api/nri/v1/api.js";
import {
  checkRejected,
  checkRequiredPlugins,
  requiresPlugins,
  requiredPluginsAnnotation as key,
  type RuleSubject,
} from "../../../src/plugins/nri/adjustment-rules.ts";
import { AdjustmentMerge } from "../../../src/plugins/nri/merge-adjustment.ts";
import { FieldOwners } from "../../../src/plugins/nri/field-owners.ts";

const subject = (podAnnotations: Record<string, string> = {}): RuleSubject => ({
  containerId: "c",
  containerName: "main",
  podAnnotations,
  seccomp: { type: "runtime-default" },
});
const settings = { requiredPlugins: [] as string[], tolerateMissingAnnotation: "", reject: [] as string[] };

describe("required plugins", () => {
  const cases: [name: string, Record<string, string>, present: string[], missing: string | undefined][] = [
    ["none", {}, [], undefined],
    ["by the pod, in JSON", { [key]: '["a", "b"]' }, ["b"], "a"],
    ["by the pod, in YAML", { [`${key}/pod`]: "- a\n- b-c" }, ["a"], "b-c"],
    ["for one container", { [`${key}/container.main`]: "[x]", [key]: "[a]" }, [], "x"],
    ["for another container", { [`${key}/container.other`]: "[x]" }, [], undefined],
    ["an empty annotation", { [key]: "" }, [], undefined],
    ["all there", { [key]: "[a]" }, ["a", "b"], undefined],
  ];
  for (const [name, annotations, present, missing] of cases)
    test(name, async () => {
      const check = checkRequiredPlugins(subject(annotations), present, settings);
      if (missing === undefined) await check;
      else await assert.rejects(check, { code: "unavailable", message: new RegExp(`: ${missing}$`) });
    });

  test("by the operator, unless the pod does without", async () => {
    const strict = { ...settings, requiredPlugins: ["a"], tolerateMissingAnnotation: "ok" };
    await assert.rejects(checkRequiredPlugins(subject(), [], strict), /: a$/);
    // As strconv.ParseBool reads it.
    for (const text of ["true", "True", "1"]) await checkRequiredPlugins(subject({ ok: text }), [], strict);
    await assert.rejects(checkRequiredPlugins(subject({ ok: "F" }), [], strict), /: a$/);
    await assert.rejects(checkRequiredPlugins(subject({ ok: "yes" }), [], strict), {
      code: "invalid-argument",
      message: /annotation ok is "yes"/,
    });
    assert.equal(requiresPlugins(subject(), strict), true);
    assert.equal(requiresPlugins(subject(), settings), false);
  });

  test("in an annotation that is no list are an error", async () => {
    for (const text of ["a: b", "[1]", "{", "&a [*a]"])
      await assert.rejects(checkRequiredPlugins(subject({ [key]: text }), [], settings), {
        code: "invalid-argument",
      });
  });
});

describe("`checkRejected()` names the plugin that adjusts", () => {
  const cases: [reject: string, claim: (owners: FieldOwners) => void][] = [
    ["hooks", (owners) => owners.share("c", "00-p", "hooks")],
    ["seccomp-runtime-default", (owners) => owners.claim("c", "00-p", "seccompPolicy")],
    ["namespaces", (owners) => owners.claim("c", "00-p", "namespace", "ipc")],
    ["sysctls", (owners) => owners.claim("c", "00-p", "sysctl", "net.a")],
    ["sysctls", (owners) => owners.remove("c", "00-p", "sysctl", "net.a")],
  ];
  for (const [reject, claim] of cases)
    test(`${reject}: ${String(claim)}`, () => {
      const owners = new FieldOwners();
      claim(owners);
      checkRejected(subject(), owners, { ...settings, reject: ["seccomp-localhost"] });
      assert.throws(() => checkRejected(subject(), owners, { ...settings, reject: [reject] }), {
        message: `plugin 00-p adjusts ${reject}, which nri.reject does not allow`,
      });
    });
});

test("a plugin that takes a namespace away adjusts namespaces", () => {
  const owners = new FieldOwners();
  const merge = new AdjustmentMerge({ id: "c" }, owners);
  const change = v1.ContainerAdjustment.encode({ linux: { namespaces: [{ type: "-network" }] } });
  merge.add("00-p", v1.ContainerAdjustment.decode(change.finish()));
  assert.throws(
    () => checkRejected(subject(), owners, { ...settings, reject: ["namespaces"] }),
    /plugin 00-p adjusts namespaces/,
  );
});
