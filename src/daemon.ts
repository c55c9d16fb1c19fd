// The composition root: builds all parts in order, recovers what an earlier daemon left, listens; closes in reverse.
import { chmodSync, mkdirSync } from "node:fs";
import { CleanupStack } from "./base/cleanup-stack.ts";
import { invalidArgument, messageOf } from "./base/errors.ts";
import { StreamingServer, type StreamingOptions } from "./streaming/streaming-server.ts";
import { packageVersion } from "./cli/package-version.ts";
import { KeyedLock } from "./base/keyed-lock.ts";
import { Log } from "./base/log.ts";
import { SingleFlight } from "./base/single-flight.ts";
import type { Config } from "./config/config.ts";
import { loadConfig } from "./config/load-config.ts";
import { derivePaths, type Paths } from "./config/paths.ts";
import { configuredResctrl, readNodeFacts, warmSeccomp } from "./container/node-facts.ts";
import { recoverContainers } from "./container/recover-containers.ts";
import { serveCri } from "./cri/serve-cri.ts";
import { ImageService } from "./image/image-service.ts";
import { lockFile } from "./linux/file-lock.ts";
import { makeEmptyNamespace } from "./linux/empty-namespace.ts";
import { HelperBinary } from "./linux/helper-binary.ts";
import { becomeSubreaper, OrphanReaper } from "./linux/reap.ts";
import { bootId } from "./linux/proc.ts";
import { releaseMemoryAtRest } from "./linux/memory-rest.ts";
import { mapLargePieces } from "./linux/release-memory.ts";
import { notifySupervisor, watchdogIntervalMs } from "./linux/sd-notify.ts";
import { keepYoungHeapSmall } from "./linux/young-heap.ts";
import { selectNetwork } from "./network/select-network.ts";
import { liveAttachments, recoverSandboxes } from "./sandbox/recover-sandboxes.ts";
import { openStores } from "./open-stores.ts";
import { Selinux } from "./sandbox/selinux.ts";
import { probeUserNamespaces } from "./sandbox/user-namespace-support.ts";
import { nodeStats } from "./node-stats.ts";
import { openCgroups, podParent } from "./open-cgroups.ts";
import { runtimeHandlers } from "./runtime-handlers.ts";
import { LayerUsage } from "./snapshot/layer-usage.ts";
import { openScratchDirectory } from "./snapshot/scratch-directory.ts";
import { openLayerStore } from "./snapshot/open-layer-store.ts";
import { reloadConfig } from "./reload-config.ts";
import { streamingSessions, useCases, type DaemonParts } from "./use-cases.ts";

const reapIntervalMs = 2_000;

/** Runs the daemon until SIGTERM or SIGINT; returns the exit status. Containers go on without it. */
export async function runDaemon(argv: readonly string[]): Promise<number> {
  keepYoungHeapSmall();
  mapLargePieces();
  const request = { argv, env: process.env };
  const { config, files } = loadConfig(request);
  // What is started here inherits it: no pod may keep the filesystem busy that somebody happened to be in.
  process.chdir("/");
  const log = new Log(config.log);
  const closing = new CleanupStack();
  // From the beginning: without a handler the signal ends the process.
  let reload = (): void => {};
  process.on("SIGHUP", () => reload());
  try {
    const parts = await open(config, log, closing);
    reload = () => reloadConfig(request, parts);
    await recover(parts);
    await parts.nri.open();
    warmSeccomp(parts.facts);
    await parts.facts.apparmor.warm(log);
    const streaming = await StreamingServer.listen(streamingOptions(config), streamingSessions(parts), log);
    closing.defer("close streaming server", () => streaming.close());
    const server = await serveCri(useCases(parts, streaming), { socketPath: config.socket, log });
    closing.defer("close server", () => server.close());
    closing.defer("end event streams", () => parts.events.close());
    const stopReleasing = releaseMemoryAtRest((error) =>
      log.debug("memory not released", { error: messageOf(error) }),
    );
    closing.defer("stop releasing memory", stopReleasing);
    parts.helper.keepSpare();
    log.info("listening", { socket: config.socket, config: files.join(",") });
    notifySupervisor("READY=1");
    closing.defer("stop the watchdog", keepWatchdogQuiet(log));
    const signal = await stopSignal();
    log.info("stopping", { signal });
    notifySupervisor("STOPPING=1");
    return 0;
  } finally {
    for (const failure of await closing.unwind()) log.warn("not closed", { error: messageOf(failure) });
  }
}

async function open(config: Config, log: Log, closing: CleanupStack): Promise<DaemonParts> {
  const paths = derivePaths(config);
  makeRoots(paths);
  const lock = lockFile(paths.daemonLock);
  closing.defer("release lock", () => lock.release());
  openScratchDirectory(paths.scratchDir);
  // A sandbox's pause is the child of a helper that goes at once: as subreaper the daemon inherits and reaps it.
  becomeSubreaper();
  const helper = HelperBinary.load(config.helperDir);
  const reaper = new OrphanReaper();
  const reaping = setInterval(() => reaper.sweep(), reapIntervalMs);
  closing.defer("stop reaping", () => clearInterval(reaping));
  closing.defer("close helper", () => helper.close());
  await beginInEmptyNamespace(helper, paths.scratchDir, log);
  const selinux = new Selinux(config.security);
  selinux.labelPauseProgram(helper.pauseFd);
  const layers = await openLayerStore({ root: paths.layersRoot, log });
  closing.defer("close layers", () => layers.close());
  const network = selectNetwork(
    { ...config.network, stateDir: paths.networkRoot, cniStateDir: paths.cniRoot },
    log,
  );
  closing.defer("close network", () => network.close());
  const layerUsage = new LayerUsage(paths.containerLayersRoot);
  const images = await openImages(config, paths, { layers, layerUsage, log });
  const cgroups = await openCgroups(config.cgroup, helper, closing);
  const userNamespaces = await probeUserNamespaces(helper, paths.layersRoot);
  const runtimes = runtimeHandlers(config.runtimes, userNamespaces.supported, {
    cgroups,
    helper,
    paths,
    log,
    resctrl: configuredResctrl(config.rdt),
  });
  const stores = openStores({ config, log, paths, runtimes, cgroups });
  const { sandboxes, containers, nri } = stores;
  closing.defer("close NRI", () => nri.close());
  return {
    config,
    version: packageVersion(),
    log,
    paths,
    helper,
    layers,
    layerUsage,
    images,
    network,
    cgroups,
    selinux,
    ...stores,
    facts: readNodeFacts(cgroups.layout, config.container, config.security, config.rdt),
    userNamespaces,
    stats: nodeStats({ cgroups, layerUsage, sandboxes, containers, network, paths }, config.stats),
    runtimes,
    sandboxRuns: new SingleFlight(),
    containerRuns: new SingleFlight(),
    sandboxLocks: new KeyedLock(),
    bootId: bootId(),
  };
}

/** Without one launches take longer, the longer the more mounts the host has. */
async function beginInEmptyNamespace(helper: HelperBinary, scratchDir: string, log: Log): Promise<void> {
  try {
    helper.beginIn(await makeEmptyNamespace(helper, scratchDir));
  } catch (error) {
    log.info("launches copy the host's mounts", { error: messageOf(error) });
  }
}

function openImages(
  { image }: Config,
  paths: Paths,
  { layers, layerUsage, log }: Pick<DaemonParts, "layers" | "layerUsage" | "log">,
): Promise<ImageService> {
  return ImageService.open({
    ...image,
    layers,
    log,
    imagesRoot: paths.imagesRoot,
    blobsRoot: paths.blobsRoot,
    layersRoot: paths.layersRoot,
    containerLayersRoot: paths.containerLayersRoot,
    containerUsage: () => layerUsage.total(),
  });
}

/** Nobody but root looks into the roots (CVE-2024-25621): the modes are set also where the directories exist. */
function makeRoots(paths: Paths): void {
  for (const root of [paths.stateRoot, paths.runRoot]) {
    mkdirSync(root, { recursive: true, mode: 0o711 });
    chmodSync(root, 0o711);
  }
}

/** Containers first: sandboxes that are unwound may still hold some of them. */
async function recover(parts: DaemonParts): Promise<void> {
  await recoverContainers({ ...parts, store: parts.containers });
  const cgroupParent = podParent(parts.config.cgroup, parts.cgroups);
  await recoverSandboxes({ ...parts, store: parts.sandboxes, cgroupParent });
  await parts.network.recover(liveAttachments(parts.sandboxes, parts));
}

function streamingOptions({ streaming }: Config): StreamingOptions {
  const { tlsCert, tlsKey, ...options } = streaming;
  if (tlsCert === "" && tlsKey === "") return options;
  if (tlsCert === "" || tlsKey === "")
    throw invalidArgument("streaming.tls_cert and streaming.tls_key: one without the other");
  return { ...options, tls: { certFile: tlsCert, keyFile: tlsKey } };
}

/** An event loop that hangs sends nothing, and systemd starts the daemon anew: its containers do not notice. */
function keepWatchdogQuiet(log: Log): () => void {
  const intervalMs = watchdogIntervalMs(process.env, process.pid);
  if (intervalMs === undefined) return () => {};
  const timer = setInterval(() => {
    try {
      notifySupervisor("WATCHDOG=1");
    } catch (error) {
      log.warn("watchdog", { error: messageOf(error) });
    }
  }, intervalMs);
  return () => clearInterval(timer);
}

function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    process.once("SIGTERM", resolve);
    process.once("SIGINT", resolve);
  });
}
