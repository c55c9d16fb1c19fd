// Inode flags (ioctl_iflags(2)).
import { close, O_DIRECTORY, O_RDONLY, openat2, AT_FDCWD } from "./files.ts";
import { lastErrno, libc } from "./libc.ts";
import { SyscallError } from "../base/errors.ts";

// _IOR('f', 1, long) and _IOW('f', 2, long); the argument is an int all the same.
const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;
const FS_TOPDIR_FL = 0x00020000;

// int ioctl(int fd, unsigned long request, ...);
const cIoctl = libc.func("int ioctl(int fd, unsigned long request, _Inout_ void *argument)");

/**
 * Marks a directory as the top of unrelated trees ("chattr +T"): ext4 then puts each of its subdirectories into a
 * block group of its own instead of all into one. Trees that are made side by side do not contend for one group's
 * bitmaps, and new files do not have to search past inodes that were deleted a moment ago, which without a journal
 * ext4 does not reuse for minutes. A filesystem that has no such flag is left alone.
 */
export function spreadSubdirectories(path: string): void {
  const fd = openat2(AT_FDCWD, path, { flags: O_RDONLY | O_DIRECTORY });
  try {
    const flags = Buffer.alloc(8);
    if (!tryIoctl(fd, FS_IOC_GETFLAGS, flags)) return;
    const value = flags.readUInt32LE(0);
    if ((value & FS_TOPDIR_FL) !== 0) return;
    flags.writeUInt32LE((value | FS_TOPDIR_FL) >>> 0, 0);
    tryIoctl(fd, FS_IOC_SETFLAGS, flags);
  } finally {
    close(fd);
  }
}

const notSupported = new Set(["ENOTTY", "EOPNOTSUPP", "ENOTSUP", "EINVAL", "EPERM", "ENOSYS"]);

function tryIoctl(fd: number, request: number, argument: Buffer): boolean {
  if (cIoctl(fd, request, argument) === 0) return true;
  const errno = lastErrno();
  if (notSupported.has(errno)) return false;
  throw new SyscallError("ioctl", errno, `fd ${fd}`);
}
