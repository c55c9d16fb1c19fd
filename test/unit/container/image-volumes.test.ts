import assert from "node:assert/strict";
import { test } from "node:test";
import { CricketError } from "../../../src/base/errors.ts";
import type { ContainerMount } from "../../../src/container/container-config.ts";
import { declaredVolumes, wrapCreateError } from "../../../src/container/image-volumes.ts";

const mounted = (containerPath: string): ContainerMount => ({
  containerPath,
  hostPath: "/x",
  readonly: false,
  recursiveReadOnly: false,
  propagation: "private",
  selinuxRelabel: false,
  uidMappings: [],
  gidMappings: [],
});

const cases: [what: string, declared: string[], mounts: string[], expected: string[]][] = [
  ["all that are declared, each once", ["/data", "/b/", "/data/."], [], ["/b", "/data"]],
  ["what lies in another one behind it", ["/a/b", "/a"], [], ["/a", "/a/b"]],
  ["none where a mount is asked for", ["/data", "/log"], ["/data/"], ["/log"]],
  ["nothing over what the runtime mounts", ["/", "/proc", "/dev/x", "/sys/fs", "/system"], [], ["/system"]],
  // CVE-2022-23648
  ["nothing above the root", ["../../etc", "/../../../var/lib"], [], ["/etc", "/var/lib"]],
];
for (const [what, declared, mounts, expected] of cases)
  test(`\`declaredVolumes()\` gives ${what}`, () => {
    assert.deepEqual(declaredVolumes(declared, mounts.map(mounted)), expected);
  });

test("`wrapCreateError()` keeps the kubelet's prefix in front, and the code", () => {
  const error = new CricketError(
    "not-found",
    "ImageVolumeMountFailed: mount /v: image x is not on this node",
  );
  const { code, message } = wrapCreateError("create container web", error);
  assert.deepEqual(
    [code, message],
    ["not-found", "ImageVolumeMountFailed: create container web: mount /v: image x is not on this node"],
  );
  assert.equal(wrapCreateError("create container web", new Error("x")).message, "create container web: x");
});
