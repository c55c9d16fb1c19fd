// The mount API of Linux 5.2 and later: mounts are descriptors until they are attached, so a mount that is being
// made has no name, cannot be raced, and disappears with the process that holds it.
import { AT_EMPTY_PATH, AT_FDCWD, close } from "./files.ts";
import { check, libc } from "./libc.ts";

const SYS_open_tree = 428;
const SYS_move_mount = 429;
const SYS_fsopen = 430;
const SYS_fsconfig = 431;
const SYS_fsmount = 432;
const SYS_mount_setattr = 442;

const FSCONFIG_SET_FLAG = 0;
const FSCONFIG_SET_STRING = 1;
const FSCONFIG_SET_FD = 5;
const FSCONFIG_CMD_CREATE = 6;

export const OPEN_TREE_CLONE = 1;
export const AT_RECURSIVE = 0x8000;
const OPEN_TREE_CLOEXEC = 0o2000000;
const MOVE_MOUNT_F_EMPTY_PATH = 0x4;

export const MOUNT_ATTR_RDONLY = 0x1;
export const MOUNT_ATTR_NOSUID = 0x2;
export const MOUNT_ATTR_NODEV = 0x4;
export const MOUNT_ATTR_NOEXEC = 0x8;
export const MOUNT_ATTR_IDMAP = 0x100000;

export const MS_BIND = 4096;
export const MS_REC = 16384;
export const MS_PRIVATE = 1 << 18;
export const MS_SLAVE = 1 << 19;
export const MS_SHARED = 1 << 20;
export const MNT_DETACH = 2;

const sysFsopen = libc.func("long syscall(long number, const char *type, unsigned int flags)");
const sysFsconfig = libc.func(
  "long syscall(long number, int fd, unsigned int cmd, const char *key, const char *value, int aux)",
);
const sysFsmount = libc.func(
  "long syscall(long number, int fd, unsigned int flags, unsigned int attributes)",
);
const sysMoveMount = libc.func(
  "long syscall(long number, int fromFd, const char *from, int toFd, const char *to, unsigned int flags)",
);
const sysOpenTree = libc.func("long syscall(long number, int dirfd, const char *path, unsigned int flags)");
const sysMountSetattr = libc.func(
  "long syscall(long number, int dirfd, const char *path, unsigned int flags, void *attributes, size_t size)",
);
const cMount = libc.func(
  "int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)",
);
const cUmount2 = libc.func("int umount2(const char *target, int flags)");

/** An option of a new filesystem: a flag (`true`), a string, or a descriptor. */
export type FsOption = readonly [key: string, value: true | string | { fd: number }];

/**
 * fsopen(2), fsconfig(2), fsmount(2): makes a detached mount and returns its descriptor. `attributes` are
 * MOUNT_ATTR_ bits. The error names the option that the filesystem refused.
 */
export function createMount(type: string, options: readonly FsOption[], attributes = 0): number {
  const fs = check(Number(sysFsopen(SYS_fsopen, type, 1)), "fsopen", type);
  try {
    for (const [key, value] of options) setOption(fs, type, key, value);
    check(Number(sysFsconfig(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, null, null, 0)), "fsconfig create", type);
    return check(Number(sysFsmount(SYS_fsmount, fs, 1, attributes)), "fsmount", type);
  } finally {
    close(fs);
  }
}

function setOption(fs: number, type: string, key: string, value: true | string | { fd: number }): void {
  const what = `fsconfig ${key}`;
  if (value === true)
    check(Number(sysFsconfig(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, key, null, 0)), what, type);
  else if (typeof value === "string")
    check(Number(sysFsconfig(SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, value, 0)), what, type);
  else check(Number(sysFsconfig(SYS_fsconfig, fs, FSCONFIG_SET_FD, key, null, value.fd)), what, type);
}

/** move_mount(2) of a detached mount onto a path. */
export function attachMount(fd: number, target: string): void {
  const result = sysMoveMount(SYS_move_mount, fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
  check(Number(result), "move_mount", target);
}

/**
 * open_tree(2) with OPEN_TREE_CLONE: a detached copy (a bind mount without a place) of `path`. A copy of a shared mount
 * would be its peer, and what is mounted in it would appear on the host: copies are slaves.
 */
export function cloneMount(dirfd: number, path: string, recursive: boolean): number {
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0) | AT_EMPTY_PATH;
  const fd = check(Number(sysOpenTree(SYS_open_tree, dirfd, path, flags)), "open_tree", path);
  try {
    setMountAttributes(fd, { propagation: MS_SLAVE }, recursive);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

export interface MountAttributes {
  set?: number;
  clear?: number;
  propagation?: number;
  usernsFd?: number;
}

/** mount_setattr(2) on the mount behind a descriptor. */
export function setMountAttributes(fd: number, attributes: MountAttributes, recursive: boolean): void {
  const bytes = Buffer.alloc(32);
  bytes.writeBigUInt64LE(BigInt(attributes.set ?? 0), 0);
  bytes.writeBigUInt64LE(BigInt(attributes.clear ?? 0), 8);
  bytes.writeBigUInt64LE(BigInt(attributes.propagation ?? 0), 16);
  bytes.writeBigUInt64LE(BigInt(attributes.usernsFd ?? 0), 24);
  const flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
  check(Number(sysMountSetattr(SYS_mount_setattr, fd, "", flags, bytes, 32)), "mount_setattr", `fd ${fd}`);
}

/** mount(2), for what the descriptor API cannot do on older kernels. */
export function mount(source: string, target: string, type: string, flags: number, data = ""): void {
  check(cMount(source, target, type, flags, data) as number, `mount ${type}`, target);
}

/** umount2(2); `flags` such as MNT_DETACH. */
export function umount(target: string, flags = 0): void {
  check(cUmount2(target, flags) as number, "umount2", target);
}
