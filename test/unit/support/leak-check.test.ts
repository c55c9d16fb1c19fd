import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { startLeakCheck } from "../../support/leak-check.ts";

/** A mark of its own, so that other tests' directories do not matter here. */
const scope = () => ({ marks: [`leak-check-${randomBytes(4).toString("hex")}`], graceMs: 0 });

test("`startLeakCheck()` finds a directory that stays", async (t) => {
  const { marks, graceMs } = scope();
  const check = startLeakCheck({ marks, graceMs });
  const directory = path.join(os.tmpdir(), `cricket-${marks[0]}`);
  fs.mkdirSync(directory);
  t.after(() => fs.rmSync(directory, { recursive: true }));
  await assert.rejects(check(), new RegExp(`directory ${directory}`));
});

test("`startLeakCheck()` finds a descriptor and a child process that stay", async (t) => {
  const check = startLeakCheck(scope());
  const descriptor = fs.openSync(import.meta.filename, "r");
  const child = spawn("sleep", ["60"], { stdio: "ignore" });
  t.after(() => {
    fs.closeSync(descriptor);
    child.kill("SIGKILL");
  });
  await assert.rejects(check(), new RegExp(`process ${child.pid} [^]*descriptor ${import.meta.filename} #1`));
});

test("`startLeakCheck()` waits for what goes by itself", async () => {
  const { marks } = scope();
  const check = startLeakCheck({ marks, graceMs: 10_000 });
  const directory = path.join(os.tmpdir(), `cricket-${marks[0]}`);
  fs.mkdirSync(directory);
  setTimeout(() => fs.rmdirSync(directory), 100);
  await check();
});
