// CreateContainer: intent record -> writable layer and overlay -> spec -> cgroup -> monitor and init, which runs the
// launch program up to the gate -> commit.
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { CleanupStack } from "../base/cleanup-stack.ts";
import { CricketError, failedPrecondition } from "../base/errors.ts";
import { failpoint } from "../base/failpoint.ts";
import { newId } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { SingleFlight } from "../base/single-flight.ts";
import type { Paths } from "../config/paths.ts";
import type { ImageService, ResolvedImage } from "../image/image-service.ts";
import type { CgroupManager } from "../linux/cgroup/cgroup-manager.ts";
import { memberPath } from "../linux/cgroup/cgroup-path.ts";
import type { HelperBinary } from "../linux/helper-binary.ts";
import type { Monitor } from "../linux/monitor.ts";
import { signalName, signalNumber } from "../linux/signals.ts";
import type { ProcessIdentity } from "../sandbox/sandbox-record.ts";
import type { Sandbox, SandboxStore } from "../sandbox/sandbox-store.ts";
import type { Selinux } from "../sandbox/selinux.ts";
import { parseSelinuxLabel, superPrivilegedType } from "../sandbox/selinux-label.ts";
import type { LayerStore } from "../snapshot/layer-store.ts";
import type { SecurityLabels } from "./build-spec.ts";
import { checkMounts, type HostPathLooks } from "./check-mounts.ts";
import { checkUserNamespace } from "./check-user-namespace.ts";
import type { ContainerConfig } from "./container-config.ts";
import type { LaunchAdjuster } from "./container-participant.ts";
import { containerKey, nowNs, type ContainerRecord } from "./container-record.ts";
import type { ContainerRuntimes, RestorableContainer } from "./container-runtime.ts";
import type { Container, ContainerStore } from "./container-store.ts";
import { takeCheckpoint } from "./take-checkpoint.ts";
import { resolveImageVolumes, wrapCreateError } from "./image-volumes.ts";
import type { LaunchRequest } from "./prepare-launch.ts";
import type { NodeFacts } from "./node-facts.ts";
import { relabelMounts } from "./relabel-mounts.ts";
import { releaseContainer } from "./release-container.ts";
import { watchContainer } from "./watch-container.ts";

export interface CreateParts {
  store: ContainerStore;
  sandboxes: SandboxStore;
  runtimes: ContainerRuntimes;
  images: ImageService;
  layers: LayerStore;
  cgroups: CgroupManager;
  helper: HelperBinary;
  paths: Paths;
  log: Log;
  bootId: string;
  runs: SingleFlight<Container>;
  hostPathLooks: HostPathLooks;
  facts: NodeFacts;
  selinux: Selinux;
  /** In the order in which they change a launch. */
  adjusters: readonly LaunchAdjuster[];
}

/**
 * Creates a container, or returns the one that an earlier call with the same name and attempt made in this sandbox.
 * @throws CricketError; not-found for the sandbox or image before anything is made, else all is released again first
 */
export async function createContainer(
  sandboxId: string,
  config: ContainerConfig,
  parts: CreateParts,
): Promise<Container> {
  const sandbox = parts.sandboxes.get(sandboxId);
  const key = containerKey(sandbox.id, config);
  const existing = parts.store.findByKey(key);
  if (existing !== undefined && existing.state !== "exited") return existing;
  if (existing !== undefined)
    throw new CricketError(
      "already-exists",
      `container ${existing.id} has the same name and attempt and has exited: remove it first`,
    );
  return parts.runs.run(key, () => makeContainer(sandbox, config, parts));
}

async function makeContainer(
  sandbox: Sandbox,
  config: ContainerConfig,
  parts: CreateParts,
): Promise<Container> {
  assertReady(sandbox);
  checkUserNamespace(sandbox.record.config, config);
  const cleanup = new CleanupStack();
  const id = newId();
  const checkpoint = await takeCheckpoint(id, config, parts, cleanup);
  const image =
    checkpoint?.image ?? parts.images.resolveForContainer(config.image.reference, config.image.userSpecified);
  const releases: (() => void)[] = [];
  try {
    const imageVolumes = resolveImageVolumes(config.mounts, parts.images);
    // From here on the images cannot be removed; once the record is there, the record keeps them.
    for (const { imageId } of [image, ...imageVolumes]) releases.push(parts.images.hold(imageId));
    await checkMounts(config.mounts, parts.hostPathLooks);
    const labels = await securityLabels(sandbox, config, parts);
    await relabelMounts(config.mounts, relabelAs(labels));
    const record = { ...intent(id, sandbox, { config, image }, parts), imageVolumes };
    if (checkpoint !== undefined) record.restoredFrom = checkpoint.from;
    const container = parts.store.add(record);
    cleanup.keep();
    return await populate({ container, sandbox, image, labels, parts });
  } catch (error) {
    throw wrapCreateError(`create container ${config.metadata.name}`, await cleanup.fail(error));
  } finally {
    for (const release of releases) release();
  }
}

function assertReady(sandbox: Sandbox): void {
  if (!sandbox.isReady) throw failedPrecondition(`sandbox ${sandbox.id} is not ready`);
}

function intent(
  id: string,
  sandbox: Sandbox,
  { config, image }: { config: ContainerConfig; image: ResolvedImage },
  parts: CreateParts,
): ContainerRecord {
  const { logDirectory, metadata } = sandbox.record.config;
  return {
    version: 1,
    id,
    sandboxId: sandbox.id,
    sandboxMetadata: metadata,
    runtimeHandler: sandbox.record.runtimeHandler,
    config,
    image: { id: image.imageId, ref: image.repoDigest, name: image.repoTag },
    user: { uid: 0, gid: 0, supplementalGroups: [] },
    stopSignal: stopSignal(config, image),
    resources: config.resources,
    logPath: config.logPath === "" || logDirectory === "" ? "" : join(logDirectory, config.logPath),
    cgroupPath: memberPath(sandbox.record.cgroupPath, id),
    bootId: parts.bootId,
    createdAtNs: nowNs(),
    committed: false,
  };
}

/** The CRI's signal, else the image's STOPSIGNAL, else SIGTERM. */
function stopSignal(config: ContainerConfig, image: ResolvedImage): string {
  const named = config.stopSignal ?? (image.config.stopSignal === "" ? "SIGTERM" : image.config.stopSignal);
  return signalName(signalNumber(named));
}

export async function securityLabels(
  { record }: Sandbox,
  { security }: ContainerConfig,
  { facts, selinux }: Pick<CreateParts, "facts" | "selinux">,
): Promise<SecurityLabels> {
  const apparmorProfile = await facts.apparmor.profileFor(security);
  return {
    ...(apparmorProfile === undefined ? {} : { apparmorProfile }),
    selinux: selinux.labelsOfContainer(record.selinux, security),
  };
}

// Such a container may use every file as it is.
function relabelAs({ selinux }: SecurityLabels): string {
  if (selinux === undefined || parseSelinuxLabel(selinux.process).type === superPrivilegedType) return "";
  return selinux.mount;
}

function launch(request: LaunchRequest): Promise<RestorableContainer & { monitor?: Monitor }> {
  const { container, parts } = request;
  const runtime = parts.runtimes.of(container.record);
  return container.record.restoredFrom === undefined
    ? runtime.launch(request)
    : runtime.prepareRestore(request);
}

const identityOf = ({ initPid, initStartTime }: Monitor): ProcessIdentity => ({
  pid: initPid,
  startTimeTicks: initStartTime,
});

async function populate(request: LaunchRequest): Promise<Container> {
  const { container, sandbox, parts } = request;
  const cleanup = new CleanupStack();
  cleanup.defer("delete record", () => parts.store.delete(container));
  cleanup.defer("release container", () => releaseContainer(container.record, parts));
  try {
    failpoint("create-container/intent");
    if (container.record.logPath !== "")
      mkdirSync(dirname(container.record.logPath), { recursive: true, mode: 0o755 });
    cleanup.defer("tell adjusters", () => {
      for (const adjuster of parts.adjusters) adjuster.launchFailed(container);
    });
    const { monitor, user, rawEnv, hooks } = await launch(request);
    cleanup.defer("detach monitor", () => monitor?.detach());
    failpoint("create-container/launched");
    // A stop that began meanwhile has not seen this container: it must not appear afterwards.
    assertReady(sandbox);
    parts.store.update(container, {
      committed: true,
      user,
      ...(monitor === undefined ? {} : { init: identityOf(monitor) }),
      ...(hooks === undefined ? {} : { hooks }),
      ...(rawEnv === undefined ? {} : { rawEnv }),
    });
    cleanup.keep();
    if (monitor !== undefined) watchContainer(container, monitor, parts);
    failpoint("create-container/committed");
    return container;
  } catch (error) {
    throw await cleanup.fail(error);
  }
}
