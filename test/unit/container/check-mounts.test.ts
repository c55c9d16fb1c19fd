import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { SingleFlight } from "../../../src/base/single-flight.ts";
import { checkMounts } from "../../../src/container/check-mounts.ts";
import type { ContainerMount } from "../../../src/container/container-config.ts";
import { findMount, readMountinfo } from "../../../src/linux/mountinfo.ts";

const mount = (hostPath: string, propagation: ContainerMount["propagation"] = "private"): ContainerMount => ({
  containerPath: "/data",
  hostPath,
  readonly: false,
  recursiveReadOnly: false,
  propagation,
  selinuxRelabel: false,
  uidMappings: [],
  gidMappings: [],
});

function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "cricket-mounts-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test("`checkMounts()` makes a source that is missing, and names one that cannot be made", async (t) => {
  const root = directory(t);
  await checkMounts([mount(join(root, "a/b"))], new SingleFlight());
  assert.ok(statSync(join(root, "a/b")).isDirectory());
  writeFileSync(join(root, "file"), "");
  await assert.rejects(checkMounts([mount(join(root, "file/b"))], new SingleFlight()), {
    message: new RegExp(`mount source ${root}/file/b: .*ENOTDIR`),
  });
  symlinkSync(join(root, "nowhere", "..", "file", "x"), join(root, "dangling"));
  await assert.rejects(checkMounts([mount(join(root, "dangling"))], new SingleFlight()), {
    message: new RegExp(`mount source ${root}/dangling: `),
  });
});

test("`checkMounts()` looks at the mount that a link leads to", async (t) => {
  // What is shared and what is not differs from machine to machine; a link must not make a difference anywhere.
  const root = directory(t);
  symlinkSync("/proc/self", join(root, "link"));
  const table = readMountinfo("self");
  const isShared = findMount(table, "/proc/self")?.sharedGroup !== undefined;
  const check = checkMounts([mount(join(root, "link"), "bidirectional")], new SingleFlight());
  if (isShared) await check;
  else await assert.rejects(check, { code: "invalid-argument", message: /not shared/ });
});

test("`checkMounts()` joins a look at the same path that has not been answered", async (t) => {
  const root = directory(t);
  mkdirSync(join(root, "data"));
  const looks = new SingleFlight<string>();
  let answer: (path: string) => void = () => {};
  const unanswered = looks.run(join(root, "data"), () => new Promise((resolve) => (answer = resolve)));
  let isChecked = false;
  const check = checkMounts([mount(join(root, "data"))], looks).then(() => (isChecked = true));
  await checkMounts([mount(root)], looks);
  assert.equal(isChecked, false);
  answer(root);
  await Promise.all([unanswered, check]);
});
