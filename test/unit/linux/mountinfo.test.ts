import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseMountinfo, readMountinfo } from "../../../src/linux/mountinfo.ts";

test("`parseMountinfo()` reads every field, with propagation", () => {
  const line =
    "36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 master:2 propagate_from:3 - ext3 /dev/root rw,errors=continue";
  assert.deepEqual(parseMountinfo(`${line}\n`), [
    {
      mountId: 36,
      parentId: 35,
      device: "98:0",
      root: "/mnt1",
      mountPoint: "/mnt2",
      options: ["rw", "noatime"],
      sharedGroup: 1,
      masterGroup: 2,
      propagateFromGroup: 3,
      unbindable: false,
      filesystemType: "ext3",
      source: "/dev/root",
      superOptions: ["rw", "errors=continue"],
    },
  ]);
});

test("`parseMountinfo()` takes lines without optional fields and with unbindable", () => {
  const [plain, unbindable] = parseMountinfo(
    "1 0 0:1 / / rw - tmpfs t rw\n2 1 0:2 / /x rw unbindable - tmpfs t rw\n",
  );
  assert.equal(plain?.sharedGroup, undefined);
  assert.equal(plain?.unbindable, false);
  assert.equal(unbindable?.unbindable, true);
});

test("`parseMountinfo()` undoes octal escapes and keeps UTF-8", () => {
  const [entry] = parseMountinfo(
    Buffer.from("1 0 0:1 / /a\\040b\\011c\\012d\\134e\\043/\u00fc rw - tmpfs x\\040y rw\n").toString(
      "latin1",
    ),
  );
  assert.equal(entry?.mountPoint, "/a b\tc\nd\\e#/\u00fc");
  assert.equal(entry?.source, "x y");
});

test("`parseMountinfo()` is not fooled by a mount point named `-`", () => {
  const [entry] = parseMountinfo("1 0 0:1 - - rw - tmpfs - rw\n");
  assert.equal(entry?.mountPoint, "-");
  assert.equal(entry?.filesystemType, "tmpfs");
});

test("`parseMountinfo()` never throws", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      parseMountinfo(text);
      parseMountinfo(`1 0 0:1 / /${text} rw - tmpfs t rw`);
    }),
  );
});

test("`readMountinfo()` finds the root and names the file it cannot read", () => {
  assert.ok(readMountinfo().some((entry) => entry.mountPoint === "/"));
  assert.throws(() => readMountinfo(0x7fffffff), /read \/proc\/2147483647\/mountinfo/);
});
