// CreateContainer for a handler with another OCI runtime: the rootfs is mounted on the host, config.json is written, and
// the container's monitor runs `create`, after which it is the parent of what that has made (pause/adopt.c).
import { rmSync } from "node:fs";
import { join } from "node:path";
import { errnoOf } from "../base/errors.ts";
import { failpoint } from "../base/failpoint.ts";
import { close, O_PATH, openat2, RESOLVE_IN_ROOT } from "../linux/files.ts";
import type { Monitor } from "../linux/monitor.ts";
import { startMonitor } from "../linux/start-monitor.ts";
import { failureOf } from "../oci/external/invoke-runtime.ts";
import {
  compileInvocation,
  createArgs,
  invocationFiles,
  type RuntimeCommand,
} from "../oci/external/runtime-command.ts";
import { hierarchyOf, type CgroupLayout } from "../linux/cgroup/layout.ts";
import { scopeFormOf } from "../linux/cgroup/cgroup-path.ts";
import { adjustLaunch } from "./adjust-launch.ts";
import { writeBundle } from "./bundle.ts";
import type { LaunchedContainer } from "./container-runtime.ts";
import { externalSpec } from "./external-spec.ts";
import { HostMounts } from "./host-mounts.ts";
import { makeVolumeDirectories, type DeclaredVolume } from "./image-volumes.ts";
import {
  buildSpec,
  DisposableDescriptors,
  mountRootfs,
  openTarget,
  prepareVolumes,
  type LaunchRequest,
  type PreparedVolumes,
} from "./prepare-launch.ts";
import { hostDevices, resolveDevices } from "./resolve-devices.ts";
import { resolveUser, type ResolvedUser } from "./resolve-user.ts";

export async function launchExternal(
  request: LaunchRequest,
  command: RuntimeCommand,
): Promise<LaunchedContainer> {
  const user = await prepareBundle(request);
  failpoint("create-container/rootfs-mounted");
  const monitor = await createUnderMonitor(request, command);
  return {
    monitor,
    user: { uid: user.uid, gid: user.gid, supplementalGroups: user.additionalGids },
    rawEnv: undefined,
    // They are in config.json, and the runtime's to run.
    hooks: undefined,
  };
}

async function prepareBundle(request: LaunchRequest): Promise<ResolvedUser> {
  const { container, image, labels, parts } = request;
  const { id, config } = container.record;
  using descriptors = new DisposableDescriptors();
  const rootfs = descriptors.add(mountRootfs(request));
  const user = resolveUser(rootfs, config.security, image.config.user);
  const target = openTarget(request);
  if (target !== undefined) descriptors.add(target.pidfd);
  const volumes = prepareVolumes(request, undefined, descriptors);
  const built = buildSpec(request, {
    user,
    devices: [...(config.security.privileged ? hostDevices() : []), ...resolveDevices(config.devices)],
    targetPid: target?.pid,
    volumes: missingVolumes(rootfs, volumes, {
      root: join(parts.paths.containerLayerDir(id), "volumes"),
      label: labels.selinux?.mount ?? "",
    }),
  });
  const { spec: adjusted, env } = (await adjustLaunch(request, built)) ?? built;
  const mounts = new HostMounts(id, parts.paths);
  const spec = externalSpec(
    { spec: adjusted, env },
    {
      rootfs: mounts.rootfs,
      volumes: new Map([...volumes.detached.keys()].map((place, index) => [place, mounts.volume(index)])),
      lowestOomScoreAdj: parts.facts.lowestOomScoreAdj,
      limitsHugepages: findsHugetlb(parts.cgroups.layout),
      ...(parts.cgroups.driver === "systemd"
        ? { cgroupsPath: scopeFormOf(container.record.cgroupPath) }
        : {}),
    },
  );
  writeBundle(id, spec, parts.paths);
  container.bundle = { spec, env };
  mounts.attach(rootfs, [...volumes.detached.values()]);
  return user;
}

function findsHugetlb(layout: CgroupLayout): boolean {
  return hierarchyOf(layout, "hugetlb")?.version === (layout.kind === "v2" ? 2 : 1);
}

/**
 * Directories for the volumes that the image declares but has nothing at. What it has there is in the container's
 * writable layer anyway; a mount would hide it.
 */
function missingVolumes(
  rootfs: number,
  { declared, directories }: PreparedVolumes,
  { root, label }: { root: string; label: string },
): DeclaredVolume[] {
  const made = makeVolumeDirectories(
    directories.filter((place) => !isInRoot(rootfs, place)),
    root,
    { uid: 0, gid: 0, label },
  );
  return [...declared.filter(({ destination }) => !isInRoot(rootfs, destination)), ...made];
}

function isInRoot(rootfs: number, path: string): boolean {
  try {
    close(openat2(rootfs, path, { flags: O_PATH, resolve: RESOLVE_IN_ROOT }));
    return true;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw error;
  }
}

async function createUnderMonitor(
  { container, parts }: LaunchRequest,
  command: RuntimeCommand,
): Promise<Monitor> {
  const { id, config, logPath, cgroupPath } = container.record;
  const files = invocationFiles(parts.paths.containerDir(id));
  const program = compileInvocation(createArgs(command, { id, files, terminal: config.tty }));
  // Made here, that the monitor can watch it; the limits are the runtime's to set.
  parts.cgroups.create(cgroupPath);
  const watched = [parts.cgroups.oomEventsFile(cgroupPath), parts.cgroups.killFile(cgroupPath)] as const;
  try {
    return await startMonitor(parts.helper, program, {
      containerDir: files.directory,
      logPath: logPath === "" ? undefined : logPath,
      stdin: config.stdin,
      stdinOnce: config.stdinOnce,
      maxLogLineBytes: parts.facts.logMaxLineBytes,
      oomEvents: watched[0],
      killCgroup: watched[1],
      adopts: { console: config.tty },
      signal: AbortSignal.timeout(command.timeoutMs),
    });
  } catch (error) {
    throw failureOf(`runtime ${command.name}: create`, command, files.log, error);
  } finally {
    for (const fd of watched) if (fd !== undefined) close(fd);
    rmSync(files.log, { force: true });
  }
}
