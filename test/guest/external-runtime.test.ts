// Runtime handlers on cgroup v2 alone: crun refuses machines with v1 controllers.
import { testExternalRuntime } from "../support/external-runtime-tests.ts";
import { requires } from "../support/requires.ts";

testExternalRuntime(
  { handler: "crun", path: "/usr/bin/crun", recursiveReadOnlyMounts: false },
  requires("root", "cgroup-v2", "overlay", "package:busybox-static", "package:crun"),
);
