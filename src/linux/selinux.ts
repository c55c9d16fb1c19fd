// SELinux as the kernel shows it: whether a policy is loaded, and which labels it knows.
import { readFileSync, writeFileSync } from "node:fs";
import { errnoOf, wrapError } from "../base/errors.ts";
import { AT_FDCWD, close, fdPath, getxattr, O_PATH, openat2, setxattrPath } from "./files.ts";

const selinuxfs = "/sys/fs/selinux";
const labelAttribute = "security.selinux";

/** True where a policy is loaded. Until then every process is "kernel", and labels mean nothing. */
export function isSelinuxEnabled(): boolean {
  // A container that is kept from SELinux has no such mount, or one that cannot be written to.
  if (readOptional(`${selinuxfs}/enforce`) === undefined || !isWritable()) return false;
  const own = readOptional("/proc/self/attr/current")?.replaceAll(/[\0\n]/g, "");
  return own !== undefined && own !== "" && own !== "kernel";
}

function isWritable(): boolean {
  const mounts = readOptional("/proc/self/mounts") ?? "";
  return / \/sys\/fs\/selinux selinuxfs rw[ ,]/.test(mounts);
}

/** True where labels have a level: "s0:c1,c2". */
export function hasSelinuxLevels(): boolean {
  return readOptional(`${selinuxfs}/mls`)?.startsWith("1") === true;
}

/** True where the loaded policy declares a capability, by its name in the policy. */
export function hasSelinuxCapability(name: string): boolean {
  return readOptional(`${selinuxfs}/policy_capabilities/${name}`)?.startsWith("1") === true;
}

export function isSelinuxEnforcing(): boolean {
  return readOptional(`${selinuxfs}/enforce`)?.startsWith("1") === true;
}

/** True for a label that the loaded policy allows to exist. */
export function isValidSelinuxLabel(label: string): boolean {
  try {
    writeFileSync(`${selinuxfs}/context`, `${label}\0`);
    return true;
  } catch (error) {
    if (errnoOf(error) === "EINVAL") return false;
    throw wrapError(`check SELinux label ${label}`, error);
  }
}

/** The label of an open file, O_PATH will do; undefined on a filesystem without labels. */
export function fileLabel(fd: number): string | undefined {
  const value = getxattr(fdPath(fd), labelAttribute);
  return value?.toString("latin1").replace(/\0+$/, "");
}

/** Labels an open file, O_PATH will do; a symlink itself where one is open. False on a filesystem without labels. */
export function setFileLabel(fd: number, label: string): boolean {
  try {
    // With its NUL, as the tools of the field write it.
    setxattrPath(fdPath(fd), labelAttribute, Buffer.from(`${label}\0`));
    return true;
  } catch (error) {
    if (errnoOf(error) === "EOPNOTSUPP") return false;
    throw error;
  }
}

/** The same by path, following links. */
export function setPathLabel(path: string, label: string): boolean {
  const fd = openat2(AT_FDCWD, path, { flags: O_PATH });
  try {
    return setFileLabel(fd, label);
  } finally {
    close(fd);
  }
}

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ENOENT" || errno === "EACCES" || errno === "EINVAL") return undefined;
    throw wrapError(`read ${path}`, error);
  }
}
