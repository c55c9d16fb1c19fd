import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cgroupName,
  checkSliceName,
  scopeName,
  slicePath,
  systemdRoot,
  unitOf,
} from "../../../../src/linux/systemd/unit-names.ts";

test("`slicePath()` puts a slice into those its name begins with", () => {
  assert.equal(slicePath("system.slice"), "/system.slice");
  assert.equal(
    slicePath("kubepods-burstable-pod1_2.slice"),
    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice",
  );
});

test("`checkSliceName()` refuses what systemd would, and what leads elsewhere", () => {
  for (const name of [
    "",
    ".slice",
    "a",
    "a.scope",
    "-a.slice",
    "a-.slice",
    "a--b.slice",
    "a/b.slice",
    "../a.slice",
    "a b.slice",
    "a\n.slice",
    `${"x".repeat(260)}.slice`,
  ])
    assert.throws(() => checkSliceName(name), { code: "invalid-argument" }, name);
});

test("`scopeName()` escapes what no unit may be called", () => {
  assert.equal(scopeName("cricket", "ab-c"), "cricket-ab-c.scope");
  assert.equal(scopeName("", "ab"), "ab.scope");
  assert.equal(scopeName("libpod", "a+b/c\\"), "libpod-a\\x2bb\\x2fc\\x5c.scope");
  assert.throws(() => scopeName("p", "x".repeat(300)), { code: "invalid-argument" });
});

test("`cgroupName()` keeps clear of the kernel's file names, `unitOf()` undoes it", () => {
  assert.equal(cgroupName("memory.max.scope"), "_memory.max.scope");
  assert.equal(cgroupName("_x.scope"), "__x.scope");
  assert.equal(cgroupName("cricket-a.scope"), "cricket-a.scope");
  for (const unit of ["memory.max.scope", "_x.scope", "cricket-a.scope"])
    assert.equal(unitOf(`/a.slice/${cgroupName(unit)}`), unit);
});

test("`systemdRoot()` is where PID 1 has its tree", () => {
  const root = (...entries: [string, string][]): string => systemdRoot(new Map(entries));
  assert.equal(root(["", "/init.scope"]), "");
  assert.equal(root(["", "/"]), "");
  assert.equal(root(["", "/docker/abc/init.scope"]), "/docker/abc");
  assert.equal(root(["", "/"], ["name=systemd", "/machine/x/init.scope"]), "/machine/x");
});
