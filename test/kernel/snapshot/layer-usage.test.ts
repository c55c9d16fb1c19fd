import assert from "node:assert/strict";
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { LayerUsage } from "../../../src/snapshot/layer-usage.ts";
import { measureTree } from "../../../src/snapshot/measure-tree.ts";
import { requires } from "../../support/requires.ts";

describe("LayerUsage", requires("root"), () => {
  let root = "";
  let usage: LayerUsage;
  beforeEach(() => {
    root = mkdtempSync("/var/lib/cricket-layer-usage-");
    usage = new LayerUsage(root);
  });
  afterEach(async () => {
    await usage.idle();
    rmSync(root, { recursive: true });
  });
  const upper = (id: string): string => join(root, id, "upper");
  const layer = (id: string, files: number): void => {
    mkdirSync(upper(id), { recursive: true });
    for (let i = 0; i < files; i++) writeFileSync(join(upper(id), String(i)), "x".repeat(5000));
  };

  test("answers for a small layer at once", () => {
    layer("small", 3);
    mkdirSync(join(upper("small"), "sub"));
    linkSync(join(upper("small"), "0"), join(upper("small"), "sub/again"));
    symlinkSync("/var", join(upper("small"), "link"));
    assert.deepEqual(usage.usageOf("small"), { bytes: 3 * 8192 + 2 * 4096, inodes: 6 });
    assert.deepEqual(usage.total(), { bytes: 3 * 8192 + 2 * 4096, inodes: 6 });
  });

  test("measures a large layer in the background", async () => {
    layer("large", 1000);
    assert.equal(usage.usageOf("large"), undefined);
    await usage.idle();
    assert.deepEqual(usage.usageOf("large")?.inodes, 1001);
  });

  test("sees what has been written since, after a while", async () => {
    layer("one", 1);
    const before = usage.usageOf("one");
    writeFileSync(join(upper("one"), "more"), "x");
    assert.deepEqual(usage.usageOf("one"), before);
    await delay(1100);
    assert.equal(usage.usageOf("one")?.inodes, 3);
  });

  test("knows nothing of unknown and forgotten containers", async () => {
    assert.equal(usage.usageOf("unknown"), undefined);
    layer("one", 1);
    usage.usageOf("one");
    rmSync(join(root, "one"), { recursive: true });
    usage.forget("one");
    assert.equal(usage.usageOf("one"), undefined);
    await usage.idle();
    assert.deepEqual(usage.total(), { bytes: 0, inodes: 0 });
  });

  test("measureTree() can be stopped and closes what it has open", () => {
    layer("one", 100);
    for (let turn = 0; turn < 2000; turn++) {
      const sum = { bytes: 0, inodes: 0 };
      for (const _ of measureTree(upper("one"), sum)) if (sum.inodes > 5) break;
      assert.equal(sum.inodes, 6);
    }
  });
});
