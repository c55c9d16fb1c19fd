import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { installedPlugins } from "../../../src/plugins/nri/launch-plugin.ts";

test("`installedPlugins()` leaves out what cannot be used, and says so", (t) => {
  const directory = mkdtempSync(path.join(tmpdir(), "cricket-plugins-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const [pluginDir = "", pluginConfigDir = ""] = ["plugins", "conf"].map((name) =>
    path.join(directory, name),
  );
  assert.deepEqual(installedPlugins({ pluginDir, pluginConfigDir }, assert.fail), []);
  for (const made of [pluginDir, pluginConfigDir]) mkdirSync(made);
  for (const name of ["10-one", "20-bad", "30-two", "other"])
    writeFileSync(path.join(pluginDir, name), "", { mode: 0o755 });
  writeFileSync(path.join(pluginDir, "40-not-executable"), "", { mode: 0o644 });
  symlinkSync("50-circle", path.join(pluginDir, "50-circle"));
  writeFileSync(path.join(pluginConfigDir, "one.conf"), "of any one");
  writeFileSync(path.join(pluginConfigDir, "10-one.conf"), "its own");
  // Not a file: it cannot be read.
  mkdirSync(path.join(pluginConfigDir, "bad.conf"));
  const refused: string[] = [];
  const found = installedPlugins({ pluginDir, pluginConfigDir }, (name) => refused.push(path.basename(name)));
  assert.deepEqual(
    found.map(({ identity, config }) => [identity, config]),
    [
      [{ index: "10", name: "one" }, "its own"],
      [{ index: "30", name: "two" }, ""],
    ],
  );
  assert.deepEqual(refused, ["20-bad", "50-circle"]);
});
