// Every place on disk, derived from the two roots and the id of the object: cleanup and recovery need no other memory.
import { join } from "node:path";

export interface PathRoots {
  /** Survives reboots. */
  stateRoot: string;
  /** A tmpfs: dies with the boot. */
  runRoot: string;
}

export interface Paths {
  readonly stateRoot: string;
  readonly runRoot: string;
  /** Locked (flock) by the one daemon that owns the roots. */
  readonly daemonLock: string;

  /** `<run>/sandboxes`: one directory per sandbox. */
  readonly sandboxesRoot: string;
  sandboxDir(id: string): string;
  /** Mount point of the pod's /dev/shm. */
  sandboxShm(id: string): string;

  /** `<run>/netns`: one bind mount per pod network. */
  readonly netnsRoot: string;
  netnsPath(id: string): string;

  /** `<run>/containers`: one directory per container; `<dir>/monitor.sock` and `<dir>/exit` are the monitor's. */
  readonly containersRoot: string;
  containerDir(id: string): string;
  /** The OCI config.json. */
  containerSpec(id: string): string;
  containerMonitorSocket(id: string): string;
  /** Where the container's rootfs is attached inside its own mount namespace; empty on the host. */
  containerRootfs(id: string): string;

  /** `<run>/scratch`: mounts that are attached for a moment. */
  readonly scratchDir: string;

  /** `<run>/mounts`: rootfs and image volumes of each container that another OCI runtime runs, mounted on the host. */
  readonly hostMountsRoot: string;
  hostMounts(id: string): string;
  /** `<run>/runtimes/<handler>`: where another OCI runtime keeps its state, unless its configuration says otherwise. */
  runtimeRoot(handler: string): string;

  /** `<state>/containers`: one writable layer per container. */
  readonly containerLayersRoot: string;
  containerLayerDir(id: string): string;

  /** `<state>/blobs/sha256`. */
  readonly blobsRoot: string;
  readonly layersRoot: string;
  readonly imagesRoot: string;
  /** Address leases of the embedded bridge, which forgets all that is in here after a reboot. */
  readonly networkRoot: string;
  /** Attachments made by CNI plugins: after a reboot they tell what is to be released. */
  readonly cniRoot: string;
}

/** All paths under the two roots. Ids are used as they are: callers pass ids that `isId` accepts. */
export function derivePaths({ stateRoot, runRoot }: PathRoots): Paths {
  const sandboxesRoot = join(runRoot, "sandboxes");
  const containersRoot = join(runRoot, "containers");
  const netnsRoot = join(runRoot, "netns");
  const hostMountsRoot = join(runRoot, "mounts");
  const containerLayersRoot = join(stateRoot, "containers");
  const inSandbox = (name: string) => (id: string) => join(sandboxesRoot, id, name);
  const inContainer = (name: string) => (id: string) => join(containersRoot, id, name);
  return {
    stateRoot,
    runRoot,
    daemonLock: join(runRoot, "daemon.lock"),
    sandboxesRoot,
    sandboxDir: (id) => join(sandboxesRoot, id),
    sandboxShm: inSandbox("shm"),
    netnsRoot,
    netnsPath: (id) => join(netnsRoot, id),
    containersRoot,
    containerDir: (id) => join(containersRoot, id),
    containerSpec: inContainer("config.json"),
    containerMonitorSocket: inContainer("monitor.sock"),
    containerRootfs: inContainer("rootfs"),
    scratchDir: join(runRoot, "scratch"),
    hostMountsRoot,
    hostMounts: (id) => join(hostMountsRoot, id),
    runtimeRoot: (handler) => join(runRoot, "runtimes", handler),
    containerLayersRoot,
    containerLayerDir: (id) => join(containerLayersRoot, id),
    blobsRoot: join(stateRoot, "blobs", "sha256"),
    layersRoot: join(stateRoot, "layers"),
    imagesRoot: join(stateRoot, "images"),
    networkRoot: join(stateRoot, "network"),
    cniRoot: join(stateRoot, "cni"),
  };
}
