// The cgroup driver that the configuration names. What talks to systemd is loaded only where it is wanted.
import type { CleanupStack } from "./base/cleanup-stack.ts";
import { invalidArgument } from "./base/errors.ts";
import type { CgroupConfig } from "./config/config.ts";
import { CgroupManager } from "./linux/cgroup/cgroup-manager.ts";
import type { HelperBinary } from "./linux/helper-binary.ts";

/** The parent of the pods is taken away again at the end, where it is empty. */
export async function openCgroups(
  config: CgroupConfig,
  helper: HelperBinary,
  closing: CleanupStack,
): Promise<CgroupManager> {
  const cgroups = config.driver === "systemd" ? await openSystemd(helper, closing) : new CgroupManager();
  const parent = podParent(config, cgroups);
  closing.defer("remove empty cgroup", () => cgroups.prune(parent));
  return cgroups;
}

async function openSystemd(helper: HelperBinary, closing: CleanupStack): Promise<CgroupManager> {
  const { SystemdClient } = await import("./linux/systemd/systemd-client.ts");
  const { SystemdCgroupManager } = await import("./linux/systemd/systemd-cgroup-manager.ts");
  const { startPlaceholder } = await import("./linux/systemd/placeholder.ts");
  const client = new SystemdClient();
  closing.defer("close the connection to systemd", () => client.close());
  // A node without systemd is to say so when it starts and not with its first pod.
  await client.version();
  return new SystemdCgroupManager({ client, startPlaceholder: () => startPlaceholder(helper) });
}

/** The cgroup of pods that name no parent. Throws invalid-argument when the driver has no such. */
export function podParent({ parent, driver }: CgroupConfig, cgroups: CgroupManager): string {
  // One default for both drivers: systemd has slices where others have directories.
  if (driver === "systemd" && parent === "/cricket") return cgroups.parentPath("cricket.slice");
  if (driver === "systemd" && !parent.endsWith(".slice"))
    throw invalidArgument(
      `cgroup.parent: ${JSON.stringify(parent)} is not a slice, but cgroup.driver is systemd`,
    );
  return cgroups.parentPath(parent);
}
