// The changes of a writable layer, told without overlayfs and applied to another.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import {
  AT_FDCWD,
  close,
  mknodat,
  O_DIRECTORY,
  O_RDONLY,
  openat,
  setxattrPath,
} from "../../src/linux/files.ts";
import { S_IFCHR } from "../../src/linux/stat.ts";
import { deleteFrom, unpackInto } from "../../src/snapshot/apply-difference.ts";
import { listChanges } from "../../src/snapshot/list-changes.ts";
import { createOverlay } from "../../src/snapshot/overlay.ts";
import { requires } from "../support/requires.ts";

describe("changes of a writable layer", requires("root", "overlay"), () => {
  let directory: string;
  const at = (name: string): string => path.join(directory, name);
  beforeEach(() => {
    // Overlayfs takes no upper directory on overlayfs, as /tmp may be in a container.
    directory = fs.mkdtempSync(path.join(os.tmpdir(), "cricket-changes-"));
    for (const name of ["lower/dir", "lower/kept", "upper/dir", "upper2", "work", "work2", "outside"])
      fs.mkdirSync(at(name), { recursive: true });
    for (const name of ["lower/gone", "lower/dir/old", "lower/dir/same", "lower/kept/file", "outside/file"])
      fs.writeFileSync(at(name), "lower");
  });
  afterEach(() => fs.rmSync(directory, { recursive: true, force: true }));

  const open = (name: string): number => openat(AT_FDCWD, at(name), O_RDONLY | O_DIRECTORY);

  it("are files, and what is deleted by whiteouts and opaque directories", () => {
    mknodat(AT_FDCWD, at("upper/gone"), S_IFCHR | 0o600, 0n);
    setxattrPath(at("upper/dir"), "trusted.overlay.opaque", Buffer.from("y"));
    fs.writeFileSync(at("upper/dir/same"), "upper");
    fs.writeFileSync(at("upper/new"), "upper");
    const [upper, lower] = [open("upper"), open("lower")];
    try {
      const { present, deleted } = listChanges(upper, lower);
      assert.deepEqual(present.sort(), [".", "dir", "dir/same", "new"]);
      assert.deepEqual(deleted.sort(), ["/dir/old", "/gone"]);
    } finally {
      close(upper);
      close(lower);
    }
  });

  it("come into another container's tree and nowhere else", async () => {
    fs.symlinkSync(at("outside"), at("lower/link"));
    const content = at("content");
    fs.mkdirSync(path.join(content, "kept"), { recursive: true });
    fs.writeFileSync(path.join(content, "kept/new"), "new");
    fs.writeFileSync(path.join(content, "kept/.wh.file"), "");
    execFileSync("tar", ["-C", content, "-cf", at("diff.tar"), "kept/new", "kept/.wh.file"]);
    const mount = createOverlay({ lowers: [at("lower")], upper: at("upper2"), work: at("work2") });
    try {
      const root = openat(mount, ".", O_RDONLY | O_DIRECTORY);
      try {
        await unpackInto(root, at("diff.tar"));
        deleteFrom(root, ["/gone", "dir", "/link/file", "/nowhere/x"]);
        assert.throws(() => deleteFrom(root, ["../outside"]), /leads out/);
        const inRoot = (name: string): string[] => fs.readdirSync(`/proc/self/fd/${root}/${name}`).sort();
        assert.deepEqual([inRoot("."), inRoot("kept")], [["kept", "link"], ["new"]]);
        assert.deepEqual(fs.readdirSync(at("outside")), ["file"]);
      } finally {
        close(root);
      }
    } finally {
      close(mount);
    }
  });
});
