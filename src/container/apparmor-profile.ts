// The AppArmor profile that RuntimeDefault means. It needs nothing of /etc/apparmor.d, so it is the same on every host.
//
// Capabilities, namespaces, seccomp and masked paths are the other walls; this one stands where they have doors: a
// container that was given CAP_SYS_ADMIN, or a /proc that is not masked, still cannot mount, trace or change the host.

/** Also the name by which peers are told apart in its own rules. */
export const defaultApparmorProfileName = "cricket-default";

/**
 * Written paths of /proc and /sys are denied by their beginnings: a deny rule beats every allow rule, so what stays
 * allowed is what no pattern matches. That is, in /proc: the directories of processes, and the sysctls that belong to
 * namespaces of the pod (kernel.sem, kernel.shm*, kernel.msg*, fs.mqueue.*, net.*); in /sys: cgroups.
 * /proc/self is a link: rules see the directory of the process.
 *
 * attach_disconnected: descriptors from outside the container's mounts (its stdio, a volume that was unmounted) would
 * be refused as paths without a root. mediate_deleted: files that are gone are judged by the name they had.
 */
export const defaultApparmorProfile = `profile ${defaultApparmorProfileName} flags=(attach_disconnected,mediate_deleted) {
  file,
  network,
  capability,
  umount,

  # The runtime stops its containers; they signal and trace each other, and nothing else.
  signal (receive) peer=unconfined,
  signal (send, receive) peer=${defaultApparmorProfileName},
  ptrace (read, readby, trace, tracedby) peer=${defaultApparmorProfileName},

  deny mount,

  deny /proc/[^0-9s]** wl,
  deny /proc/s[^y]** wl,
  deny /proc/sys[^/]** wl,
  deny /proc/sys/[^fkn]** wl,
  deny /proc/sys/fs/[^m]** wl,
  deny /proc/sys/fs/m[^q]** wl,
  deny /proc/sys/kernel/[^ms]** wl,
  deny /proc/sys/kernel/m[^s]** wl,
  deny /proc/sys/kernel/s[^eh]** wl,
  deny /proc/sys/kernel/se[^m]** wl,
  deny /proc/{kcore,kmem,mem,sysrq-trigger} rwklx,

  deny /sys/[^f]** wl,
  deny /sys/f[^s]** wl,
  deny /sys/fs/[^c]** wl,
  deny /sys/fs/c[^g]** wl,
  deny /sys/firmware/** rwklx,
  deny /sys/kernel/{debug,security,tracing}/** rwklx,
}
`;
