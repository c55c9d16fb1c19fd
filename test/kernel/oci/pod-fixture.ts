// A pod and its containers without a daemon: pause, cgroups and files are real, the image is a tmpfs with the probe.
import { randomBytes } from "node:crypto";
import {
  copyFileSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import type { TestContext } from "node:test";
import { namespaceJoins } from "../../../src/container/build-namespaces.ts";
import { buildContainerSpec, type ContainerSpecInput } from "../../../src/container/build-spec.ts";
import type {
  ContainerConfig,
  ContainerMount,
  ContainerSecurity,
} from "../../../src/container/container-config.ts";
import { resolveUser } from "../../../src/container/resolve-user.ts";
import { CgroupManager } from "../../../src/linux/cgroup/cgroup-manager.ts";
import { makeEmptyNamespace } from "../../../src/linux/empty-namespace.ts";
import { close, openNamespace } from "../../../src/linux/files.ts";
import { HelperBinary } from "../../../src/linux/helper-binary.ts";
import type { OnListener } from "../../../src/linux/give-listener.ts";
import type { Step } from "../../../src/linux/launch-program.ts";
import type { Monitor } from "../../../src/linux/monitor.ts";
import {
  attachMount,
  createMount,
  MNT_DETACH,
  MS_SHARED,
  setMountAttributes,
  umount,
} from "../../../src/linux/mount.ts";
import { capabilityBoundingSet } from "../../../src/linux/proc.ts";
import { openPidfd, signalPidfd } from "../../../src/linux/pidfd.ts";
import { becomeSubreaper, tryReap } from "../../../src/linux/reap.ts";
import { runExec, type ExecResult } from "../../../src/linux/run-exec.ts";
import { runSpawn } from "../../../src/linux/run-spawn.ts";
import { startMonitor } from "../../../src/linux/start-monitor.ts";
import { compileContainer } from "../../../src/oci/compile-container.ts";
import { compileExec } from "../../../src/oci/compile-exec.ts";
import { compileSandbox } from "../../../src/oci/compile-sandbox.ts";
import { compileSeccomp } from "../../../src/oci/compile-seccomp.ts";
import type { CgroupView } from "../../../src/oci/container-launch.ts";
import type { Spec } from "../../../src/oci/spec.ts";
import {
  containerConfig,
  imageConfig,
  security,
  specInput,
} from "../../unit/container/container-fixtures.ts";

import { readLog, type Report } from "./probe-report.ts";

const buildDir = join(import.meta.dirname, "../../../build");

export interface PodOptions {
  pid?: "pod" | "container";
  privileged?: boolean;
  /** A user namespace of the pod's own: ids from here on, 65536 of them. */
  firstHostId?: number;
  /** The pod's directory is a shared mount, as all of / is where systemd runs. */
  sharedDirectory?: boolean;
  /** Launches begin in a copy of the host's mounts, and not in an empty mount namespace as those of the daemon do. */
  copiesHost?: boolean;
}

export interface ContainerRequest {
  /** Arguments of the probe; without `config.command` only. */
  probe?: string[];
  config?: Partial<ContainerConfig>;
  security?: Partial<ContainerSecurity>;
  input?: Partial<ContainerSpecInput>;
  /** Puts more into the image, below this path, before the container is made. */
  image?: (root: string) => void;
  imageUser?: string;
  /** Last change of the spec before it is compiled. */
  change?: (spec: Spec) => void;
  parentMount?: string;
  onListener?: OnListener;
}

export interface Container {
  id: string;
  monitor: Monitor;
  spec: Spec;
  env: Uint8Array[];
  cgroupPath: string;
  logPath: string;
}

export class Pod {
  readonly directory: string;
  readonly cgroupPath: string;
  readonly cgroups = new CgroupManager();
  readonly helper = HelperBinary.load(buildDir);
  readonly #options: PodOptions;
  pausePid = 0;
  pausePidfd = -1;

  constructor(t: TestContext, options: PodOptions) {
    this.#options = options;
    const name = `cricket-test-oci-${randomBytes(4).toString("hex")}`;
    this.directory = mkdtempSync(`/run/${name}-`);
    if (options.sharedDirectory === true) mountShared(this.directory);
    this.cgroupPath = `/${name}`;
    t.after(() => this.close());
  }

  static async start(t: TestContext, options: PodOptions = {}): Promise<Pod> {
    becomeSubreaper();
    const pod = new Pod(t, options);
    const { helper, directory } = pod;
    if (options.copiesHost !== true) helper.beginIn(await makeEmptyNamespace(helper, directory));
    await pod.#startPause();
    return pod;
  }

  async #startPause(): Promise<void> {
    for (const name of ["hostname", "hosts", "resolv.conf"])
      writeFileSync(join(this.directory, name), `${name} of the pod\n`);
    mkdirSync(join(this.directory, "shm"));
    this.cgroups.create(`${this.cgroupPath}/pause`);
    using join_ = this.cgroups.joinFiles(`${this.cgroupPath}/pause`);
    const { firstHostId } = this.#options;
    const map = [{ containerID: 0, hostID: firstHostId ?? 0, size: 65_536 }];
    const root = createMount("tmpfs", [["mode", "0755"]], 0);
    try {
      const spawned = await runSpawn(
        this.helper,
        compileSandbox({
          namespaces: { network: true, ipc: true, pid: this.#options.pid === "pod", uts: true },
          hostname: "pod-a",
          sysctls: [{ path: "/proc/sys/net/ipv4/ip_unprivileged_port_start", value: "0" }],
          cgroup: join_,
          pause: this.helper.pauseFd,
          rootfs: { mount: root, target: this.directory },
          ...this.#beginning(),
          ...(firstHostId === undefined ? {} : { userMaps: { uids: map, gids: map } }),
        }),
      );
      for (const socket of spawned.sockets) close(socket);
      this.pausePid = spawned.pid;
      this.pausePidfd = spawned.pidfd;
    } finally {
      close(root);
    }
  }

  /** A container that waits at its gate. */
  async create(request: ContainerRequest = {}): Promise<Container> {
    const id = `c${randomBytes(4).toString("hex")}`;
    const rootfs = this.#makeRootfs(request);
    const directory = join(this.directory, id);
    mkdirSync(join(directory, "rootfs"), { recursive: true, mode: 0o711 });
    const cgroupPath = `${this.cgroupPath}/${id}`;
    const userNamespace =
      this.#options.firstHostId === undefined ? undefined : openNamespace(this.pausePid, "user");
    try {
      const { spec, env } = this.#buildSpec(id, rootfs, cgroupPath, request);
      this.cgroups.create(cgroupPath);
      this.cgroups.setDevices(cgroupPath, spec.linux?.resources?.devices ?? []);
      using cgroup = this.cgroups.joinFiles(cgroupPath);
      const program = compileContainer({
        id,
        spec,
        env,
        rootfs: {
          mount: rootfs,
          target: join(directory, "rootfs"),
          ...(request.parentMount === undefined ? {} : { parentMount: request.parentMount }),
        },
        join: namespaceJoins(spec, this.pausePidfd),
        ...(userNamespace === undefined ? {} : { userNamespace }),
        cgroup,
        cgroupView: this.#cgroupView(cgroupPath),
        ...(spec.linux?.seccomp === undefined ? {} : { seccomp: compileSeccomp(spec.linux.seccomp) }),
        boundingCapabilities: capabilityBoundingSet(),
        parentDeathSignal: 9,
        ...this.#beginning(),
      });
      const logPath = join(directory, "log");
      const monitor = await startMonitor(this.helper, program, {
        containerDir: directory,
        logPath,
        ...(request.onListener === undefined ? {} : { onListener: request.onListener }),
      });
      return { id, monitor, spec, env, cgroupPath, logPath };
    } finally {
      close(rootfs);
      if (userNamespace !== undefined) close(userNamespace);
    }
  }

  /** Runs the container to its end; its output and exit code. */
  async run(request: ContainerRequest): Promise<{ output: string; exitCode: number; container: Container }> {
    const container = await this.create(request);
    await container.monitor.start();
    const { exitCode } = await container.monitor.onExit;
    return { output: readLog(container.logPath), exitCode, container };
  }

  /** Runs `probe report` on paths in a container. */
  async report(paths: string[], request: ContainerRequest = {}): Promise<Report> {
    const { output } = await this.run({ ...request, probe: ["report", ...paths] });
    return JSON.parse(output) as Report;
  }

  /** Executes the probe in a running container. */
  async exec(container: Container, ...args: string[]): Promise<ExecResult> {
    return this.execWith(container, args);
  }

  /** The same, with more steps once the container's namespaces are joined. */
  async execWith(
    container: Container,
    args: string[],
    more: Step[] = [],
    onListener?: OnListener,
  ): Promise<ExecResult> {
    using cgroup = this.cgroups.execSubgroup(container.cgroupPath, randomBytes(8).toString("hex"));
    const initPidfd = openPidfd(container.monitor.initPid);
    const { spec, env } = container;
    try {
      const program = compileExec({
        id: container.id,
        spec,
        env,
        initPidfd,
        command: ["/probe", ...args],
        cgroup,
        seccomp: spec.linux?.seccomp === undefined ? undefined : compileSeccomp(spec.linux.seccomp),
      });
      const joined = program.steps.findLastIndex(({ op }) => op === "joinNamespaces");
      program.steps.splice(joined + 1, 0, ...more);
      return await runExec(this.helper, program, onListener === undefined ? {} : { onListener });
    } finally {
      close(initPidfd);
    }
  }

  #makeRootfs({ image }: ContainerRequest): number {
    const owner = String(this.#options.firstHostId ?? 0);
    const mount = createMount(
      "tmpfs",
      [
        ["mode", "0755"],
        ["uid", owner],
        ["gid", owner],
      ],
      0,
    );
    const root = `/proc/self/fd/${mount}`;
    copyFileSync(join(buildDir, "probe"), join(root, "probe"));
    mkdirSync(join(root, "etc"));
    writeFileSync(join(root, "etc/passwd"), "root:x:0:0:root:/root:\napp:x:1000:2000::/home/app:\n");
    writeFileSync(join(root, "etc/group"), "root:x:0:\nextra:x:3000:app\n");
    image?.(root);
    // What an idmapped mount of the image does: the image's root is the user namespace's.
    for (const path of readdirSync(root, { recursive: true, encoding: "utf8" }))
      lchownSync(join(root, path), Number(owner), Number(owner));
    return mount;
  }

  #buildSpec(id: string, rootfs: number, cgroupPath: string, request: ContainerRequest) {
    const base = specInput();
    const config = containerConfig({
      command: ["/probe", ...(request.probe ?? ["sleep", "60"])],
      security: security({
        ...request.security,
        namespaces: {
          network: "pod",
          ipc: "pod",
          pid: this.#options.pid ?? "container",
          targetId: "",
          ...this.#userNamespace(),
          ...request.security?.namespaces,
        },
      }),
      ...request.config,
    });
    const built = buildContainerSpec({
      ...base,
      id,
      config,
      image: imageConfig(),
      user: resolveUser(rootfs, config.security, request.imageUser ?? ""),
      sandbox: {
        id: "s1",
        pausePid: this.pausePid,
        hostname: "pod-a",
        files: {
          hostname: join(this.directory, "hostname"),
          hosts: join(this.directory, "hosts"),
          resolvConf: join(this.directory, "resolv.conf"),
          shm: join(this.directory, "shm"),
        },
        privileged: this.#options.privileged ?? false,
      },
      host: {
        ...base.host,
        boundingCapabilities: capabilityBoundingSet(),
        cgroupVersion: this.cgroups.layout.kind === "v2" ? 2 : 1,
        architecture: process.arch === "arm64" ? "arm64" : "amd64",
      },
      rootfsPath: join(this.directory, id, "rootfs"),
      cgroupPath,
      ...request.input,
    });
    request.change?.(built.spec);
    return built;
  }

  #beginning(): { emptyNamespace?: number } {
    const { emptyNamespace } = this.helper;
    return emptyNamespace === undefined ? {} : { emptyNamespace };
  }

  #userNamespace() {
    const { firstHostId } = this.#options;
    if (firstHostId === undefined) return {};
    const mapping = [{ hostId: firstHostId, containerId: 0, length: 65536 }];
    return { user: { mode: "pod" as const, uids: mapping, gids: mapping } };
  }

  #cgroupView(path: string): CgroupView {
    const { layout } = this.cgroups;
    if (layout.kind === "v2") return { version: 2 };
    const all = layout.unified === undefined ? layout.v1 : [...layout.v1, layout.unified];
    return {
      version: 1,
      hierarchies: all.map(({ root }) => ({ name: basename(root), path: `${root}${path}`, links: [] })),
    };
  }

  async close(): Promise<void> {
    await this.cgroups.kill(this.cgroupPath);
    if (this.pausePidfd !== -1) {
      signalPidfd(this.pausePidfd, 9);
      for (let left = 200; left > 0 && tryReap(this.pausePid) === undefined; left--)
        await new Promise((resolve) => setTimeout(resolve, 5));
      close(this.pausePidfd);
    }
    await this.cgroups.remove(this.cgroupPath);
    this.helper.close();
    if (this.#options.sharedDirectory === true) umount(this.directory, MNT_DETACH);
    await removeTree(this.directory);
  }
}

/** The monitors of the containers that were killed may still be writing their exit files. */
async function removeTree(directory: string): Promise<void> {
  for (let left = 100; ; left--) {
    try {
      rmSync(directory, { recursive: true });
      return;
    } catch (error) {
      if (left === 0 || (error as NodeJS.ErrnoException).code !== "ENOTEMPTY") throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

/** A tmpfs whose mounts and unmounts travel to all its copies. */
export function mountShared(directory: string): void {
  const fd = createMount("tmpfs", [["mode", "0755"]], 0);
  try {
    attachMount(fd, directory);
    setMountAttributes(fd, { propagation: MS_SHARED }, false);
  } finally {
    close(fd);
  }
}

/** A file in the image. */
export function writeFile(root: string, path: string, content: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content);
}

/** A writable mount of a fresh directory of the host, below the pod's own. */
export function volume(directory: string, containerPath: string): ContainerMount {
  const hostPath = join(directory, "volumes", containerPath);
  mkdirSync(hostPath, { recursive: true });
  return {
    containerPath,
    hostPath,
    readonly: false,
    recursiveReadOnly: false,
    propagation: "private",
    selinuxRelabel: false,
    uidMappings: [],
    gidMappings: [],
  };
}
