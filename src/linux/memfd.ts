// Anonymous files that can be sealed: nothing, not even root in a container, can change them afterwards.
import { writeSync } from "node:fs";
import { close } from "./files.ts";
import { check, lastErrno, libc } from "./libc.ts";
import { SyscallError } from "../base/errors.ts";

const MFD_CLOEXEC = 0x1;
const MFD_ALLOW_SEALING = 0x2;
const MFD_EXEC = 0x10;
const F_ADD_SEALS = 1033;
// F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE
const ALL_SEALS = 0xf;

// int memfd_create(const char *name, unsigned int flags);
const cMemfdCreate = libc.func("int memfd_create(const char *name, unsigned int flags)");
// int fcntl(int fd, int op, ... /* arg */ ); with the one int argument that sealing takes.
const cFcntl = libc.func("int fcntl(int fd, int op, int arg)");

// Close-on-exec, sealable, executable.
function createMemfd(name: string): number {
  const fd = cMemfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC) as number;
  if (fd !== -1) return fd;
  const errno = lastErrno();
  // MFD_EXEC is new in Linux 6.3, where a memfd without it can be refused execution by sysctl vm.memfd_noexec.
  if (errno !== "EINVAL") throw new SyscallError("memfd_create", errno, name);
  return check(cMemfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING) as number, "memfd_create", name);
}

// fcntl(2) F_ADD_SEALS: against every later change.
function writeAndSeal(fd: number, content: Uint8Array): void {
  for (let done = 0; done < content.length;) done += writeSync(fd, content, done);
  check(cFcntl(fd, F_ADD_SEALS, ALL_SEALS) as number, "fcntl F_ADD_SEALS", `fd ${fd}`);
}

/** memfd_create(2): a sealed file with `content`, close-on-exec, executable; the caller closes it. Throws SyscallError. */
export function createSealedMemfd(name: string, content: Uint8Array): number {
  const fd = createMemfd(name);
  try {
    writeAndSeal(fd, content);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}
