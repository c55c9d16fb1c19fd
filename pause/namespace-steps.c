// Steps about processes, namespaces, cgroups and the kernel's knobs.
#include <linux/keyctl.h>
#include <linux/magic.h>
#include <linux/resource.h>
#include <linux/sockios.h>

#include "launch.h"

// Those the kernel gives a session keyring with a name (possessor: all but setattr; owner: view, read, link; see
// keyrings(7)), and search for the owner.
#define SESSION_KEYRING_PERMISSIONS 0x1f1b0000

int open_proc(const struct launch *l, const char *path, uint64_t flags) {
  // NO_XDEV: nothing may be mounted over a part of this /proc, NO_MAGICLINKS: and no link may lead out of it
  // (CVE-2019-16884, CVE-2025-52881).
  struct open_how how = {.flags = flags | O_CLOEXEC,
                         .resolve = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_BENEATH};
  if (l->proc_fd < 0) return -EBADF;
  for (;;) {
    long fd = SYS(openat2, l->proc_fd, path, &how, sizeof how);
    if (fd != -EINTR && fd != -EAGAIN) return (int)fd;
  }
}

int write_proc(struct launch *l, const char *path, const char *value) {
  int fd = open_proc(l, path, O_WRONLY);
  if (fd < 0) return failed(l, "openat2", fd);
  size_t size = text_length(value);
  long written = write_fd(fd, value, size);
  close_fd(fd);
  if (written < 0) return failed(l, "write", written);
  return (size_t)written == size ? 0 : failed(l, "write", -EIO);
}

static void join_path(char *to, size_t size, uint64_t pid, const char *name) {
  char digits[24];
  digits[format_decimal(digits, pid)] = '\0';
  size_t at = text_copy(to, size, digits);
  text_copy(to + at, size - at, name);
}

int write_id_maps(struct launch *l, int pid, const char *uid_map, const char *gid_map) {
  char path[64];
  join_path(path, sizeof path, (uint64_t)pid, "/gid_map");
  int result = write_proc(l, path, gid_map);
  if (result < 0) return result;
  join_path(path, sizeof path, (uint64_t)pid, "/uid_map");
  return write_proc(l, path, uid_map);
}

// Until its maps are written the child has no ids in its user namespace: what it makes would belong to nobody.
static int wait_for_id_maps(struct launch *l, const int gate[2]) {
  char mark;
  close_fd(gate[1]);
  if (read_fd(gate[0], &mark, 1) != 1) exit_process(1);
  close_fd(gate[0]);
  long result = SYS(setresgid, 0, 0, 0);
  if (result == 0) result = SYS(setgroups, 0, 0);
  if (result == 0) result = SYS(setresuid, 0, 0, 0);
  return result < 0 ? failed(l, "setresuid in the user namespace", result) : 0;
}

static int become_child(struct launch *l) {
  if (l->depth++ > 0 || l->header.host == HOST_SPAWN) return 0;
  // The child's end takes the place of the control socket, which the container must never hold; the host's end is
  // closed, or the child would not see at its gate that the host died.
  if (l->header.host != HOST_DETACHED) {
    SYS(dup3, l->child_status, CONTROL_FD, O_CLOEXEC);
    close_fd(l->child_status);
    close_fd(l->host_status);
  }
  for (int i = 0; i < 3; i++) {
    if (l->child_stdio[i] < 0) continue;
    // The caller's /dev/null is the host's: it is replaced as if nothing had been given.
    if (l->header.host == HOST_DETACHED && is_device(l->child_stdio[i], 1, 3)) continue;
    SYS(dup3, l->child_stdio[i], i, 0);
    // What a caller gave may stand for two of the three; it is closed with the rest of the table.
    if (l->header.host != HOST_DETACHED) close_fd(l->child_stdio[i]);
    l->null_stdio &= ~(1U << i);
  }
  return 0;
}

static int leave_to_parent(struct launch *l, int pid, int pidfd) {
  struct {
    struct frame_header header;
    uint32_t pid;
  } frame = {{.type = FRAME_FORKED, .length = 4}, (uint32_t)pid};
  if (leaves_child(l)) {
    int result = hand_over(l, HANDED_PIDFD, pidfd);
    if (result >= 0) result = (int)send_message(l->status_fd, &frame, sizeof frame, -1);
    if (result < 0) {
      SYS(pidfd_send_signal, pidfd, SIGKILL, 0, 0);
      return failed(l, "hand over the pidfd", result);
    }
    exit_process(0);
  }
  if (l->depth == 0) {
    l->child_pid = pid;
    l->child_pidfd = pidfd;
    l->step++;
    return RUN_PARENT;
  }
  frame.header.type = FRAME_REFORKED;
  send_message(l->status_fd, &frame, sizeof frame, pidfd);
  exit_process(0);
}

// Where a program forks twice, each process waits until the one before it has said that it is there: else the host would
// take the end of the first for the end of the container, or keep the pid of the wrong one. Having said so the one before
// ends, which closes the gate.
static void wait_for_word(const int gate[2]) {
  char mark;
  close_fd(gate[1]);
  read_fd(gate[0], &mark, 1);
  close_fd(gate[0]);
}

int step_fork(struct launch *l, struct cursor *c) {
  uint64_t flags = take_u64(c);
  int cgroup = take_fd(l, c);
  const char *uid_map = take_text(c);
  const char *gid_map = take_text(c);
  if (take_end(c) < 0) return -EBADMSG;
  int gate[2] = {-1, -1};
  bool maps = uid_map[0] != '\0' || gid_map[0] != '\0';
  bool waits = l->depth > 0 || (leaves_child(l) && l->fork_count > 1);
  long result = maps || waits ? SYS(pipe2, gate, O_CLOEXEC) : 0;
  if (result < 0) return failed(l, "pipe2", result);
  int pidfd = -1;
  // The second fork of a program makes a sibling (CLONE_PARENT), so that the host stays the parent of the container.
  struct clone_args args = {.flags = flags | CLONE_PIDFD | (l->depth > 0 ? CLONE_PARENT : 0U),
                            .pidfd = (uint64_t)(uintptr_t)&pidfd,
                            .exit_signal = l->depth > 0 ? 0 : SIGCHLD};
  if (cgroup >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = (__u64)cgroup;
  }
  long pid = SYS(clone3, &args, sizeof args);
  if (pid < 0) return failed(l, "clone3", pid);
  if (pid == 0) {
    result = become_child(l);
    if (maps && result == 0) return wait_for_id_maps(l, gate);
    if (waits) wait_for_word(gate);
    return (int)result;
  }
  if (maps) {
    close_fd(gate[0]);
    result = write_id_maps(l, (int)pid, uid_map, gid_map);
    if (result == 0) write_fd(gate[1], "m", 1);
    close_fd(gate[1]);
    if (result < 0) {
      SYS(pidfd_send_signal, pidfd, SIGKILL, 0, 0);
      SYS(wait4, pid, 0, __WALL, 0);
      return (int)result;
    }
  }
  return leave_to_parent(l, (int)pid, pidfd);
}

// A user namespace that only says how ids are mapped: nobody is ever in it but a child that waits for its end. It comes
// before everything else of a program, while pids are still those of the host's /proc.
int step_make_user_namespace(struct launch *l, struct cursor *c) {
  const char *uid_map = take_text(c);
  const char *gid_map = take_text(c);
  if (take_end(c) < 0) return -EBADMSG;
  int gate[2];
  long result = SYS(pipe2, gate, O_CLOEXEC);
  if (result < 0) return failed(l, "pipe2", result);
  struct clone_args args = {.flags = CLONE_NEWUSER};
  long pid = SYS(clone3, &args, sizeof args);
  if (pid == 0) {
    char mark;
    close_fd(gate[1]);
    read_fd(gate[0], &mark, 1);
    exit_process(0);
  }
  result = pid < 0 ? failed(l, "clone3", pid) : write_id_maps(l, (int)pid, uid_map, gid_map);
  if (result == 0) {
    char path[64];
    join_path(path, sizeof path, (uint64_t)pid, "/ns/user");
    result = SYS(openat, l->proc_fd, path, O_RDONLY | O_CLOEXEC, 0);
    if (result < 0) failed(l, "open the user namespace", result);
  }
  close_fd(gate[0]);
  close_fd(gate[1]);
  if (pid > 0) SYS(wait4, pid, 0, __WALL, 0);
  return keep_made(l, (int)result);
}

int step_join_namespaces(struct launch *l, struct cursor *c) {
  int fd = take_fd(l, c);
  uint32_t mask = take_u32(c);
  if (take_end(c) < 0) return -EBADMSG;
  long result = SYS(setns, fd, mask);
  if (result < 0) return failed(l, "setns", result);
  // Paths in root are those of the mount namespace that was joined.
  if ((mask & CLONE_NEWNS) != 0 && l->root_fd >= 0) {
    close_fd(l->root_fd);
    l->root_fd = -1;
  }
  return 0;
}

int step_unshare(struct launch *l, struct cursor *c) {
  uint32_t flags = take_u32(c);
  if (take_end(c) < 0) return -EBADMSG;
  long result = SYS(unshare, flags);
  return result < 0 ? failed(l, "unshare", result) : 0;
}

int step_new_session(struct launch *l, struct cursor *c) {
  if (take_end(c) < 0) return -EBADMSG;
  long result = SYS(setsid, 0);
  return result < 0 ? failed(l, "setsid", result) : 0;
}

int step_new_keyring(struct launch *l, struct cursor *c) {
  const char *name = take_text(c);
  if (take_end(c) < 0) return -EBADMSG;
  long keyring = SYS(keyctl, KEYCTL_JOIN_SESSION_KEYRING, name);
  if (keyring < 0) return failed(l, "keyctl", keyring);
  // An exec finds it by its name only if its owner may search it, which is not so by itself.
  SYS(keyctl, KEYCTL_SETPERM, keyring, SESSION_KEYRING_PERMISSIONS);
  return 0;
}

int step_parent_death_signal(struct launch *l, struct cursor *c) {
  uint32_t signal = take_u32(c);
  if (take_end(c) < 0) return -EBADMSG;
  long result = SYS(prctl, PR_SET_PDEATHSIG, signal, 0, 0, 0);
  if (result < 0) return failed(l, "prctl", result);
  // The parent may have died before the call. Its pid says nothing in a new pid namespace; its socket does.
  struct pollfd parent = {.fd = l->status_fd, .events = 0, .revents = 0};
  struct __kernel_timespec now = {0, 0};
  if (!leaves_child(l) && SYS(ppoll, &parent, 1, &now, 0, 0) > 0) exit_process(1);
  return 0;
}

int step_join_cgroup(struct launch *l, struct cursor *c) {
  uint32_t count = take_u32(c);
  for (uint32_t i = 0; i < count && !c->bad; i++) {
    int fd = take_fd(l, c);
    // "0" is the writer itself. On v1 `tasks` that is one thread, whose move needs no global lock of the kernel.
    long result = fd < 0 ? -EBADF : write_fd(fd, "0", 1);
    if (result < 0) return failed(l, "write", result);
  }
  return take_end(c);
}

int step_rlimit(struct launch *l, struct cursor *c) {
  uint32_t resource = take_u32(c);
  struct rlimit64 limit;
  limit.rlim_cur = take_u64(c);
  limit.rlim_max = take_u64(c);
  if (take_end(c) < 0) return -EBADMSG;
  long result = SYS(prlimit64, 0, resource, &limit, 0);
  if (result != -EPERM) return result < 0 ? failed(l, "prlimit64", result) : 0;
  // A hard limit above the runtime's own needs CAP_SYS_RESOURCE, which a nested runtime lacks: come as near as it
  // may and say so. Whether that is an error is the step's `optional`.
  struct rlimit64 own;
  if (SYS(prlimit64, 0, resource, 0, &own) == 0) {
    if (limit.rlim_max < own.rlim_max) own.rlim_max = limit.rlim_max;
    own.rlim_cur = limit.rlim_cur < own.rlim_max ? limit.rlim_cur : own.rlim_max;
    SYS(prlimit64, 0, resource, &own, 0);
  }
  return failed(l, "prlimit64", -EPERM);
}

int step_write_proc(struct launch *l, struct cursor *c) {
  const char *path = take_text(c);
  const char *value = take_text(c);
  if (take_end(c) < 0) return -EBADMSG;
  static const char prefix[] = "/proc/";
  if (memcmp(path, prefix, sizeof prefix - 1) != 0) return failed(l, "path outside of /proc", -EINVAL);
  return write_proc(l, path + sizeof prefix - 1, value);
}

int step_sethostname(struct launch *l, struct cursor *c) {
  const char *name = take_text(c);
  if (take_end(c) < 0) return -EBADMSG;
  long result = SYS(sethostname, name, text_length(name));
  return result < 0 ? failed(l, "sethostname", result) : 0;
}

int step_setdomainname(struct launch *l, struct cursor *c) {
  const char *name = take_text(c);
  if (take_end(c) < 0) return -EBADMSG;
  long result = SYS(setdomainname, name, text_length(name));
  return result < 0 ? failed(l, "setdomainname", result) : 0;
}

int step_send_socket(struct launch *l, struct cursor *c) {
  uint32_t domain = take_u32(c);
  uint32_t type = take_u32(c);
  uint32_t protocol = take_u32(c);
  if (take_end(c) < 0) return -EBADMSG;
  long fd = SYS(socket, domain, type | SOCK_CLOEXEC_FLAG, protocol);
  if (fd < 0) return failed(l, "socket", fd);
  int result = hand_over(l, HANDED_SOCKET, (int)fd);
  close_fd((int)fd);
  return result < 0 ? failed(l, "sendmsg", result) : 0;
}

// struct ifreq of linux/if.h, which wants a C library.
struct device_request {
  char name[16];
  int16_t flags;
  uint8_t rest[22];
};

#define DEVICE_UP 1

int step_loopback_up(struct launch *l, struct cursor *c) {
  if (take_end(c) < 0) return -EBADMSG;
  struct device_request request = {.name = "lo"};
  long fd = SYS(socket, AF_UNIX_FAMILY, SOCK_SEQPACKET_TYPE | SOCK_CLOEXEC_FLAG, 0);
  if (fd < 0) return failed(l, "socket", fd);
  // Any socket reaches the devices of its network namespace (netdevice(7)); a kernel without IPv4 has no AF_INET.
  long result = SYS(ioctl, fd, SIOCGIFFLAGS, &request);
  request.flags = (int16_t)(request.flags | DEVICE_UP);
  if (result == 0) result = SYS(ioctl, fd, SIOCSIFFLAGS, &request);
  close_fd((int)fd);
  return result < 0 ? failed(l, "ioctl SIOCSIFFLAGS", result) : 0;
}
