// Steps that hide parts of the container's tree, and the one that gives it a terminal.
#include <linux/magic.h>

#include "launch.h"

#define DEVPTS_PTMX_INODE 2
#define TTY_AUX_MAJOR 5
#define PTMX_MINOR 2
#define MEMORY_MAJOR 1
#define NULL_MINOR 3

static int attach_clone(struct launch *l, int source, int target) {
  int mount = (int)SYS(open_tree, source, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
  if (mount < 0) return failed(l, "open_tree", mount);
  long result = SYS(move_mount, mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
  close_fd(mount);
  return result < 0 ? failed(l, "move_mount", result) : 0;
}

// One empty read-only tmpfs serves all masked directories; it is attached to the first and cloned for the others.
static int mask_directory(struct launch *l, int target) {
  if (l->mask_mount >= 0) return attach_clone(l, l->mask_mount, target);
  long fs = SYS(fsopen, "tmpfs", FSOPEN_CLOEXEC);
  if (fs < 0) return failed(l, "fsopen tmpfs", fs);
  SYS(fsconfig, fs, FSCONFIG_SET_STRING, "nr_blocks", "1", 0);
  SYS(fsconfig, fs, FSCONFIG_SET_STRING, "nr_inodes", "2", 0);
  long result = SYS(fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0);
  uint32_t attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  if (result == 0) result = SYS(fsmount, fs, FSMOUNT_CLOEXEC, attributes);
  close_fd((int)fs);
  if (result < 0) return failed(l, "fsmount tmpfs", result);
  int mount = (int)result;
  result = SYS(move_mount, mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
  if (result < 0) {
    close_fd(mount);
    return failed(l, "move_mount", result);
  }
  l->mask_mount = mount;
  return 0;
}

static int mask_file(struct launch *l, int target) {
  if (l->null_mount < 0) {
    int null = (int)SYS(openat, AT_FDCWD, "/dev/null", O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    if (null < 0) return failed(l, "open /dev/null", null);
    // After pivotRoot this is a name in the image, which may have put anything there (CVE-2025-31133).
    if (!is_device(null, MEMORY_MAJOR, NULL_MINOR)) {
      close_fd(null);
      return failed(l, "/dev/null is not device 1:3", -ENODEV);
    }
    l->null_mount = null;
  }
  return attach_clone(l, l->null_mount, target);
}

int step_mask_path(struct launch *l, struct cursor *c) {
  const char *path = take_text(c);
  if (take_end(c) < 0) return -EBADMSG;
  int target = open_in_root(l, path, O_PATH, 0);
  if (target == -ENOENT || target == -ENOTDIR) return 0;
  if (target < 0) return failed(l, "openat2", target);
  struct statx stat;
  long result = SYS(statx, target, "", AT_EMPTY_PATH, STATX_TYPE, &stat);
  if (result == 0) {
    result = (stat.stx_mode & S_IFMT) == S_IFDIR ? mask_directory(l, target) : mask_file(l, target);
  }
  close_fd(target);
  return (int)result;
}

int step_readonly_path(struct launch *l, struct cursor *c) {
  const char *path = take_text(c);
  if (take_end(c) < 0) return -EBADMSG;
  int target = open_in_root(l, path, O_PATH, 0);
  if (target == -ENOENT || target == -ENOTDIR) return 0;
  if (target < 0) return failed(l, "openat2", target);
  long mount = SYS(open_tree, target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
  long result = mount;
  if (mount >= 0) {
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY};
    result = SYS(mount_setattr, mount, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes);
    if (result == 0) {
      result = SYS(move_mount, mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
    }
    close_fd((int)mount);
  }
  close_fd(target);
  return result < 0 ? failed(l, "read-only bind", result) : 0;
}

// The master of a new pty, from the devpts that is mounted in the container and from nothing that only looks like it:
// a false /dev/pts/ptmx or a name swapped for a pty of the host would bind that one (CVE-2025-52565).
static int open_master(struct launch *l) {
  int path = open_in_root(l, "/dev/pts/ptmx", O_PATH | O_NOFOLLOW, 0);
  if (path < 0) return failed(l, "open /dev/pts/ptmx", path);
  struct statx stat;
  bool genuine = is_filesystem(path, DEVPTS_SUPER_MAGIC) && is_device(path, TTY_AUX_MAJOR, PTMX_MINOR) &&
                 SYS(statx, path, "", AT_EMPTY_PATH, STATX_INO, &stat) == 0 && stat.stx_ino == DEVPTS_PTMX_INODE;
  if (!genuine) {
    close_fd(path);
    return failed(l, "/dev/pts/ptmx is not that of a devpts", -ENODEV);
  }
  // Opened through its descriptor, below the host's /proc: what was verified is what is opened.
  char link[48] = "self/fd/";
  size_t at = text_length(link);
  link[at + format_decimal(link + at, (uint64_t)path)] = '\0';
  // Whoever gets the master of a detached program expects it as posix_openpt(3) makes one.
  int blocking = l->header.host == HOST_DETACHED ? 0 : O_NONBLOCK;
  long master = SYS(openat, l->proc_fd, link, O_RDWR | O_NOCTTY | O_CLOEXEC | blocking, 0);
  close_fd(path);
  return master < 0 ? failed(l, "open /dev/pts/ptmx", master) : (int)master;
}

static int bind_console(struct launch *l, int slave) {
  int target = open_in_root(l, "/dev/console", O_PATH, RESOLVE_NO_SYMLINKS);
  if (target == -ENOENT) {
    struct make_target make = {.mode = 0620, .directory = false};
    target = make_in_root(l, "/dev/console", &make);
  }
  if (target < 0) return failed(l, "open /dev/console", target);
  int result = attach_clone(l, slave, target);
  close_fd(target);
  return result;
}

static int open_slave(struct launch *l, int master, uint32_t rows, uint32_t columns) {
  struct {
    uint16_t rows, columns, width, height;
  } size = {(uint16_t)rows, (uint16_t)columns, 0, 0};
  int unlock = 0;
  long result = SYS(ioctl, master, TIOCSPTLCK, &unlock);
  if (result == 0 && rows > 0 && columns > 0) result = SYS(ioctl, master, TIOCSWINSZ, &size);
  if (result < 0) return failed(l, "ioctl", result);
  long slave = SYS(ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  return slave < 0 ? failed(l, "ioctl TIOCGPTPEER", slave) : (int)slave;
}

int step_open_pty(struct launch *l, struct cursor *c) {
  uint32_t rows = take_u32(c);
  uint32_t columns = take_u32(c);
  bool console = take_u32(c) != 0;
  if (take_end(c) < 0) return -EBADMSG;
  if (l->depth == 0 || l->header.host == HOST_SPAWN) return failed(l, "no parent for the pty", -EINVAL);
  int master = open_master(l);
  if (master < 0) return master;
  int slave = open_slave(l, master, rows, columns);
  long result = slave;
  if (slave >= 0 && console) result = bind_console(l, slave);
  if (result >= 0) {
    // A session leader that leads already answers EPERM; then it is what TIOCSCTTY needs.
    SYS(setsid, 0);
    result = SYS(ioctl, slave, TIOCSCTTY, 0);
    if (result < 0) failed(l, "ioctl TIOCSCTTY", result);
  }
  if (result >= 0) {
    for (int i = 0; i < 3; i++) SYS(dup3, slave, i, 0);
    l->null_stdio = 0;
    struct frame_header frame = {.type = FRAME_PTY};
    if (l->header.host == HOST_DETACHED) {
      result = hand_over(l, HANDED_PTY, master);
    } else {
      result = send_message(l->status_fd, &frame, sizeof frame, master);
    }
    if (result < 0) failed(l, "sendmsg", result);
  }
  close_fd(slave);
  close_fd(master);
  return result < 0 ? (int)result : 0;
}
