// linux.intelRdt on a directory that stands for a mounted resctrl: no test machine has the hardware.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { CleanupStack } from "../../../src/base/cleanup-stack.ts";
import type { IntelRdt } from "../../../src/oci/linux-spec.ts";
import {
  intelRdtTasks,
  prepareIntelRdt,
  removeIntelRdt,
  updateIntelRdt,
} from "../../../src/oci/runtime/intel-rdt.ts";

/** Groups that exist already, with their schemata. The kernel fills new ones by itself; here nobody does. */
function resctrl(t: TestContext, groups: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), "cricket-resctrl-"));
  t.after(() => rmSync(root, { recursive: true }));
  for (const [name, schemata] of Object.entries({ "": "", ...groups })) {
    mkdirSync(join(root, name, "mon_groups"), { recursive: true });
    writeFileSync(join(root, name, "schemata"), schemata);
    writeFileSync(join(root, name, "tasks"), "");
  }
  return root;
}

const prepare = (root: string, rdt: IntelRdt, undo = new CleanupStack()): string[] =>
  prepareIntelRdt("c1", rdt, undo, root);

test("`prepareIntelRdt()` takes a class that is there, and leaves it there", (t) => {
  const root = resctrl(t, { gold: "L3:0=ff;1=0f\nMB:0=20\n" });
  assert.deepEqual(prepare(root, { closID: "gold" }), [join(root, "gold/tasks")]);
  removeIntelRdt("c1", { closID: "gold" }, root);
  assert.ok(existsSync(join(root, "gold")));
});

test("`prepareIntelRdt()` takes the root for the class /", (t) => {
  const root = resctrl(t, {});
  assert.deepEqual(prepare(root, { closID: "/" }), [join(root, "tasks")]);
});

test("`prepareIntelRdt()` compares the schemata of a class that is there, padding aside", (t) => {
  const root = resctrl(t, { gold: "    L3:0=00ff;1=000f\n    MB:0=  20;1= 100\n" });
  const rdt: IntelRdt = {
    closID: "gold",
    l3CacheSchema: "L3:0=ff",
    memBwSchema: "MB:0=20",
    schemata: ["L3:1=f"],
  };
  assert.doesNotThrow(() => prepare(root, rdt));
  assert.throws(() => prepare(root, { ...rdt, l3CacheSchema: "L3:0=1" }), /has other schemata for L3:0/);
});

test("`prepareIntelRdt()` refuses a class that is not there and has no schemata", (t) => {
  assert.throws(
    () => prepare(resctrl(t, {}), { closID: "gold" }),
    /^[^]*linux\.intelRdt\.closID: there is no group/,
  );
});

test("`prepareIntelRdt()` counts the container apart, in a group that goes with it", async (t) => {
  const root = resctrl(t, { gold: "" });
  const undo = new CleanupStack();
  const rdt: IntelRdt = { closID: "gold", enableMonitoring: true };
  const tasks = [join(root, "gold/tasks"), join(root, "gold/mon_groups/c1/tasks")];
  assert.deepEqual(prepare(root, rdt, undo), tasks);
  // `tasks` of a new group is the kernel's to make.
  assert.deepEqual(intelRdtTasks("c1", rdt, root), tasks.slice(0, 1));
  assert.ok(existsSync(join(root, "gold/mon_groups/c1")));
  assert.throws(() => prepare(root, rdt), /enableMonitoring: there is a group/);
  assert.deepEqual(await undo.unwind(), []);
  assert.ok(!existsSync(join(root, "gold/mon_groups/c1")));
});

test("`prepareIntelRdt()` makes a class of the container's own, undone when the rest fails", async (t) => {
  const root = resctrl(t, {});
  const undo = new CleanupStack();
  assert.throws(() => prepare(root, { l3CacheSchema: "L3:0=f" }, undo), /c1\/schemata/);
  assert.ok(existsSync(join(root, "c1")));
  assert.deepEqual(await undo.unwind(), []);
  assert.ok(!existsSync(join(root, "c1")));
});

test("`updateIntelRdt()` writes one line of schemata after the other", (t) => {
  const root = resctrl(t, { gold: "L3:0=f" });
  updateIntelRdt("c1", { closID: "gold" }, { memBwSchema: "MB:0=50" }, root);
  assert.match(readFileSync(join(root, "gold/schemata"), "utf8"), /^MB:0=50\n/);
});

test("`intelRdtTasks()` are none without resctrl or a class", (t) => {
  assert.deepEqual(intelRdtTasks("c1", undefined, resctrl(t, {})), []);
  assert.deepEqual(intelRdtTasks("c1", { closID: "gold" }, resctrl(t, {})), []);
});
