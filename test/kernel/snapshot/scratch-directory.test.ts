// What a killed daemon leaves attached for a moment.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { AT_FDCWD, close } from "../../../src/linux/files.ts";
import { attachMount, cloneMount } from "../../../src/linux/mount.ts";
import { makeScratchPlace, openScratchDirectory } from "../../../src/snapshot/scratch-directory.ts";
import { leakFree } from "../../support/leak-check.ts";
import { requires } from "../../support/requires.ts";

test(
  "`openScratchDirectory()` removes mounts that are left in it, and nothing that they show",
  requires("root"),
  leakFree((t) => {
    const root = mkdtempSync(join(tmpdir(), "cricket-scratch-test-"));
    t.after(() => rmSync(root, { recursive: true }));
    const layer = join(root, "layer");
    mkdirSync(layer);
    writeFileSync(join(layer, "file"), "of a layer");
    const scratch = join(root, "scratch");
    openScratchDirectory(scratch);
    const place = join(makeScratchPlace(scratch), "0");
    mkdirSync(place);
    const mount = cloneMount(AT_FDCWD, layer, false);
    attachMount(mount, place);
    close(mount);
    assert.ok(existsSync(join(place, "file")));
    openScratchDirectory(scratch);
    assert.deepEqual(readdirSync(scratch), []);
    assert.ok(existsSync(join(layer, "file")));
  }),
);
