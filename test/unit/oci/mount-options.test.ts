import assert from "node:assert/strict";
import { test } from "node:test";
import { parseMountOptions } from "../../../src/oci/mount-options.ts";

const none = {
  bind: "none",
  attributes: { set: 0, clear: 0 },
  recursive: { set: 0, clear: 0 },
  propagation: 0,
  idmap: "none",
  tmpcopyup: false,
  remount: false,
  data: [],
};
const MS_REC = 1 << 14;

const cases: [options: string[], expected: object][] = [
  [["defaults"], {}],
  [["bind"], { bind: "bind" }],
  [["rbind"], { bind: "rbind" }],
  [["ro", "nosuid", "nodev", "noexec"], { attributes: { set: 0xf, clear: 0 } }],
  [["ro", "rw"], { attributes: { set: 0, clear: 1 } }],
  // Both bits at once mean "set": the kernel clears first.
  [["rw", "ro"], { attributes: { set: 1, clear: 1 } }],
  [["noatime"], { attributes: { set: 0x10, clear: 0x70 } }],
  [["noatime", "relatime"], { attributes: { set: 0, clear: 0x70 } }],
  [["strictatime"], { attributes: { set: 0x20, clear: 0x70 } }],
  [["nosymfollow"], { attributes: { set: 0x200000, clear: 0 } }],
  [["rro"], { recursive: { set: 1, clear: 0 } }],
  [["rro", "rnosuid", "noexec"], { recursive: { set: 3, clear: 0 }, attributes: { set: 8, clear: 0 } }],
  [["rnoatime"], { recursive: { set: 0x10, clear: 0x70 } }],
  [["bind", "idmap"], { bind: "bind", idmap: "idmap" }],
  [["rbind", "idmap", "ridmap"], { bind: "rbind", idmap: "ridmap" }],
  [["tmpcopyup", "mode=700"], { tmpcopyup: true, data: [["mode", "700"]] }],
  [["remount", "ro"], { remount: true, attributes: { set: 1, clear: 0 } }],
  [["rprivate"], { propagation: (1 << 18) | MS_REC }],
  [["rshared", "slave"], { propagation: 1 << 19 }],
  [["runbindable"], { propagation: (1 << 17) | MS_REC }],
  [
    ["mode=755", "newinstance", "size=64k", "x=a=b", "empty="],
    {
      data: [
        ["mode", "755"],
        ["newinstance", true],
        ["size", "64k"],
        ["x", "a=b"],
        ["empty", ""],
      ],
    },
  ],
];
for (const [options, expected] of cases)
  test(`\`parseMountOptions()\` takes ${options.join(",")}`, () => {
    assert.deepEqual(parseMountOptions(options, "mounts[0].options"), { ...none, ...expected });
  });

for (const option of ["", "=x"])
  test(`\`parseMountOptions()\` refuses the option ${JSON.stringify(option)}`, () => {
    assert.throws(() => parseMountOptions([option], "mounts[0].options"), { code: "invalid-argument" });
  });
