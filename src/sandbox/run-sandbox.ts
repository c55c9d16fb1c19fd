// RunPodSandbox: intent record -> cgroups -> pause with its namespaces -> netns pin -> network -> files -> commit.
import { close } from "../linux/files.ts";
import type { HelperBinary } from "../linux/helper-binary.ts";
import { createMount, MOUNT_ATTR_RDONLY } from "../linux/mount.ts";
import { runSpawn, type SpawnedProcess } from "../linux/run-spawn.ts";
import type { CgroupJoin } from "../linux/cgroup/cgroup-join.ts";
import type { CgroupManager } from "../linux/cgroup/cgroup-manager.ts";
import { processStartTime } from "../linux/proc.ts";
import type { Paths } from "../config/paths.ts";
import { CleanupStack } from "../base/cleanup-stack.ts";
import { CricketError, invalidArgument, wrapError } from "../base/errors.ts";
import { newId } from "../base/ids.ts";
import { failpoint } from "../base/failpoint.ts";
import type { Log } from "../base/log.ts";
import type { SingleFlight } from "../base/single-flight.ts";
import type { PodNetwork } from "../network/pod-network.ts";
import { compileSandbox } from "../oci/compile-sandbox.ts";
import type { SeccompFilter } from "../oci/container-launch.ts";
import { openSync } from "node:fs";
import { pinNetns } from "./netns-pin.ts";
import { PauseProcess } from "./pause-process.ts";
import { pauseSeccompFilter, type PauseSeccomp } from "./pause-seccomp.ts";
import { releaseSandbox } from "./release-sandbox.ts";
import type { SandboxConfig } from "./sandbox-config.ts";
import {
  giveSandboxFiles,
  labelOption,
  labelSandboxFiles,
  mountShm,
  sandboxFiles,
  sandboxHostname,
  writeSandboxFiles,
} from "./sandbox-files.ts";
import { pauseCgroup, sandboxKey, type SandboxRecord } from "./sandbox-record.ts";
import { resolveSysctls, type Sysctl } from "./sandbox-sysctls.ts";
import type { SandboxParticipant } from "./sandbox-participant.ts";
import type { Sandbox, SandboxStore } from "./sandbox-store.ts";
import { podIdMaps, toHostIds } from "./user-namespace.ts";
import type { UserNamespaceSupport } from "./user-namespace-support.ts";
import type { Selinux } from "./selinux.ts";

/** The configured runtime handlers. */
export interface RuntimeHandlers {
  has(handler: string): boolean;
  hasUserNamespaces(handler: string): boolean;
}

export interface SandboxParts {
  store: SandboxStore;
  paths: Paths;
  cgroups: CgroupManager;
  network: PodNetwork;
  helper: HelperBinary;
  log: Log;
  runs: SingleFlight<Sandbox>;
  bootId: string;
  cgroupParent: string;
  allowedSysctls: readonly string[];
  shmSizeBytes: number;
  userNamespaces: UserNamespaceSupport;
  selinux: Selinux;
  seccomp: PauseSeccomp;
  runtimes: RuntimeHandlers;
  participant: SandboxParticipant;
}

/**
 * Runs a pod sandbox, or returns the one that an earlier call with the same metadata made: the kubelet retries when
 * its own deadline passes, and the retry joins the run that is under way (cri-o#7010).
 * @throws CricketError; everything that was made is released again first
 */
export async function runSandbox(
  config: SandboxConfig,
  handler: string,
  parts: SandboxParts,
): Promise<Sandbox> {
  const settings = validate(config, handler, parts);
  const key = sandboxKey(config);
  const existing = parts.store.findByKey(key);
  if (existing?.isReady === true) return existing;
  if (existing !== undefined)
    throw new CricketError(
      "already-exists",
      `sandbox ${existing.id} has the same metadata and is not ready: remove it first`,
    );
  return parts.runs.run(key, () => makeSandbox(config, handler, settings, parts));
}

/** What of the configuration is resolved before anything is made. */
interface PauseSettings {
  sysctls: Sysctl[];
  seccomp: SeccompFilter | undefined;
}

function validate(config: SandboxConfig, handler: string, parts: SandboxParts): PauseSettings {
  if (!parts.runtimes.has(handler))
    throw invalidArgument(`runtime handler ${JSON.stringify(handler)} is not configured`);
  const missing =
    podIdMaps(config.security.namespaces) === undefined ? undefined : missingFor(handler, parts);
  if (missing !== undefined)
    throw new CricketError(
      "failed-precondition",
      `config.linux.security_context.namespace_options.userns_options: ${missing}`,
    );
  return {
    sysctls: resolveSysctls(config.sysctls, config.security.namespaces, parts.allowedSysctls),
    seccomp: pauseSeccompFilter(config.security, parts.seccomp),
  };
}

/** What a pod of this handler lacks for a user namespace. */
function missingFor(handler: string, { userNamespaces, runtimes }: SandboxParts): string | undefined {
  if (!userNamespaces.supported) return userNamespaces.missing;
  if (runtimes.hasUserNamespaces(handler)) return undefined;
  return `the runtime handler ${JSON.stringify(handler)} has no user namespaces`;
}

async function makeSandbox(
  config: SandboxConfig,
  handler: string,
  settings: PauseSettings,
  parts: SandboxParts,
): Promise<Sandbox> {
  if (config.security.namespaces.network === "pod") assertNetworkReady(parts.network);
  const sandbox = parts.store.add(intent(config, handler, parts));
  const cleanup = new CleanupStack();
  cleanup.defer("delete record", () => parts.store.delete(sandbox));
  cleanup.defer("release sandbox", () => releaseSandbox(sandbox, parts));
  try {
    failpoint("run-sandbox/intent");
    const ips = await populate(sandbox, settings, parts);
    failpoint("run-sandbox/populated");
    cleanup.defer("tell participants", () => parts.participant.runFailed(sandbox));
    const asked = parts.participant.beforeRun(sandbox, ips);
    // Nothing may come between where there is nobody to ask: who joins now is told of what is committed.
    if (asked !== undefined) await asked;
    parts.store.update(sandbox, { committed: true, ips });
    failpoint("run-sandbox/committed");
    cleanup.keep();
  } catch (error) {
    const { name, namespace } = config.metadata;
    throw await cleanup.fail(wrapError(`run sandbox ${namespace}/${name}`, error));
  }
  return sandbox;
}

function assertNetworkReady(network: PodNetwork): void {
  const condition = network.condition();
  if (!condition.ready)
    throw new CricketError("unavailable", `pod network is not ready: ${condition.message}`);
}

function intent(config: SandboxConfig, handler: string, parts: SandboxParts): SandboxRecord {
  const id = newId();
  const ownsCgroup = config.cgroupParent === "";
  const taken = parts.store.all().map(({ record }) => record.selinux);
  const selinux = parts.selinux.labelsOfPod(config.security.selinux, taken);
  return {
    version: 1,
    id,
    config,
    runtimeHandler: handler,
    createdAtNs: BigInt(Date.now()) * 1_000_000n,
    bootId: parts.bootId,
    cgroupPath: ownsCgroup
      ? parts.cgroups.podPath(parts.cgroupParent, id)
      : parts.cgroups.parentPath(config.cgroupParent),
    ownsCgroup,
    committed: false,
    ips: [],
    ...(selinux === undefined ? {} : { selinux }),
  };
}

async function populate(sandbox: Sandbox, settings: PauseSettings, parts: SandboxParts): Promise<string[]> {
  const { id, config } = sandbox.record;
  const hostname = sandboxHostname(id, config);
  const spawned = await spawnPause(sandbox, hostname, settings, parts);
  let ips: string[] = [];
  try {
    adoptPause(sandbox, spawned, parts);
    const routeSocket = spawned.sockets[0];
    if (routeSocket !== undefined) ips = await attachNetwork(sandbox, routeSocket, parts);
  } finally {
    for (const socket of spawned.sockets) close(socket);
  }
  const files = sandboxFiles(parts.paths.sandboxDir(id), config);
  const label = sandbox.record.selinux?.mount;
  failpoint("run-sandbox/network-attached");
  const owner = toHostIds(podIdMaps(config.security.namespaces), { uid: 0, gid: 0 });
  if (config.security.namespaces.ipc === "pod")
    mountShm(files.shm, { sizeBytes: parts.shmSizeBytes, owner, label });
  failpoint("run-sandbox/shm-mounted");
  writeSandboxFiles(files, hostname, config, ips);
  giveSandboxFiles(files, owner);
  if (label !== undefined) labelSandboxFiles(files, label);
  return ips;
}

/** Starts pause in its namespaces and cgroup; its socket is the route socket of the new netns, if there is one. */
async function spawnPause(
  sandbox: Sandbox,
  hostname: string,
  settings: PauseSettings,
  parts: SandboxParts,
): Promise<SpawnedProcess> {
  const { record } = sandbox;
  const path = pauseCgroup(record);
  const hold = await parts.cgroups.reserve(path);
  try {
    parts.cgroups.create(record.cgroupPath);
    parts.cgroups.create(path);
    using join = parts.cgroups.joinFiles(path);
    return await launchPause(sandbox, { hostname, join, ...settings }, parts);
  } finally {
    await hold.release();
  }
}

interface PauseLaunch extends PauseSettings {
  hostname: string;
  join: CgroupJoin;
}

async function launchPause(
  { record }: Sandbox,
  { hostname, sysctls, seccomp, join }: PauseLaunch,
  parts: SandboxParts,
): Promise<SpawnedProcess> {
  const { namespaces } = record.config.security;
  const maps = podIdMaps(namespaces);
  const processLabel = parts.selinux.labelOfPause(record.selinux, record.config.security);
  using rootfs = namespaces.pid === "pod" ? pauseRootfs(record.selinux?.mount) : undefined;
  const program = compileSandbox({
    namespaces: {
      network: namespaces.network === "pod",
      ipc: namespaces.ipc === "pod",
      pid: namespaces.pid === "pod",
      uts: namespaces.network === "pod",
    },
    ...(maps === undefined ? {} : { userMaps: maps }),
    hostname,
    sysctls,
    cgroup: join,
    pause: parts.helper.pauseFd,
    ...(seccomp === undefined ? {} : { seccomp }),
    processLabel,
    ...(parts.helper.emptyNamespace === undefined ? {} : { emptyNamespace: parts.helper.emptyNamespace }),
    ...(rootfs === undefined
      ? {}
      : { rootfs: { mount: rootfs.fd, target: parts.paths.sandboxDir(record.id) } }),
  });
  failpoint("run-sandbox/cgroups-made");
  return await runSpawn(parts.helper, program);
}

/** Takes the process over before anything else can fail: from here on releasing the sandbox ends it. */
function adoptPause(sandbox: Sandbox, spawned: SpawnedProcess, parts: SandboxParts): void {
  const { record } = sandbox;
  const identity = { pid: spawned.pid, startTimeTicks: processStartTime(spawned.pid) };
  sandbox.pause = new PauseProcess(identity, spawned.pidfd, () => {
    parts.log.info("pause ended", { id: record.id });
    parts.store.pauseEnded(sandbox);
  });
  for (const warning of spawned.warnings) parts.log.debug("sandbox launch", { id: record.id, warning });
  failpoint("run-sandbox/pause-started");
  parts.store.update(sandbox, { pause: identity });
}

async function attachNetwork(sandbox: Sandbox, routeSocket: number, parts: SandboxParts): Promise<string[]> {
  const { id, config, pause } = sandbox.record;
  const netnsPath = parts.paths.netnsPath(id);
  if (pause === undefined) throw new CricketError("internal", `sandbox ${id} has no pause process`);
  pinNetns(pause.pid, netnsPath);
  failpoint("run-sandbox/netns-pinned");
  const netnsFd = openSync(netnsPath, "r");
  try {
    const { name, namespace, uid } = config.metadata;
    const attachment = await parts.network.attach({
      sandboxId: id,
      pod: { name, namespace, uid },
      netnsPath,
      netnsFd,
      routeSocket,
      portMappings: config.portMappings,
      annotations: config.annotations,
      ...(config.dns === undefined ? {} : { dns: config.dns }),
      cgroupParent: config.cgroupParent,
    });
    return attachment.ips;
  } finally {
    close(netnsFd);
  }
}

/** An empty root for a pause that containers can see as process 1: /proc/1/root must not lead to the host. */
function pauseRootfs(label: string | undefined): { fd: number } & Disposable {
  const fd = createMount(
    "tmpfs",
    [["size", "4k"], ["mode", "0555"], ...labelOption(label)],
    MOUNT_ATTR_RDONLY,
  );
  return { fd, [Symbol.dispose]: () => close(fd) };
}
