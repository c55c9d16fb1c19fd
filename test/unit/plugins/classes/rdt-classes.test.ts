import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { v1 } from "../../../../cri-api/nri/v1/api.js";
import { rdtFromWire } from "../../../../src/plugins/nri/adjustment-from-wire.ts";
import { resolveRdtClass } from "../../../../src/plugins/classes/rdt-classes.ts";

test("`resolveRdtClass()` finds the groups of resctrl", (t) => {
  // Stands for a mounted resctrl: no test machine has the hardware.
  const root = mkdtempSync(path.join(tmpdir(), "cricket-resctrl-"));
  t.after(() => rmSync(root, { recursive: true }));
  for (const name of ["", "gold", "info"]) mkdirSync(path.join(root, name), { recursive: true });
  for (const name of ["", "gold"]) writeFileSync(path.join(root, name, "tasks"), "");
  assert.deepEqual(resolveRdtClass("gold", root), { closID: "gold" });
  assert.deepEqual(resolveRdtClass("system/default", root), { closID: "/" });
  for (const name of ["silver", "info"])
    assert.throws(() => resolveRdtClass(name, root), {
      code: "failed-precondition",
      message: `RDT class ${name}: there is no group ${path.join(root, name)}`,
    });
  for (const name of ["../gold", "a/b", "..", ".", "a\nb"])
    assert.throws(() => resolveRdtClass(name, root), { code: "invalid-argument", message: /is not a name/ });
});

test("`rdtFromWire()` takes away first what is to be taken away", () => {
  const sent = (rdt: v1.LinuxRdtSent): v1.LinuxRdt => v1.LinuxRdt.decode(v1.LinuxRdt.encode(rdt).finish());
  assert.deepEqual(rdtFromWire(undefined), []);
  assert.deepEqual(rdtFromWire(sent({})), []);
  assert.deepEqual(rdtFromWire(sent({ remove: true })), [{ intelRdt: null }]);
  const closId = { value: "gold" };
  assert.deepEqual(rdtFromWire(sent({ closId, schemata: { value: ["L3:0=f"] } })), [
    { intelRdt: { closID: "gold", schemata: ["L3:0=f"] } },
  ]);
  assert.deepEqual(rdtFromWire(sent({ remove: true, enableMonitoring: { value: true } })), [
    { intelRdt: null },
    { intelRdt: { enableMonitoring: true } },
  ]);
});
