// The archives that got other engines, built as their exploits were: whatever they answer, nothing outside may change.
import assert from "node:assert/strict";
import { lstatSync } from "node:fs";
import { afterEach, beforeEach, describe, test } from "node:test";
import { requires } from "../../support/requires.ts";
import { unpackFixture, type UnpackFixture } from "./unpack-fixture.ts";

describe("a hostile layer", requires("root"), () => {
  let fixture: UnpackFixture;
  beforeEach(() => {
    fixture = unpackFixture();
  });
  afterEach(() => fixture.dispose());

  test("cannot name a path outside", () => {
    for (const name of ["../victim/new", "/../victim/new", "a/../../victim/new", "./.././victim/new"])
      assert.match(fixture.attack({ name, data: "x" })?.message ?? "", /leads out/);
  });

  test("cannot write through a symlink to a directory outside (CVE-2018-15664's family)", () => {
    const { victim } = fixture;
    for (const linkName of [victim, "../victim", "/../../../../../../../../../../../..", "/"]) {
      fixture.attack(
        { name: "evil", type: "2", linkName },
        { name: "evil/secret", data: "overwritten", mode: 0o777 },
        { name: `evil/${victim}/secret`, data: "overwritten" },
        { name: "evil/dir/new", data: "new" },
        { name: "evil/dir/", type: "5", mode: 0o777, uid: 1000 },
      );
    }
  });

  test("resolves an absolute symlink inside the layer", () => {
    const failure = fixture.attack(
      { name: "etc/", type: "5" },
      { name: "run", type: "2", linkName: "/etc" },
      { name: "run/passwd", data: "inside" },
    );
    assert.equal(failure, undefined);
    assert.equal(fixture.tree()["etc/passwd"], "f inside");
  });

  test("cannot reach outside by magic links of /proc", () => {
    fixture.attack(
      { name: "p", type: "2", linkName: "/proc/self/cwd" },
      { name: "p/x", data: "x" },
      { name: "q", type: "2", linkName: "/proc/1/root" },
      { name: "q/x", data: "x" },
    );
  });

  test("cannot replace the symlink it has just made by a name that differs only in form", () => {
    const { victim } = fixture;
    fixture.attack(
      { name: "x", type: "2", linkName: `${victim}/secret` },
      { name: "./x", data: "overwritten" },
      { name: "y", type: "2", linkName: `${victim}/dir` },
      { name: "y/", type: "5", mode: 0o777 },
      { name: ".//y/./new", data: "inside" },
    );
    assert.deepEqual(fixture.tree(), { x: "f overwritten", y: "d", "y/new": "f inside" });
  });

  // Mode, owner and times of an entry were set through the symlink that had taken its place.
  test("cannot chmod, chown or date a file outside (CVE-2021-32760)", () => {
    const secret = `${fixture.victim}/secret`;
    fixture.attack(
      { name: "a", type: "2", linkName: secret, mode: 0o777, uid: 1000, gid: 1000, mtime: 1 },
      { name: "b", type: "1", linkName: "a", mode: 0o4777, uid: 1000, mtime: 2 },
      { name: "c", type: "6", mode: 0o777, uid: 1000 },
      {
        name: "c",
        type: "2",
        linkName: secret,
        mode: 0o4777,
        uid: 1000,
        pax: { "SCHILY.xattr.user.x": "y" },
      },
    );
    assert.equal(lstatSync(secret).mode & 0o7777, 0o600);
  });

  test("cannot link to, or through a link to, a file outside", () => {
    const { victim } = fixture;
    const targets = [`${victim}/secret`, "../victim/secret", "out/secret", "out2"];
    for (const linkName of targets) {
      fixture.attack(
        { name: "out", type: "2", linkName: victim },
        { name: "out2", type: "2", linkName: `${victim}/secret` },
        { name: "hard", type: "1", linkName },
        { name: "hard", data: "overwritten", mode: 0o777 },
      );
    }
  });

  test("gives a hardlink to a symlink the symlink, not its target", () => {
    const { victim } = fixture;
    fixture.attack(
      { name: "s", type: "2", linkName: `${victim}/secret` },
      { name: "h", type: "1", linkName: "s" },
    );
    assert.equal(fixture.tree()["h"], `l ${victim}/secret`);
  });

  // A directory, replaced by a symlink between the check of its path and its use: here by entries of the same archive,
  // while its descriptor is still cached.
  test("cannot exchange a directory for a symlink between two entries (CVE-2025-47290)", () => {
    const { victim } = fixture;
    const failure = fixture.attack(
      { name: "d/", type: "5" },
      { name: "d/first", data: "1" },
      { name: "d", type: "2", linkName: victim },
      { name: "d/secret", data: "overwritten" },
      { name: "d/dir/new", data: "new" },
      { name: "d", type: "5", mode: 0o777 },
      { name: "d/third", data: "3" },
    );
    // The link leads nowhere inside the layer.
    assert.match(failure?.message ?? "", /parent "d" is not a directory/);
  });

  test("cannot have the time of a replaced directory set outside", () => {
    const { victim } = fixture;
    const failure = fixture.attack(
      { name: "d/", type: "5", mtime: 1 },
      { name: "d", type: "2", linkName: victim },
      { name: "e/sub/", type: "5", mtime: 1 },
      { name: "e", type: "2", linkName: victim },
    );
    assert.equal(failure, undefined);
  });

  // mkdir -p that followed symlinks on its way made directories outside.
  test("cannot have parents made outside (CVE-2024-45310's family)", () => {
    const { victim } = fixture;
    fixture.attack({ name: "l", type: "2", linkName: `${victim}/made` }, { name: "l/a/b/c", data: "x" });
    fixture.attack({ name: "m", type: "2", linkName: "../victim/made" }, { name: "m/a/", type: "5" });
    fixture.attack({ name: "n", type: "2", linkName: victim }, { name: "n/new/dir/", type: "5" });
  });

  test("cannot delete or mark anything outside by whiteouts", () => {
    const { victim } = fixture;
    fixture.attack({ name: "l", type: "2", linkName: victim }, { name: "l/.wh.secret" });
    fixture.attack({ name: "l", type: "2", linkName: victim }, { name: "l/.wh..wh..opq" });
    for (const name of ["..", "../victim/.wh.secret", ".wh..", ".wh...", "a/.wh...", ".wh."])
      assert.notEqual(fixture.attack({ name }), undefined, name);
  });

  test("cannot follow a symlink when it replaces a directory", () => {
    const { victim } = fixture;
    fixture.attack(
      { name: "d/", type: "5" },
      { name: "d/link", type: "2", linkName: victim },
      { name: "d/link2", type: "2", linkName: `${victim}/secret` },
      { name: "d", data: "now a file" },
    );
    assert.deepEqual(fixture.tree(), { d: "f now a file" });
  });

  test("cannot loop the unpacking with symlinks", () => {
    const failure = fixture.attack(
      { name: "a", type: "2", linkName: "b" },
      { name: "b", type: "2", linkName: "a" },
      { name: "a/x", data: "x" },
    );
    assert.match(failure?.message ?? "", /ELOOP|not a directory/);
  });

  test("can nest directories as deep as a path goes, and have them replaced", () => {
    const deep = "d/".repeat(1500);
    const failure = fixture.attack(
      { name: "x", pax: { path: `${deep}f` }, data: "x" },
      { name: "d", data: "flat" },
    );
    assert.equal(failure, undefined);
    assert.deepEqual(fixture.tree(), { d: "f flat" });
  });
});
