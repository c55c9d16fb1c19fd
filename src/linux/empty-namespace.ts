// A mount namespace with next to nothing in it, which launches enter and copy in place of the host's: a copy of the
// host's mounts, and their removal, would take the longer the more pods and volumes a node has.
import { close, openNamespace } from "./files.ts";
import type { HelperBinary } from "./helper-binary.ts";
import { CLONE_NEWNS, type Descriptor, type Step } from "./launch-program.ts";
import {
  createMount,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  MS_PRIVATE,
  MS_REC,
} from "./mount.ts";
import { signalPidfd } from "./pidfd.ts";
import { reapSoon } from "./reap.ts";
import { runSpawn } from "./run-spawn.ts";

const SIGKILL = 9;

/**
 * Makes it and returns its descriptor, which is all that keeps it. Its root is an empty tmpfs that cannot be written to,
 * with the host's /dev/null, from which files are masked. `directory`: where that root is attached for a moment, seen
 * nowhere else. Throws CricketError where the host's root cannot be left (an initramfs), or the runtime may not mount.
 */
export async function makeEmptyNamespace(helper: HelperBinary, directory: string): Promise<Descriptor> {
  const root = createMount("tmpfs", [
    ["mode", "0755"],
    ["size", "4k"],
    ["nr_inodes", "4"],
  ]);
  try {
    const steps = [...emptyRoot(root, directory), ...standStill(helper.pauseFd)];
    const { pid, pidfd } = await runSpawn(helper, { steps });
    try {
      return openNamespace(pid, "mnt");
    } finally {
      signalPidfd(pidfd, SIGKILL);
      close(pidfd);
      reapSoon(pid);
    }
  } finally {
    close(root);
  }
}

function emptyRoot(root: Descriptor, directory: string): Step[] {
  return [
    { op: "unshare", flags: CLONE_NEWNS },
    { op: "setPropagation", path: "/", flags: MS_PRIVATE | MS_REC },
    { op: "attachRootfs", mount: root, target: directory },
    {
      op: "mountTree",
      source: { hostPath: "/dev/null" },
      recursive: false,
      set: 0,
      clear: 0,
      recursiveAttributes: false,
      propagation: MS_PRIVATE,
      target: "/dev/null",
      create: "file",
    },
    {
      op: "setMountAttributes",
      target: "",
      set: MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
      clear: 0,
      propagation: 0,
      recursive: false,
    },
    { op: "pivotRoot" },
  ];
}

/** For as long as it takes to open the namespace. */
function standStill(pauseFd: Descriptor): Step[] {
  return [
    { op: "parentDeathSignal", signal: SIGKILL },
    { op: "execFd", fd: pauseFd, argv: ["pause"], env: [] },
  ];
}
