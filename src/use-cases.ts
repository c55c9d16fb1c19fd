// The use cases of all folders, gathered into the shapes the API edge asks for (cri/services.ts).
import type { KeyedLock } from "./base/keyed-lock.ts";
import type { Log } from "./base/log.ts";
import { SingleFlight } from "./base/single-flight.ts";
import type { Config } from "./config/config.ts";
import { describeConfig } from "./config/load-config.ts";
import type { Paths } from "./config/paths.ts";
import type { ContainerRuntimes } from "./container/container-runtime.ts";
import type { Container, ContainerStore } from "./container/container-store.ts";
import {
  assertCanAttach,
  assertCanStartAttached,
  attachContainer,
  startAttached,
} from "./container/attach.ts";
import { checkpointContainer } from "./container/checkpoint-container.ts";
import { createContainer, type CreateParts } from "./container/create-container.ts";
import { describeContainer, explainContainer, liveResources } from "./container/describe-container.ts";
import { execStream } from "./container/exec-stream.ts";
import { execSync } from "./container/exec-sync.ts";
import { podContainers, removeContainer, type RemoveParts } from "./container/remove-container.ts";
import type { NodeFacts } from "./container/node-facts.ts";
import { assertCanExec } from "./container/prepare-exec.ts";
import { reopenLog } from "./container/reopen-log.ts";
import { startContainer, type StartParts } from "./container/start-container.ts";
import { stopContainer } from "./container/stop-container.ts";
import { updateResources } from "./container/update-resources.ts";
import { waitContainer } from "./container/wait-container.ts";
import type {
  ContainerUseCases,
  ImageUseCases,
  NodeUseCases,
  SandboxUseCases,
  StatsUseCases,
  StreamChoice,
  StreamingUseCases,
  UseCases,
} from "./cri/services.ts";
import type { LifecycleEvents } from "./events/lifecycle-events.ts";
import type { ImageService } from "./image/image-service.ts";
import type { CgroupManager } from "./linux/cgroup/cgroup-manager.ts";
import { podParent } from "./open-cgroups.ts";
import type { HelperBinary } from "./linux/helper-binary.ts";
import type { PodNetwork } from "./network/pod-network.ts";
import { describeSandbox } from "./sandbox/describe-sandbox.ts";
import { assertCanForward, dialSandbox } from "./sandbox/port-forward.ts";
import type { PauseSeccomp } from "./sandbox/pause-seccomp.ts";
import { runSandbox } from "./sandbox/run-sandbox.ts";
import type { UserNamespaceSupport } from "./sandbox/user-namespace-support.ts";
import type { Selinux } from "./sandbox/selinux.ts";
import type { Sandbox, SandboxStore } from "./sandbox/sandbox-store.ts";
import { updateSandboxResources } from "./sandbox/update-sandbox-resources.ts";
import { removeSandbox, stopSandbox } from "./sandbox/stop-sandbox.ts";
import type { Cdi } from "./plugins/cdi/cdi.ts";
import type { ResourceClasses } from "./plugins/classes/resource-classes.ts";
import type { Nri } from "./plugins/nri/nri.ts";
import type { SessionRequest, Sessions } from "./streaming/serve-session.ts";
import type { StreamingServer } from "./streaming/streaming-server.ts";
import type { LayerUsage } from "./snapshot/layer-usage.ts";
import type { LayerStore } from "./snapshot/layer-store.ts";

export interface DaemonParts {
  config: Config;
  /** Of the running program, from package.json. */
  version: string;
  log: Log;
  paths: Paths;
  helper: HelperBinary;
  layers: LayerStore;
  layerUsage: LayerUsage;
  images: ImageService;
  network: PodNetwork;
  cgroups: CgroupManager;
  sandboxes: SandboxStore;
  containers: ContainerStore;
  stats: StatsUseCases;
  events: LifecycleEvents;
  facts: NodeFacts;
  userNamespaces: UserNamespaceSupport;
  selinux: Selinux;
  runtimes: ContainerRuntimes;
  sandboxRuns: SingleFlight<Sandbox>;
  containerRuns: SingleFlight<Container>;
  sandboxLocks: KeyedLock;
  containerLocks: KeyedLock;
  bootId: string;
  nri: Nri;
  cdi: Cdi;
  classes: ResourceClasses;
}

export function useCases(parts: DaemonParts, streaming: StreamingServer): UseCases {
  return {
    sandboxes: sandboxUseCases(parts),
    containers: containerUseCases(parts),
    images: imageUseCases(parts),
    stats: parts.stats,
    streaming: streamingUseCases(parts, streaming),
    events: parts.events,
    node: nodeUseCases(parts),
  };
}

export function removeParts(parts: DaemonParts): RemoveParts {
  return {
    store: parts.containers,
    cgroups: parts.cgroups,
    paths: parts.paths,
    locks: parts.containerLocks,
    layerUsage: parts.layerUsage,
    runtimes: parts.runtimes,
  };
}

function pauseSeccomp({ host, seccompProfile }: NodeFacts): PauseSeccomp {
  const { architecture, kernelVersion } = host;
  return { runtimeDefault: seccompProfile, architecture, kernelVersion };
}

function sandboxUseCases(parts: DaemonParts): SandboxUseCases {
  const { paths, cgroups, network, helper, log, bootId, config } = parts;
  const run = {
    store: parts.sandboxes,
    paths,
    cgroups,
    network,
    helper,
    log,
    bootId,
    runs: parts.sandboxRuns,
    cgroupParent: podParent(config.cgroup, cgroups),
    allowedSysctls: config.sandbox.allowedSysctls,
    shmSizeBytes: config.sandbox.shmSizeBytes,
    userNamespaces: parts.userNamespaces,
    selinux: parts.selinux,
    seccomp: pauseSeccomp(parts.facts),
    participant: parts.nri,
    runtimes: parts.runtimes,
  };
  const containers = podContainers(removeParts(parts));
  const stop = {
    store: parts.sandboxes,
    locks: parts.sandboxLocks,
    paths,
    cgroups,
    network,
    containers,
    participant: parts.nri,
  };
  return {
    run: (sandboxConfig, handler) => runSandbox(sandboxConfig, handler, run),
    stop: (id) => stopSandbox(id, stop),
    remove: (id) => removeSandbox(id, stop),
    get: (id) => parts.sandboxes.get(id),
    list: () => parts.sandboxes.list(),
    updateResources: (id, change) => updateSandboxResources(id, change, stop),
    describe: (id) => Promise.resolve(describeSandbox(parts.sandboxes.get(id), paths)),
  };
}

function containerUseCases(parts: DaemonParts): ContainerUseCases {
  const { cgroups, helper, paths, log, images, layers, runtimes } = parts;
  const store = parts.containers;
  const locks = parts.containerLocks;
  const create = createParts(parts);
  const participant = parts.nri;
  const start = startParts(parts);
  return {
    create: (sandboxId, config) => createContainer(sandboxId, config, create),
    start: (id) => startContainer(id, start),
    stop: (id, timeoutMs) => stopContainer(id, timeoutMs, { store, runtimes }),
    remove: (id) => removeContainer(id, removeParts(parts)),
    get: (id) => store.get(id),
    list: () => store.list(),
    resources: (id) => liveResources(store.get(id), cgroups),
    describe: (id) => Promise.resolve(describeContainer(store.get(id), paths)),
    updateResources: (id, resources) =>
      updateResources(id, resources, { store, runtimes, locks, cgroups, log, participant }),
    reopenLog: (id) => reopenLog(id, store),
    execSync: (request) => execSync(request, { store, runtimes, cgroups, helper, paths, facts: parts.facts }),
    wait: (id, signal) => waitContainer(id, signal, store),
    checkpoint: (request) =>
      checkpointContainer(request, { store, runtimes, locks, helper, paths, images, layers }),
    explain: (id) => Promise.resolve(explainContainer(store.get(id), runtimes)),
  };
}

function createParts(parts: DaemonParts): CreateParts {
  const { sandboxes, images, layers, cgroups, helper, paths, log, bootId, facts, selinux, runtimes } = parts;
  const shared = { sandboxes, images, layers, cgroups, helper, paths, log, bootId, facts, selinux, runtimes };
  // Plugins see what the devices and classes bring.
  const adjusters = [parts.cdi, parts.classes, parts.nri];
  return {
    ...shared,
    store: parts.containers,
    runs: parts.containerRuns,
    hostPathLooks: new SingleFlight<string>(),
    adjusters,
  };
}

function startParts(parts: DaemonParts): StartParts {
  return { ...createParts(parts), locks: parts.containerLocks, participant: parts.nri };
}

/** The work behind the addresses that Exec, Attach and PortForward answer with. */
export function streamingSessions(parts: DaemonParts): Sessions {
  const { containers: store, runtimes, cgroups, helper, paths, facts, sandboxes } = parts;
  return {
    exec: (request, streams) =>
      execStream(request, streams, { store, runtimes, cgroups, helper, paths, facts }),
    attach: (id, streams) => attachContainer(id, streams, { store, paths }),
    startAttached: (id, streams) => {
      const start = startParts(parts);
      return startAttached(id, streams, { store, paths, start: () => startContainer(id, start) });
    },
    dial: (id, port) => dialSandbox(id, port, { store: sandboxes, helper }),
  };
}

function streamingUseCases(
  { containers, sandboxes }: DaemonParts,
  server: StreamingServer,
): StreamingUseCases {
  return {
    exec: (id, command, streams) => {
      const containerId = assertCanExec(id, command, containers).id;
      return server.urlOf({ kind: "exec", containerId, command, streams });
    },
    attach: (id, streams) => server.urlOf(attachRequest(assertCanAttach(id, containers), streams, false)),
    startAttached: (id, streams) =>
      server.urlOf(attachRequest(assertCanStartAttached(id, containers), streams, true)),
    portForward: (id, ports) =>
      server.urlOf({ kind: "portforward", sandboxId: assertCanForward(id, sandboxes).id, ports }),
  };
}

function attachRequest(container: Container, streams: StreamChoice, starts: boolean): SessionRequest {
  // The container's own terminal decides: with one, all output is on stdout.
  const tty = container.record.config.tty;
  const choice = { ...streams, tty, stderr: streams.stderr && !tty };
  return { kind: "attach", containerId: container.id, streams: choice, starts };
}

function imageUseCases({ images, containers }: DaemonParts): ImageUseCases {
  return {
    pull: (request) => images.pull(request),
    list: (reference) => images.list(reference),
    status: (reference) => images.status(reference),
    describe: (reference) => images.describe(reference),
    remove: (reference) => images.remove(reference, containers.imageIds()),
    fsInfo: () => images.fsInfo(),
  };
}

function nodeUseCases(parts: DaemonParts): NodeUseCases {
  const { network, config, log, version, facts, selinux, userNamespaces, runtimes, nri } = parts;
  return {
    version: () => ({ runtimeName: "cricket", runtimeVersion: version }),
    status: () => {
      const { ready, reason, message } = network.condition();
      return {
        conditions: [
          { type: "RuntimeReady", status: true, reason: "", message: "" },
          { type: "NetworkReady", status: ready, reason, message },
        ],
        handlers: runtimes.statuses(),
        features: { supplementalGroupsPolicy: true, userNamespacesHostNetwork: userNamespaces.supported },
      };
    },
    describe: () =>
      Promise.resolve({
        config: describeConfig(config),
        security: { apparmor: facts.apparmor.status(), selinux: selinux.status() },
        nri: nri.status(),
      }),
    cgroupDriver: () => config.cgroup.driver,
    hasHandler: (name) => runtimes.has(name),
    // The kubelet records the CIDR only if this succeeds; the embedded network has its own subnet.
    updatePodCidr: (cidr) => {
      network.setPodCidr?.(cidr);
      log.info("pod CIDR of the node", { cidr });
      return Promise.resolve();
    },
  };
}
