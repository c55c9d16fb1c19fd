// Sandboxes and containers in memory, and all those who are told what happens to them.
import { existsSync } from "node:fs";
import { messageOf } from "./base/errors.ts";
import { KeyedLock } from "./base/keyed-lock.ts";
import type { Log } from "./base/log.ts";
import type { Config } from "./config/config.ts";
import type { Paths } from "./config/paths.ts";
import { loadBundle } from "./container/bundle.ts";
import type { ContainerRuntimes } from "./container/container-runtime.ts";
import { ContainerStore, type Container } from "./container/container-store.ts";
import { runPoststopHooks } from "./container/oci-hooks.ts";
import { stopContainer } from "./container/stop-container.ts";
import { applyUpdate } from "./container/update-resources.ts";
import type { CgroupManager } from "./linux/cgroup/cgroup-manager.ts";
import { LifecycleEvents } from "./events/lifecycle-events.ts";
import { packageVersion } from "./cli/package-version.ts";
import { Cdi } from "./plugins/cdi/cdi.ts";
import { ResourceClasses } from "./plugins/classes/resource-classes.ts";
import { Nri } from "./plugins/nri/nri.ts";
import type { LifecycleListener } from "./sandbox/lifecycle-change.ts";
import { SandboxStore, type Sandbox } from "./sandbox/sandbox-store.ts";
import type { DaemonParts } from "./use-cases.ts";

export interface StoreParts {
  config: Config;
  log: Log;
  paths: Paths;
  runtimes: ContainerRuntimes;
  cgroups: CgroupManager;
}

export type Stores = Pick<
  DaemonParts,
  "events" | "sandboxes" | "containers" | "containerLocks" | "nri" | "cdi" | "classes"
>;

export function openStores(parts: StoreParts): Stores {
  const { listeners, ...listened } = openListenedStores(parts.paths, parts.log);
  const stores = {
    ...listened,
    containerLocks: new KeyedLock(),
    cdi: new Cdi(parts.config.cdi, parts.log),
    classes: new ResourceClasses(parts.config),
  };
  const nri = openNri(parts, stores);
  listeners.sandbox.push((sandbox, change) => nri.sandboxChanged(sandbox, change));
  listeners.container.push((container, change) => nri.containerChanged(container, change));
  return { ...stores, nri };
}

interface ChangeListeners {
  sandbox: LifecycleListener<Sandbox>[];
  container: LifecycleListener<Container>[];
}

/** What the stores change is told to those who listen, at the moment it is changed. */
function openListenedStores(
  paths: Paths,
  log: Log,
): Pick<Stores, "events" | "sandboxes" | "containers"> & { listeners: ChangeListeners } {
  const events: LifecycleEvents = new LifecycleEvents({
    sandboxOf: (id) => sandboxes.find(id),
    containersOf: (id) => containers.ofSandbox(id).filter(({ record }) => record.committed),
    log,
  });
  const listeners: ChangeListeners = {
    sandbox: [(sandbox, change) => events.ofSandbox(sandbox, change)],
    container: [
      (container, change) => events.ofContainer(container, change),
      (container, change) => {
        if (change === "stopped" && container.record.hooks !== undefined) runEndHooks(container, paths, log);
      },
    ],
  };
  const sandboxes = new SandboxStore(paths.sandboxesRoot, (sandbox, change) => {
    for (const listener of listeners.sandbox) listener(sandbox, change);
  });
  const containers = new ContainerStore(paths.containersRoot, (container, change) => {
    for (const listener of listeners.container) listener(container, change);
  });
  return { events, sandboxes, containers, listeners };
}

function runEndHooks(container: Container, paths: Paths, log: Log): void {
  runPoststopHooks(container, paths)
    .then((warnings) => {
      for (const warning of warnings) log.warn("poststop hook failed", { id: container.id, warning });
    })
    .catch((error: unknown) => log.error("poststop hooks", { id: container.id, error: messageOf(error) }));
}

function openNri({ config, log, paths, runtimes, cgroups }: StoreParts, stores: Omit<Stores, "nri">): Nri {
  const { sandboxes, containers, containerLocks: locks, cdi, classes } = stores;
  return new Nri({
    settings: config.nri,
    version: packageVersion(),
    log,
    sandboxes: () => sandboxes.list(),
    sandboxOf: (id) => sandboxes.find(id),
    netnsOf: ({ id, usesHostNetwork }) => {
      const path = paths.netnsPath(id);
      return !usesHostNetwork && existsSync(path) ? path : undefined;
    },
    containers: () => containers.list(),
    specOf: (container) => loadBundle(container, paths).spec,
    updateContainer: (id, change) =>
      applyUpdate(id, change, { store: containers, runtimes, locks, cgroups, log }),
    stopContainer: (id, timeoutMs) => stopContainer(id, timeoutMs, { store: containers, runtimes }),
    resolveCdi: (names, spec) => cdi.resolve(names, spec),
    resolveClasses: (names) => classes.resolve(names),
  });
}
