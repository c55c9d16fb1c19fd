// spec: the config.json to begin with, a shell in every namespace there is.
import type { IdMapping } from "../linux-spec.ts";
import { SPEC_VERSION, type Mount, type Spec } from "../spec.ts";

const capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

const mount = (destination: string, type: string, source: string, options: string[] = []): Mount => ({
  destination,
  type,
  source,
  ...(options.length === 0 ? {} : { options }),
});

/** `ids`: a user namespace of one's own, in which the caller is root (--rootless). */
export function defaultSpec(ids?: { uid: number; gid: number }): Spec {
  const single = (hostID: number): IdMapping[] => [{ containerID: 0, hostID, size: 1 }];
  return {
    ociVersion: SPEC_VERSION,
    process: {
      terminal: true,
      user: { uid: 0, gid: 0 },
      args: ["sh"],
      env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
      cwd: "/",
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      rlimits: [{ type: "RLIMIT_NOFILE", hard: 1024n, soft: 1024n }],
      noNewPrivileges: true,
    },
    root: { path: "rootfs", readonly: true },
    hostname: "cricket",
    mounts: defaultMounts(ids !== undefined),
    linux: {
      ...(ids === undefined ? {} : { uidMappings: single(ids.uid), gidMappings: single(ids.gid) }),
      ...(ids === undefined ? { resources: { devices: [{ allow: false, access: "rwm" }] } } : {}),
      namespaces: [
        { type: "pid" },
        ...(ids === undefined ? [{ type: "network" } as const] : []),
        { type: "ipc" },
        { type: "uts" },
        { type: "mount" },
        { type: "cgroup" },
        ...(ids === undefined ? [] : [{ type: "user" } as const]),
      ],
      maskedPaths: [
        "/proc/acpi",
        "/proc/asound",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/sys/firmware",
        "/proc/scsi",
      ],
      readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    },
  };
}

function defaultMounts(rootless: boolean): Mount[] {
  const devpts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
  return [
    mount("/proc", "proc", "proc"),
    mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    mount("/dev/pts", "devpts", "devpts", rootless ? devpts : [...devpts, "gid=5"]),
    mount("/dev/shm", "tmpfs", "shm", ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
    mount("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
    rootless
      ? mount("/sys", "none", "/sys", ["rbind", "nosuid", "noexec", "nodev", "ro"])
      : mount("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
    ...(rootless
      ? []
      : [mount("/sys/fs/cgroup", "cgroup", "cgroup", ["nosuid", "noexec", "nodev", "relatime", "ro"])]),
  ];
}
