// Everything a container's launch needs, gathered: rootfs, user, spec, cgroup, and the program made of them. The
// descriptors live until the monitor has its own copies.
import { mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { CleanupStack } from "../base/cleanup-stack.ts";
import { failedPrecondition, invalidArgument, wrapError } from "../base/errors.ts";
import { joinTasks, type CgroupJoin } from "../linux/cgroup/cgroup-join.ts";
import { giveCgroup } from "../linux/cgroup/cgroup-owner.ts";
import { parentOf } from "../linux/cgroup/cgroup-path.ts";
import type { CgroupResources } from "../linux/cgroup/cgroup-resources.ts";
import { close, openNamespace } from "../linux/files.ts";
import type { OnListener } from "../linux/give-listener.ts";
import type { HelperBinary } from "../linux/helper-binary.ts";
import type { LaunchProgram } from "../linux/launch-program.ts";
import { findMount, readMountinfo } from "../linux/mountinfo.ts";
import { openSameProcess } from "../linux/pidfd.ts";
import type { ResolvedImage } from "../image/image-service.ts";
import { compileContainer } from "../oci/compile-container.ts";
import { compileSeccomp } from "../oci/compile-seccomp.ts";
import type { NamespaceJoin } from "../oci/container-launch.ts";
import { cgroupViewOf } from "../oci/cgroup-view.ts";
import type { Namespace } from "../oci/linux-spec.ts";
import { prepareIntelRdt } from "../oci/runtime/intel-rdt.ts";
import { sendListener } from "../oci/seccomp-listener.ts";
import { readSeccompProfile, type SeccompProfile } from "../oci/seccomp-profile.ts";
import type { Spec } from "../oci/spec.ts";
import { cgroupOwner } from "../oci/user-namespace.ts";
import { sandboxFiles, sandboxHostname } from "../sandbox/sandbox-files.ts";
import type { PauseProcess } from "../sandbox/pause-process.ts";
import type { Sandbox } from "../sandbox/sandbox-store.ts";
import { podIdMaps, toHostIds } from "../sandbox/user-namespace.ts";
import { prepareContainerLayer } from "../snapshot/container-layer.ts";
import { createOverlay } from "../snapshot/overlay.ts";
import type { GrantedDevice } from "./build-devices.ts";
import { adjustLaunch } from "./adjust-launch.ts";
import { namespaceJoins } from "./build-namespaces.ts";
import { buildContainerSpec, type ContainerSpec, type SecurityLabels } from "./build-spec.ts";
import { needsRawEnv, writeBundle } from "./bundle.ts";
import type { ContainerConfig } from "./container-config.ts";
import type { ContainerUser } from "./container-record.ts";
import type { Container } from "./container-store.ts";
import type { CreateParts } from "./create-container.ts";
import {
  declaredVolumes,
  type DeclaredVolume,
  makeVolumeDirectories,
  mountImageVolumes,
} from "./image-volumes.ts";
import { lateHooks, type LateHooks } from "./oci-hooks.ts";
import type { NodeFacts } from "./node-facts.ts";
import { hostDevices, resolveDevices } from "./resolve-devices.ts";
import { resolveUser, type ResolvedUser } from "./resolve-user.ts";

export interface LaunchRequest {
  container: Container;
  sandbox: Sandbox;
  image: ResolvedImage;
  labels: SecurityLabels;
  parts: CreateParts;
}

export interface PreparedLaunch extends Disposable {
  program: LaunchProgram;
  user: ContainerUser;
  rawEnv: Uint8Array[] | undefined;
  hooks: LateHooks | undefined;
  oomEvents: number | undefined;
  oomParentEvents: number | undefined;
  killCgroup: number | undefined;
  onListener: OnListener;
}

/** SIGKILL: a container never runs on without the monitor that holds its output and exit status. */
const parentDeathSignal = 9;

export async function prepareLaunch(request: LaunchRequest): Promise<PreparedLaunch> {
  const descriptors = new DisposableDescriptors();
  try {
    const prepared = await prepare(request, descriptors);
    return { ...prepared, [Symbol.dispose]: () => descriptors[Symbol.dispose]() };
  } catch (error) {
    descriptors[Symbol.dispose]();
    throw error;
  }
}

type Prepared = Omit<PreparedLaunch, typeof Symbol.dispose>;

async function prepare(request: LaunchRequest, descriptors: DisposableDescriptors): Promise<Prepared> {
  const { container, image, parts } = request;
  const { id, config } = container.record;
  const userNamespace = openUserNamespace(request, descriptors);
  const rootfs = descriptors.add(mountRootfs(request, userNamespace));
  const user = resolveUser(rootfs, config.security, image.config.user);
  const target = openTarget(request);
  if (target !== undefined) descriptors.add(target.pidfd);
  const devices = [...(config.security.privileged ? hostDevices() : []), ...resolveDevices(config.devices)];
  const volumes = prepareVolumes(request, userNamespace, descriptors);
  const built = buildSpec(request, {
    user,
    devices,
    targetPid: target?.pid,
    volumes: volumes.declared,
  });
  const adjusted = await adjustLaunch(request, built);
  const { spec, env } = adjusted ?? built;
  writeBundle(id, spec, parts.paths);
  container.bundle = { spec, env };
  const cgroup = await prepareCgroup(container, adjusted ?? built, parts, descriptors);
  const seccomp = spec.linux?.seccomp === undefined ? {} : { seccomp: compileSeccomp(spec.linux.seccomp) };
  const program = compileContainer({
    id,
    spec,
    env,
    rootfs: { mount: rootfs, ...rootfsPlace(id, spec, parts) },
    join: joinsOf(spec, pauseOf(request.sandbox), target, descriptors),
    ...(userNamespace === undefined ? {} : { userNamespace }),
    detached: volumes.detached,
    copyUp: new Set(volumes.declared.map(({ destination }) => destination)),
    directories: volumes.directories,
    deviceNodes: deviceNodes([...devices, ...(adjusted?.devices ?? [])]),
    cgroup: cgroup.join,
    cgroupView: cgroupViewOf(container.record.cgroupPath, parts.cgroups.layout),
    ...seccomp,
    boundingCapabilities: parts.facts.host.boundingCapabilities,
    parentDeathSignal,
    ...beginning(parts.helper),
  });
  return {
    program,
    onListener(listener, pid) {
      const { ociVersion, annotations = {} } = spec;
      const bundle = parts.paths.containerDir(id);
      const state = { ociVersion, id, status: "creating" as const, pid, bundle, annotations };
      sendListener(spec.linux?.seccomp, state, listener, pid);
    },
    user: { uid: user.uid, gid: user.gid, supplementalGroups: user.additionalGids },
    rawEnv: needsRawEnv(env) ? env : undefined,
    hooks: lateHooks(spec),
    oomEvents: cgroup.oomEvents,
    oomParentEvents: cgroup.oomParentEvents,
    killCgroup: cgroup.join.killFile,
  };
}

/** Fewer mounts to copy than a node has. */
function beginning({ emptyNamespace }: HelperBinary): { emptyNamespace?: number } {
  return emptyNamespace === undefined ? {} : { emptyNamespace };
}

/** Where the host has them, by their paths inside: a user namespace cannot make nodes and gets the host's. */
function deviceNodes(devices: readonly GrantedDevice[]): Map<string, string> {
  return new Map(devices.map(({ path, hostPath = path }) => [path, hostPath]));
}

interface PreparedCgroup {
  join: CgroupJoin;
  oomEvents: number | undefined;
  oomParentEvents: number | undefined;
}

/** What the container's cgroup is made with. */
export function cgroupLimits({ record }: Container, { facts }: Pick<CreateParts, "facts">): CgroupResources {
  const { resources } = record.config;
  const pidsLimit = BigInt(facts.host.pidsLimit);
  return { ...resources, pidsLimit, unified: withOomGroup(resources.unified, facts) };
}

/** The container's cgroup with its limits, and its groups of resctrl; init enters them by itself. */
export async function prepareCgroup(
  container: Container,
  { spec, limits }: { spec: Spec; limits?: CgroupResources },
  parts: CreateParts,
  descriptors: Pick<DisposableDescriptors, "add" | "use">,
): Promise<PreparedCgroup> {
  const { cgroupPath } = container.record;
  const { cgroups, facts } = parts;
  const asked = limits ?? cgroupLimits(container, parts);
  cgroups.create(cgroupPath, { ...asked, unified: withOomGroup(asked.unified ?? {}, facts) });
  cgroups.setDevices(cgroupPath, spec.linux?.resources?.devices ?? []);
  const owner = cgroupOwner(spec);
  if (owner !== undefined) giveCgroup(cgroups.layout, cgroupPath, owner);
  const rdtTasks = await makeRdtGroups(container.id, spec, facts);
  const join = descriptors.use(joinTasks(cgroups.joinFiles(cgroupPath), rdtTasks));
  const oomEvents = cgroups.oomEventsFile(cgroupPath);
  if (oomEvents !== undefined) descriptors.add(oomEvents);
  // systemd takes an empty scope away with its counters; those of the slice stay.
  const oomParentEvents =
    cgroups.driver === "systemd" ? cgroups.oomEventsFile(parentOf(cgroupPath)) : undefined;
  if (oomParentEvents !== undefined) descriptors.add(oomParentEvents);
  return { join, oomEvents, oomParentEvents };
}

/** What is made for the container alone goes when it is released, a class that others may be in stays. */
async function makeRdtGroups(id: string, { linux }: Spec, { resctrl }: NodeFacts): Promise<string[]> {
  if (linux?.intelRdt === undefined) return [];
  const undo = new CleanupStack();
  try {
    return prepareIntelRdt(id, linux.intelRdt, undo, resctrl);
  } catch (error) {
    throw await undo.fail(error);
  }
}

function withOomGroup(
  unified: Readonly<Record<string, string>>,
  { host, oomGroup }: NodeFacts,
): Record<string, string> {
  const isDefault = oomGroup && host.cgroupVersion === 2;
  return { ...(isDefault ? { "memory.oom.group": "1" } : {}), ...unified };
}

function pauseOf({ id, pause }: Sandbox): PauseProcess {
  if (pause === undefined) throw failedPrecondition(`sandbox ${id} is not ready`);
  return pause;
}

/** The pod's namespaces and the target's, and those of other paths: adjustments can bring them. */
function joinsOf(
  spec: Spec,
  pause: PauseProcess,
  target: { pid: number; pidfd: number } | undefined,
  descriptors: DisposableDescriptors,
): NamespaceJoin[] {
  const isPods = ({ path }: Namespace): boolean =>
    [pause.identity.pid, target?.pid].some((pid) => path?.startsWith(`/proc/${pid}/ns/`));
  const { namespaces = [] } = spec.linux ?? {};
  const known = { ...spec, linux: { ...spec.linux, namespaces: namespaces.filter(isPods) } };
  const foreign = namespaces.flatMap(({ type, path }) => {
    if (path === undefined || isPods({ type, path })) return [];
    try {
      return { fd: descriptors.add(openSync(path, "r")), types: [type] };
    } catch (error) {
      throw wrapError(`open ${type} namespace ${path}`, error);
    }
  });
  return [...namespaceJoins(known, pause.pidfd, target?.pidfd), ...foreign];
}

/** The overlay of the image's layers and the container's own, as a detached mount: the host never sees it. */
export function mountRootfs(
  { container, image, labels, parts }: LaunchRequest,
  userNamespace?: number,
): number {
  const { id, config } = container.record;
  const maps = podIdMaps(config.security.namespaces);
  const lowers = image.chainIds.map((chainId) => parts.layers.path(chainId));
  const { upper, work } = prepareContainerLayer(parts.paths.containerLayersRoot, id, lowers.at(-1), (owner) =>
    toHostIds(maps, owner),
  );
  return createOverlay({
    lowers,
    upper,
    work,
    label: labels.selinux?.mount ?? "",
    scratchDir: parts.paths.scratchDir,
    ...(userNamespace === undefined ? {} : { idmap: { userNamespace } }),
  });
}

/** The pod's, held by pause: should that be gone, joining it fails. */
function openUserNamespace(
  { container, sandbox }: LaunchRequest,
  descriptors: DisposableDescriptors,
): number | undefined {
  if (podIdMaps(container.record.config.security.namespaces) === undefined) return undefined;
  return descriptors.add(openNamespace(pauseOf(sandbox).identity.pid, "user"));
}

export interface PreparedVolumes {
  detached: Map<string, number>;
  declared: DeclaredVolume[];
  directories: string[];
}

export function prepareVolumes(
  { container, image, labels, parts }: LaunchRequest,
  userNamespace: number | undefined,
  descriptors: DisposableDescriptors,
): PreparedVolumes {
  const { id, config, imageVolumes = [] } = container.record;
  const { images, layers, facts, paths } = parts;
  const label = labels.selinux?.mount ?? "";
  const { scratchDir } = paths;
  const volumeParts = { images, layers, userNamespace, label, scratchDir };
  const detached = mountImageVolumes(imageVolumes, config.mounts, volumeParts, (fd) => descriptors.add(fd));
  const places = facts.imageVolumes === "ignore" ? [] : declaredVolumes(image.config.volumes, config.mounts);
  if (facts.imageVolumes !== "bind") return { detached, declared: [], directories: places };
  const owner = toHostIds(podIdMaps(config.security.namespaces), { uid: 0, gid: 0 });
  const root = join(paths.containerLayerDir(id), "volumes");
  return { detached, declared: makeVolumeDirectories(places, root, { ...owner, label }), directories: [] };
}

interface Resolved {
  volumes: readonly DeclaredVolume[];
  user: ResolvedUser;
  devices: readonly GrantedDevice[];
  targetPid: number | undefined;
}

export function buildSpec(
  { container, sandbox, image, labels, parts }: LaunchRequest,
  { user, devices, targetPid, volumes }: Resolved,
): ContainerSpec {
  const { id, config, cgroupPath } = container.record;
  const sandboxConfig = sandbox.record.config;
  const seccompProfile = seccompProfileOf(config, parts);
  return buildContainerSpec({
    id,
    config,
    image: image.config,
    user,
    sandbox: {
      id: sandbox.id,
      pausePid: pauseOf(sandbox).identity.pid,
      ...(targetPid === undefined ? {} : { targetPid }),
      hostname: sandboxHostname(sandbox.id, sandboxConfig),
      files: sandboxFiles(parts.paths.sandboxDir(sandbox.id), sandboxConfig),
      privileged: sandboxConfig.security.privileged,
    },
    host: parts.facts.host,
    rootfsPath: parts.paths.containerRootfs(id),
    cgroupPath,
    labels,
    devices,
    declaredVolumes: volumes,
    ...(seccompProfile === undefined ? {} : { seccompProfile }),
  });
}

function seccompProfileOf(config: ContainerConfig, parts: CreateParts): SeccompProfile | undefined {
  const { seccomp, privileged } = config.security;
  if (privileged || seccomp === undefined || seccomp.type === "unconfined") return undefined;
  return seccomp.type === "localhost" ? readSeccompProfile(seccomp.ref) : parts.facts.seccompProfile;
}

/** The container whose pid namespace is joined: ephemeral containers look at another one's processes. */
export function openTarget({
  container,
  sandbox,
  parts,
}: LaunchRequest): { pid: number; pidfd: number } | undefined {
  const { pid, targetId } = container.record.config.security.namespaces;
  if (pid !== "target") return undefined;
  const target = parts.store.find(targetId);
  if (target === undefined || target.record.sandboxId !== sandbox.id || target.state !== "running")
    throw invalidArgument(
      `config.linux.security_context.namespace_options.target_id: ${targetId} is no running container of the sandbox`,
    );
  const { init } = target.record;
  const pidfd = init === undefined ? undefined : openSameProcess(init.pid, init.startTimeTicks);
  if (init === undefined || pidfd === undefined)
    throw failedPrecondition(`container ${target.id} has no process any more`);
  return { pid: init.pid, pidfd };
}

function rootfsPlace(
  id: string,
  { mounts = [] }: Spec,
  parts: CreateParts,
): { target: string; parentMount?: string } {
  const target = parts.paths.containerRootfs(id);
  mkdirSync(target, { mode: 0o700 });
  if (!mounts.some(({ options }) => options?.some((option) => /^r?shared$/.test(option)))) return { target };
  const parentMount = findMount(readMountinfo("self"), target)?.mountPoint;
  return parentMount === undefined ? { target } : { target, parentMount };
}

/** Descriptors that are closed together. */
export class DisposableDescriptors implements Disposable {
  readonly #items: Disposable[] = [];

  add(fd: number): number {
    this.#items.push({ [Symbol.dispose]: () => close(fd) });
    return fd;
  }

  use<T extends Disposable>(item: T): T {
    this.#items.push(item);
    return item;
  }

  [Symbol.dispose](): void {
    for (const item of this.#items.splice(0).reverse()) item[Symbol.dispose]();
  }
}
