import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { ContainerDevice } from "../../../src/container/container-config.ts";
import { hostDevices, resolveDevices } from "../../../src/container/resolve-devices.ts";

let directory: string;
before(() => {
  directory = mkdtempSync(join(tmpdir(), "cricket-devices-"));
  symlinkSync("/dev/null", join(directory, "link"));
  writeFileSync(join(directory, "file"), "");
});
after(() => rmSync(directory, { recursive: true }));

const device = (changes: Partial<ContainerDevice>): ContainerDevice => ({
  containerPath: "",
  hostPath: "/dev/null",
  permissions: "rw",
  ...changes,
});

test("`resolveDevices()` finds number, mode and owner of a device", () => {
  const { mode, uid, gid } = statSync("/dev/null");
  assert.deepEqual(resolveDevices([device({ containerPath: "/dev/./nothing" })]), [
    {
      type: "c",
      hostPath: "/dev/null",
      path: "/dev/nothing",
      major: 1,
      minor: 3,
      fileMode: mode & 0o7777,
      uid,
      gid,
      permissions: "rw",
    },
  ]);
});

test("`resolveDevices()` follows links, and takes the host's path where the container's is missing", () => {
  const [found] = resolveDevices([device({ hostPath: join(directory, "link") })]);
  assert.deepEqual([found?.path, found?.major, found?.minor], [join(directory, "link"), 1, 3]);
});

const refused: [string, () => Partial<ContainerDevice>, RegExp][] = [
  [
    "a path that is not there",
    () => ({ hostPath: join(directory, "x") }),
    /^config\.devices\[0\]\.host_path .*: ENOENT$/,
  ],
  ["a regular file", () => ({ hostPath: join(directory, "file") }), /is not a device$/],
  ["a directory without devices", () => ({ hostPath: directory }), /is not a device$/],
  ["no permissions", () => ({ permissions: "" }), /^config\.devices\[0\]\.permissions is ""/],
  ["unknown permissions", () => ({ permissions: "rx" }), /permissions is "rx"/],
  ["a relative path in the container", () => ({ containerPath: "dev/x" }), /container_path is "dev\/x"/],
];
for (const [what, changes, message] of refused)
  test(`\`resolveDevices()\` refuses ${what}`, () => {
    assert.throws(() => resolveDevices([device(changes())]), { code: "invalid-argument", message });
  });

test("`hostDevices()` lists the devices of the host, without terminals and shared memory", () => {
  const paths = hostDevices().map(({ path }) => path);
  assert.ok(paths.includes("/dev/null"));
  assert.ok(!paths.some((path) => path.startsWith("/dev/pts/") || path.startsWith("/dev/shm/")));
});
