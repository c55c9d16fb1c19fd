import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { DirectoryWatch, loadNetworkConfig } from "../../../../src/network/cni/config-directory.ts";
import { CniDouble, recordingLog } from "../../../support/cni-double.ts";
import { until } from "../../../support/until.ts";

const network = (name: string, more: object = {}) => ({
  cniVersion: "1.0.0",
  name,
  plugins: [{ type: "bridge" }],
  ...more,
});

const nameOf = (double: CniDouble): string | undefined => {
  const loaded = loadNetworkConfig(double.confDir);
  return loaded.configured ? loaded.config?.name : undefined;
};

test("`loadNetworkConfig()` takes the first valid file by name", () => {
  using double = new CniDouble();
  assert.deepEqual(loadNetworkConfig(double.confDir), { configured: false });
  double.configure("README", "hello");
  double.configure("10-a.conflist.bak", network("backup"));
  assert.deepEqual(loadNetworkConfig(double.confDir), { configured: false });
  double.configure("20-b.conflist", network("b"));
  double.configure("30-c.json", network("c"));
  assert.equal(nameOf(double), "b");
  double.configure("10-a.conf", "{");
  assert.equal(nameOf(double), "b");
  double.configure("10-a.conf", { cniVersion: "1.0.0", name: "a", type: "ptp" });
  assert.equal(nameOf(double), "a");
});

test("`loadNetworkConfig()` says what is wrong where no file is valid", () => {
  using double = new CniDouble();
  double.configure("10-a.conf", "{");
  fs.mkdirSync(path.join(double.confDir, "20-b.conf"));
  fs.writeFileSync(path.join(double.confDir, "30-c.conf"), " ".repeat(1024 * 1024 + 1));
  const loaded = loadNetworkConfig(double.confDir);
  assert.ok(loaded.configured && loaded.config === undefined);
  assert.match(
    loaded.problem,
    /10-a.conf: .*JSON.*; .*20-b.conf: not a regular file; .*30-c.conf: 1048577 bytes/,
  );
});

test("`loadNetworkConfig()` adds the plugins of the network's own directory", () => {
  using double = new CniDouble();
  double.configure("10-a.conflist", network("a"));
  fs.mkdirSync(path.join(double.confDir, "a"));
  fs.writeFileSync(path.join(double.confDir, "a", "2.conf"), '{"type":"second"}');
  fs.writeFileSync(path.join(double.confDir, "a", "1.conf"), '{"type":"first"}');
  const types = (): string[] => {
    const loaded = loadNetworkConfig(double.confDir);
    return loaded.configured ? (loaded.config?.plugins ?? []).map(({ type }) => type) : [];
  };
  assert.deepEqual(types(), ["bridge", "first", "second"]);
  double.configure("10-a.conflist", network("a", { loadOnlyInlinedPlugins: true }));
  assert.deepEqual(types(), ["bridge"]);
  double.configure("10-a.conflist", { cniVersion: "1.0.0", name: "a" });
  assert.deepEqual(types(), ["first", "second"]);
  fs.rmSync(path.join(double.confDir, "a"), { recursive: true });
  const loaded = loadNetworkConfig(double.confDir);
  assert.match(loaded.configured && loaded.config === undefined ? loaded.problem : "", /plugins is empty/);
});

test("`DirectoryWatch` sees changes, folders, and a directory that goes and comes", async (t) => {
  using double = new CniDouble();
  const directory = path.join(double.directory, "a", "b");
  let changes = 0;
  const watch = new DirectoryWatch(directory, () => changes++, recordingLog().log);
  t.after(() => watch.close());
  const change = async (what: string, act: () => void): Promise<void> => {
    const before = changes;
    act();
    await until(what, () => changes > before);
    // What is left of the same change.
    await delay(150);
  };
  await change("parents made", () => fs.mkdirSync(directory, { recursive: true }));
  await change("file made", () => fs.writeFileSync(path.join(directory, "x"), "1"));
  await change("file changed", () => fs.writeFileSync(path.join(directory, "x"), "2"));
  await change("folder made", () => fs.mkdirSync(path.join(directory, "net")));
  await change("file in the folder", () => fs.writeFileSync(path.join(directory, "net", "y"), "1"));
  await change("all removed", () => fs.rmSync(path.join(double.directory, "a"), { recursive: true }));
  const quiet = changes;
  fs.writeFileSync(path.join(double.directory, "unrelated"), "");
  await delay(150);
  assert.equal(changes, quiet);
  await change("made again", () => fs.mkdirSync(directory, { recursive: true }));
});

test("`DirectoryWatch` follows the name, whatever directory is put in its place", async (t) => {
  using double = new CniDouble();
  const parent = path.join(double.directory, "etc", "cni");
  const directory = path.join(parent, "net.d");
  for (const copy of ["one", "two"])
    fs.mkdirSync(path.join(double.directory, copy, "net.d"), { recursive: true });
  fs.mkdirSync(directory, { recursive: true });
  let changes = 0;
  const watch = new DirectoryWatch(directory, () => changes++, recordingLog().log);
  t.after(() => watch.close());
  const change = async (what: string, act: () => void): Promise<void> => {
    const before = changes;
    act();
    await until(what, () => changes > before);
    await delay(150);
  };
  const write = (): void => fs.writeFileSync(path.join(directory, "x"), "1");
  await change("parent moved away", () => fs.renameSync(parent, `${parent}-old`));
  await change("another one in its place", () => fs.renameSync(path.join(double.directory, "one"), parent));
  await change("file in it", write);
  await change("replaced at once", () => {
    fs.renameSync(parent, path.join(double.directory, "one"));
    fs.renameSync(path.join(double.directory, "two"), parent);
  });
  await change("file in the new one", write);
  await change("a link instead", () => {
    fs.rmSync(parent, { recursive: true });
    fs.symlinkSync(path.join(double.directory, "one"), parent);
  });
  await change("file behind the link", write);
  await change("link turned", () => {
    fs.mkdirSync(path.join(double.directory, "three", "net.d"), { recursive: true });
    fs.symlinkSync(path.join(double.directory, "three"), `${parent}.new`);
    fs.renameSync(`${parent}.new`, parent);
  });
  await change("file behind the new link", write);
});
