// CreateContainer from a checkpoint: the writable layer gets what the container had changed, and the spec is made of the
// request as for any other container. Its processes come with StartContainer.
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { errnoOf, invalidArgument, wrapError } from "../base/errors.ts";
import { close, O_DIRECTORY, O_RDONLY, openat } from "../linux/files.ts";
import { checkRestorable } from "../oci/runtime/restore-plan.ts";
import { deleteFrom, unpackInto } from "../snapshot/apply-difference.ts";
import { adjustLaunch } from "./adjust-launch.ts";
import { needsRawEnv, writeBundle } from "./bundle.ts";
import { layout, parseDeletedFiles } from "./checkpoint-layout.ts";
import type { RestorableContainer } from "./container-runtime.ts";
import { lateHooks } from "./oci-hooks.ts";
import {
  buildSpec,
  DisposableDescriptors,
  mountRootfs,
  prepareVolumes,
  type LaunchRequest,
} from "./prepare-launch.ts";
import { hostDevices, resolveDevices } from "./resolve-devices.ts";
import { resolveUser } from "./resolve-user.ts";

export async function prepareRestore(request: LaunchRequest): Promise<RestorableContainer> {
  const { container, image, parts } = request;
  const { id, config, imageVolumes = [] } = container.record;
  refuse(config.security.namespaces, imageVolumes.length);
  using descriptors = new DisposableDescriptors();
  const rootfs = descriptors.add(mountRootfs(request));
  await applyChanges(rootfs, join(parts.paths.containerLayerDir(id), checkpointDirectory));
  const user = resolveUser(rootfs, config.security, image.config.user);
  const devices = [...(config.security.privileged ? hostDevices() : []), ...resolveDevices(config.devices)];
  const { declared } = prepareVolumes(request, undefined, descriptors);
  const built = buildSpec(request, { user, devices, targetPid: undefined, volumes: declared });
  const { spec, env } = (await adjustLaunch(request, built)) ?? built;
  for (const warning of checkRestorable(spec)) parts.log.warn("container restore", { id, warning });
  writeBundle(id, spec, parts.paths);
  container.bundle = { spec, env };
  mkdirSync(parts.paths.containerRootfs(id), { mode: 0o700 });
  return {
    user: { uid: user.uid, gid: user.gid, supplementalGroups: user.additionalGids },
    rawEnv: needsRawEnv(env) ? env : undefined,
    hooks: lateHooks(spec),
  };
}

/** In the directory of the container's layer: images are as large as its memory was. */
export const checkpointDirectory = "checkpoint";

type Namespaces = LaunchRequest["container"]["record"]["config"]["security"]["namespaces"];

function refuse({ pid, user }: Namespaces, imageVolumes: number): void {
  if (user !== undefined && user.mode === "pod")
    throw invalidArgument("a checkpoint cannot be restored into a user namespace: criu joins none");
  if (pid === "target")
    throw invalidArgument("a checkpoint cannot be restored into another container's pid namespace");
  if (imageVolumes > 0) throw invalidArgument("config.mounts: a restored container has no image volumes");
}

async function applyChanges(rootfs: number, directory: string): Promise<void> {
  const root = openat(rootfs, ".", O_RDONLY | O_DIRECTORY);
  try {
    await whereThere(layout.rootfsDifference, (name) => unpackInto(root, join(directory, name)));
    // Behind the archive, as CRI-O has them.
    await whereThere(layout.deletedFiles, (name) =>
      deleteFrom(root, parseDeletedFiles(readFileSync(join(directory, name), "utf8"))),
    );
  } finally {
    close(root);
  }
}

async function whereThere(name: string, use: (name: string) => void | Promise<void>): Promise<void> {
  try {
    await use(name);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw wrapError(name, error);
  }
}
