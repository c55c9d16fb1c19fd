// The root filesystem: where it is attached, what is hidden in it, and the change into it.
import { CricketError } from "../base/errors.ts";
import type { Step } from "../linux/launch-program.ts";
import { MOUNT_ATTR_RDONLY, MS_PRIVATE, MS_REC, MS_SLAVE } from "../linux/mount.ts";
import type { ContainerLaunch } from "./container-launch.ts";
import { coverEmptyRoot } from "./empty-start.ts";
import { propagationFlags } from "./mount-options.ts";
import { wantsSharedMounts } from "./shared-mounts.ts";
import { staysInDirectory, userNamespaceKind } from "./user-namespace.ts";

/** Cuts the copy of the host's mounts off the host, and attaches the rootfs in it. */
export function compileAttachRootfs({ spec, rootfs, emptyNamespace }: ContainerLaunch): Step[] {
  const inUserNamespace = userNamespaceKind(spec.linux) !== "none";
  // In a user namespace the kernel has made all of them slaves already: nothing there is shared with the host.
  const cutOff =
    wantsSharedMounts(spec) && !inUserNamespace ? hideParentMount(rootfs.parentMount) : detachFromHost();
  const hostTarget = staysInDirectory(spec.linux) ? "." : rootfs.target;
  return [
    ...(emptyNamespace === undefined ? [cutOff] : []),
    {
      op: "attachRootfs",
      mount: rootfs.mount,
      target: emptyNamespace === undefined ? hostTarget : "/",
      because: {
        why: "every path in the container is resolved below this mount from here on (CVE-2021-30465)",
        source: "OCI runtime-spec config.md#root",
      },
    },
  ];
}

function detachFromHost(): Step {
  return {
    op: "setPropagation",
    path: "/",
    flags: MS_SLAVE | MS_REC,
    because: { why: "nothing that is mounted here may appear on the host", source: "man 7 mount_namespaces" },
  };
}

// A mount that is to be shared with the host must be cloned from one that still is. So the tree stays shared, and
// only the mount below the rootfs is taken out: else the rootfs would appear on the host.
function hideParentMount(path: string | undefined): Step {
  if (path === undefined)
    throw new CricketError("internal", "shared mount propagation needs the mount point below the rootfs");
  return {
    op: "setPropagation",
    path,
    flags: MS_PRIVATE,
    because: {
      why: "some mount is shared with the host, so only the mount below the rootfs is cut off",
      source: "OCI runtime-spec config-linux.md#rootfs-mount-propagation",
    },
  };
}

/** Before anything is mounted: what is mounted may lie in them. */
export function compileDirectories({ directories = [] }: ContainerLaunch): Step[] {
  return directories.map((path): Step => ({
    op: "mkdirInRoot",
    path,
    mode: 0o755,
    uid: 0,
    gid: 0,
    because: { why: "a volume of the image's own", source: "OCI image-spec config.md#properties Volumes" },
  }));
}

/** Read-only paths first: a masked path below one must stay masked. */
export function compileHiddenPaths({ spec }: ContainerLaunch): Step[] {
  const { readonlyPaths = [], maskedPaths = [] } = spec.linux ?? {};
  return [
    ...readonlyPaths.map((path): Step => ({
      op: "readonlyPath",
      path,
      because: {
        why: "kernel settings of the whole host",
        source: "OCI runtime-spec config-linux.md#readonly-paths",
      },
    })),
    ...maskedPaths.map((path): Step => ({
      op: "maskPath",
      path,
      because: {
        why: "says or does more than a container should (CVE-2025-31133: the mask is the host's verified /dev/null)",
        source: "OCI runtime-spec config-linux.md#masked-paths",
      },
    })),
  ];
}

/** The working directory is made while the rootfs can still be written to. */
export function compileWorkingDirectory({ spec }: ContainerLaunch): Step[] {
  const cwd = spec.process?.cwd ?? "/";
  if (cwd === "/") return [];
  return [
    {
      op: "mkdirInRoot",
      path: cwd,
      mode: 0o755,
      uid: 0,
      gid: 0,
      because: {
        why: "the working directory is made if it is missing",
        source: "CRI ContainerConfig.working_dir",
      },
    },
  ];
}

function changeRoot({ spec: { linux }, noPivot, emptyNamespace }: ContainerLaunch): Step {
  if (emptyNamespace !== undefined) return coverEmptyRoot;
  const isJoined = linux?.namespaces?.some(({ type, path }) => type === "mount" && path !== undefined);
  // A pivot would take the root away from everybody else in the namespace.
  if (isJoined === true)
    return {
      op: "changeRoot",
      because: { why: "the mount namespace is shared: its root stays as it is", source: "man 2 chroot" },
    };
  if (noPivot === true)
    return {
      op: "moveRoot",
      because: {
        why: "--no-pivot: the root of an initramfs cannot be left, only covered",
        source: "man 2 pivot_root",
      },
    };
  return {
    op: "pivotRoot",
    because: {
      why: "the host's tree is gone for good, other than with chroot",
      source: "man 2 pivot_root",
    },
  };
}

/** The last steps before the container's processes see nothing else. */
export function compileEnterRootfs(launch: ContainerLaunch): Step[] {
  const { spec } = launch;
  const steps: Step[] = [];
  if (spec.root?.readonly === true)
    steps.push({
      op: "setMountAttributes",
      target: "",
      set: MOUNT_ATTR_RDONLY,
      clear: 0,
      propagation: 0,
      recursive: false,
      because: {
        why: "read-only root; mounts in it keep their own attributes",
        source: "OCI runtime-spec config.md#root",
      },
    });
  steps.push(changeRoot(launch));
  const { rootfsPropagation } = spec.linux ?? {};
  if (rootfsPropagation !== undefined) {
    const propagation = propagationFlags(rootfsPropagation);
    steps.push({
      op: "setMountAttributes",
      target: "",
      set: 0,
      clear: 0,
      propagation,
      recursive: (propagation & MS_REC) !== 0,
      because: {
        why: `linux.rootfsPropagation is ${rootfsPropagation}`,
        source: "OCI runtime-spec config-linux.md#rootfs-mount-propagation",
      },
    });
  }
  return steps;
}
