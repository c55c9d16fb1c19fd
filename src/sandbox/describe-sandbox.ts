// What verbose statuses show of a sandbox beyond the CRI's own fields.
import type { Paths } from "../config/paths.ts";
import type { Sandbox } from "./sandbox-store.ts";

export function describeSandbox(sandbox: Sandbox, paths: Paths): object {
  const { record } = sandbox;
  return {
    pid: sandbox.pause?.isAlive === true ? sandbox.pause.identity.pid : 0,
    cgroupPath: record.cgroupPath,
    netns: sandbox.usesHostNetwork ? "" : paths.netnsPath(record.id),
    ips: record.ips,
    runtimeHandler: record.runtimeHandler,
    runDirectory: paths.sandboxDir(record.id),
    ...(record.selinux === undefined ? {} : { selinux: record.selinux }),
    config: record.config,
  };
}
