import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { attachMount, createMount, MNT_DETACH, umount } from "../../../src/linux/mount.ts";
import { close, mkdirat, openat } from "../../../src/linux/files.ts";
import { deleteTree, deleteTreeAsync } from "../../../src/snapshot/delete-tree.ts";
import { requires } from "../../support/requires.ts";

for (const [name, remove] of Object.entries({ deleteTree, deleteTreeAsync }))
  describe(`${name}()`, requires("root"), () => {
    let root = "";
    let rootFd = -1;
    beforeEach(() => {
      root = mkdtempSync("/var/lib/cricket-delete-tree-");
      rootFd = openSync(root, "r");
    });
    afterEach(() => {
      closeSync(rootFd);
      rmSync(root, { recursive: true });
    });

    test("deletes everything below a name and nothing else", async () => {
      mkdirSync(join(root, "victim/a/b"), { recursive: true });
      writeFileSync(join(root, "other"), "stays");
      for (let i = 0; i < 2000; i++) writeFileSync(join(root, "victim/a", `file-with-a-long-name-${i}`), "");
      linkSync(join(root, "other"), join(root, "victim/hard"));
      symlinkSync(root, join(root, "victim/a/b/up"));
      execFileSync("mkfifo", [join(root, "victim/pipe")]);
      await remove(rootFd, "victim");
      assert.deepEqual(readdirSync(root), ["other"]);
    });

    test("takes a file, a symlink and nothing", async () => {
      writeFileSync(join(root, "file"), "x");
      symlinkSync("/var", join(root, "link"));
      for (const victim of ["file", "link", "missing"]) await remove(rootFd, victim);
      assert.deepEqual(readdirSync(root), []);
    });

    test("deletes trees that are deeper than any path, with few descriptors", async () => {
      mkdirSync(join(root, "deep"));
      let fd = openSync(join(root, "deep"), "r");
      for (let depth = 0; depth < 3000; depth++) {
        mkdirat(fd, "a-directory", 0o755);
        const below = openat(fd, "a-directory", 0);
        close(fd);
        fd = below;
      }
      close(fd);
      await remove(rootFd, "deep");
      assert.deepEqual(readdirSync(root), []);
    });

    test("stops at a mount and leaves its content alone", async () => {
      mkdirSync(join(root, "victim/mount"), { recursive: true });
      const mount = createMount("tmpfs", []);
      attachMount(mount, join(root, "victim/mount"));
      close(mount);
      try {
        writeFileSync(join(root, "victim/mount/precious"), "x");
        await assert.rejects(async () => remove(rootFd, "victim"), { errno: "EXDEV" });
        assert.ok(existsSync(join(root, "victim/mount/precious")));
      } finally {
        umount(join(root, "victim/mount"), MNT_DETACH);
      }
    });
  });
