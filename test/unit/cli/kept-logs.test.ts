import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { test } from "node:test";
import { makeKeptLogDirectory, removeKeptLogs, runLabel } from "../../../src/cli/kept-logs.ts";

test("`removeKeptLogs()` is not led out of its directory by the name of a pod (CVE-2025-0750)", () => {
  const victim = mkdtempSync(join(tmpdir(), "cricket-victim-"));
  const path = relative("/var/log/cricket", victim);
  const dash = path.lastIndexOf("-");
  const metadata = { name: path.slice(0, dash), uid: path.slice(dash + 1) };
  removeKeptLogs({ labels: { [runLabel]: "x" }, metadata });
  assert.equal(existsSync(victim), true);
  rmSync(victim, { recursive: true });
});

test("`makeKeptLogDirectory()` refuses a name that is no part of a file name", () => {
  assert.throws(() => makeKeptLogDirectory({ metadata: { name: "../x", uid: "1" } }), /no log directory/);
});
