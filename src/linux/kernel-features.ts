// What the running kernel can do, asked of the kernel itself where that is cheap and by its release elsewhere.
import { existsSync } from "node:fs";
import { release } from "node:os";
import { close } from "./files.ts";
import { libc } from "./libc.ts";

export interface KernelRelease {
  major: number;
  minor: number;
}

export interface KernelFeatures {
  release: KernelRelease;
  /** Overlay takes lower directories one by one (`lowerdir+`), so their number and length have no limit. */
  overlayLowerdirAppend: boolean;
  /** Overlay mounts can be idmapped, for pods with user namespaces. */
  idmappedOverlay: boolean;
  /** mount_setattr(2): recursive read-only mounts. */
  mountSetattr: boolean;
  /** CLONE_INTO_CGROUP. */
  cloneIntoCgroup: boolean;
  /** cgroup.kill in v2 hierarchies. */
  cgroupKill: boolean;
  /** Pressure stall information. */
  psi: boolean;
  userNamespaces: boolean;
}

export function probeKernel(): KernelFeatures {
  const kernel = parseRelease(release());
  return {
    release: kernel,
    overlayLowerdirAppend: hasOverlayLowerdirAppend(),
    idmappedOverlay: isAtLeast(kernel, 5, 19),
    mountSetattr: isAtLeast(kernel, 5, 12),
    cloneIntoCgroup: isAtLeast(kernel, 5, 7),
    cgroupKill: isAtLeast(kernel, 5, 14),
    psi: existsSync("/proc/pressure/cpu"),
    userNamespaces: existsSync("/proc/self/ns/user"),
  };
}

/** "6.1.0-13-amd64" -> 6, 1. Anything else counts as 0.0, so that no feature is assumed. */
export function parseRelease(text: string): KernelRelease {
  const match = /^(\d+)\.(\d+)/.exec(text);
  return { major: Number(match?.[1] ?? 0), minor: Number(match?.[2] ?? 0) };
}

export function isAtLeast(kernel: KernelRelease, major: number, minor: number): boolean {
  return kernel.major > major || (kernel.major === major && kernel.minor >= minor);
}

const SYS_fsopen = 430;
const SYS_fsconfig = 431;
const FSOPEN_CLOEXEC = 1;
const FSCONFIG_SET_STRING = 1;
const sysFsopen = libc.func("long syscall(long number, const char *type, unsigned int flags)");
const sysFsconfig = libc.func(
  "long syscall(long number, int fd, unsigned int cmd, const char *key, const char *value, int aux)",
);

// Setting the parameter on a filesystem context that is never mounted asks the kernel without side effects.
function hasOverlayLowerdirAppend(): boolean {
  const fs = Number(sysFsopen(SYS_fsopen, "overlay", FSOPEN_CLOEXEC));
  if (fs === -1) return false;
  try {
    return Number(sysFsconfig(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "lowerdir+", "/", 0)) === 0;
  } finally {
    close(fs);
  }
}
