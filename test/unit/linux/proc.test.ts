import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import fc from "fast-check";
import { isAtLeast, kernelRelease, parseRelease } from "../../../src/linux/kernel-release.ts";
import {
  bootId,
  capabilityBoundingSet,
  childrenOf,
  descendantsOf,
  isAlive,
  parseProcessStat,
  processStartTime,
  readProcessStat,
} from "../../../src/linux/proc.ts";

const rest = "S 1 77 78 0 -1 4194304 1 0 0 0 2 3 0 0 20 0 1 0 18446744073709551615 5000 9";

test("`parseProcessStat()` reads the fields after a command of any form", () => {
  for (const command of ["sh", "a b", "evil) R 0 (", ")", "", "(x"]) {
    assert.deepEqual(parseProcessStat(`42 (${command}) ${rest}`), {
      pid: 42,
      command,
      state: "S",
      parentPid: 1,
      processGroup: 77,
      session: 78,
      startTimeTicks: 18446744073709551615n,
    });
  }
});

test("`parseProcessStat()` gives undefined for what is cut off", () => {
  for (const text of ["", "42", "42 (sh", "42 (sh)", `42 (sh) ${rest.slice(0, 20)}`])
    assert.equal(parseProcessStat(text), undefined);
  fc.assert(fc.property(fc.string(), (text) => void parseProcessStat(text)));
});

test("a process is alive under its own start time only", () => {
  const start = processStartTime(process.pid);
  assert.equal(isAlive(process.pid, start), true);
  assert.equal(isAlive(process.pid, start + 1n), false);
});

test("a process that does not exist has no stat and no start time", () => {
  assert.equal(readProcessStat(0x7ffffffe), undefined);
  assert.throws(() => processStartTime(0x7ffffffe), /ESRCH/);
  assert.deepEqual(childrenOf(0x7ffffffe), []);
});

test("`descendantsOf()` finds children of children, parents first", async () => {
  const child = spawn("sh", ["-c", "sleep 100 & echo up; wait"], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  const found = descendantsOf(process.pid);
  const pid = child.pid ?? 0;
  assert.ok(found.includes(pid));
  const grandchildren = childrenOf(pid);
  assert.equal(grandchildren.length, 1);
  assert.ok(found.indexOf(pid) < found.indexOf(grandchildren[0] ?? 0));
  for (const grandchild of grandchildren) process.kill(grandchild, "SIGKILL");
  await once(child, "exit");
});

test("the boot id and the bounding set have their form", () => {
  assert.match(bootId(), /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  assert.ok(capabilityBoundingSet() >= 0n);
});

test("kernel releases are compared by number", () => {
  assert.deepEqual(parseRelease("6.10.3-amd64"), { major: 6, minor: 10 });
  assert.deepEqual(parseRelease("strange"), { major: 0, minor: 0 });
  assert.equal(isAtLeast(parseRelease("6.10.3"), 6, 9), true);
  assert.equal(isAtLeast(parseRelease("5.19"), 6, 1), false);
  assert.equal(kernelRelease().major > 0, true);
});
