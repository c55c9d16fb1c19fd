// Steps that mount. A mount is made detached, gets its attributes, and is then moved onto a descriptor that was opened
// inside the root: there is no moment at which it has a wrong attribute or a path that could be exchanged.
#include <linux/magic.h>

#include "launch.h"

#define PROC_ROOT_INODE 1
#define DEVPTS_PTMX_INODE 2

static int move_to(int mount, int target) {
  return (int)SYS(move_mount, mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

static int clone_tree(int dirfd, const char *path, bool recursive) {
  uint32_t flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (path[0] == '\0' ? AT_EMPTY_PATH : 0);
  return (int)SYS(open_tree, dirfd, path, flags | (recursive ? AT_RECURSIVE : 0));
}

static int set_attributes(int mount, const struct mount_attr *attributes, bool recursive) {
  if (attributes->attr_set == 0 && attributes->attr_clr == 0 && attributes->propagation == 0) return 0;
  uint32_t flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
  return (int)SYS(mount_setattr, mount, "", flags, attributes, sizeof *attributes);
}

// The files of /proc that lxcfs and the like replace; anything else below /proc would let an image replace what the
// kernel and the runtime read there (CVE-2019-19921, CVE-2025-52881).
static bool may_cover_proc_file(const char *path) {
  static const char *const allowed[] = {"cpuinfo",
                                        "diskstats",
                                        "meminfo",
                                        "stat",
                                        "swaps",
                                        "uptime",
                                        "loadavg",
                                        "slabinfo",
                                        "net/dev",
                                        "sys/kernel/ns_last_pid",
                                        "sys/crypto/fips_enabled"};
  static const char prefix[] = "/proc/";
  if (memcmp(path, prefix, sizeof prefix - 1) != 0) return false;
  for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
    if (text_equal(path + sizeof prefix - 1, allowed[i])) return true;
  }
  return false;
}

static int check_proc_target(int target, const char *path, bool source_is_proc) {
  if (!is_filesystem(target, PROC_SUPER_MAGIC)) return 0;
  struct statx stat;
  if (SYS(statx, target, "", AT_EMPTY_PATH, STATX_INO, &stat) == 0 && stat.stx_ino == PROC_ROOT_INODE) {
    return source_is_proc ? 0 : -EPERM;
  }
  return may_cover_proc_file(path) ? 0 : -EPERM;
}

// Opens a mount's target in root; with `create` makes it if it is missing.
static int open_target(struct launch *l, const char *path, uint32_t create, int source, uint64_t resolve) {
  int fd = open_in_root(l, path, O_PATH, resolve);
  if (fd != -ENOENT || create == CREATE_NEVER) return fd;
  struct make_target target = {.mode = 0755, .directory = create != CREATE_FILE};
  if (create == CREATE_AUTO) {
    struct statx stat;
    long result = SYS(statx, source, "", AT_EMPTY_PATH, STATX_TYPE, &stat);
    if (result < 0) return (int)result;
    target.directory = (stat.stx_mode & S_IFMT) == S_IFDIR;
  }
  if (!target.directory) target.mode = 0644;
  return make_in_root(l, path, &target);
}

static int attach(struct launch *l, int mount, const char *path, uint32_t create, bool is_proc) {
  // procfs and sysfs go exactly where they belong: a /proc that is a link puts them somewhere else and leaves a
  // false one in place (CVE-2019-19921).
  int target = open_target(l, path, create, mount, is_proc ? RESOLVE_NO_SYMLINKS : 0);
  if (target < 0) return failed(l, "open target", target);
  int result = check_proc_target(target, path, is_proc);
  if (result < 0) {
    close_fd(target);
    return failed(l, "target inside of /proc", result);
  }
  result = move_to(mount, target);
  close_fd(target);
  return result < 0 ? failed(l, "move_mount", result) : 0;
}

// The filesystem says in words what it disliked: "e tmpfs: Bad value for 'size'", the letter being its severity.
static int filesystem_failed(struct launch *l, int fs, const char *call, const char *key, long error) {
  char words[DETAIL_SIZE];
  long length = read_fd(fs, words, sizeof words - 1);
  size_t at = text_copy(l->detail, sizeof l->detail, call);
  at += text_copy(l->detail + at, sizeof l->detail - at, key);
  if (length <= 2) return (int)error;
  if (words[length - 1] == '\n') length--;
  words[length] = '\0';
  at += text_copy(l->detail + at, sizeof l->detail - at, ": ");
  text_copy(l->detail + at, sizeof l->detail - at, words + 2);
  return (int)error;
}

static int configure(struct launch *l, struct cursor *c, int fs) {
  uint32_t count = take_u32(c);
  for (uint32_t i = 0; i < count && !c->bad; i++) {
    const char *key = take_text(c);
    uint32_t kind = take_u32(c);
    long result = -EBADMSG;
    if (kind == FS_OPTION_FLAG) {
      result = SYS(fsconfig, fs, FSCONFIG_SET_FLAG, key, 0, 0);
    } else if (kind == FS_OPTION_STRING) {
      const char *value = take_text(c);
      result = c->bad ? -EBADMSG : SYS(fsconfig, fs, FSCONFIG_SET_STRING, key, value, 0);
    } else if (kind == FS_OPTION_FD) {
      int value = take_fd(l, c);
      result = c->bad ? -EBADMSG : SYS(fsconfig, fs, FSCONFIG_SET_FD, key, 0, value);
    }
    if (result < 0) return filesystem_failed(l, fs, "fsconfig ", key, result);
  }
  if (c->bad) return -EBADMSG;
  long result = SYS(fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0);
  return result < 0 ? filesystem_failed(l, fs, "fsconfig", "", result) : 0;
}

int step_mount_fs(struct launch *l, struct cursor *c) {
  const char *type = take_text(c);
  uint32_t attributes = take_u32(c);
  const char *target = take_text(c);
  uint32_t create = take_u32(c);
  uint32_t copy = take_u32(c);
  if (c->bad) return -EBADMSG;
  long fs = SYS(fsopen, type, FSOPEN_CLOEXEC);
  if (fs < 0) return failed(l, "fsopen", fs);
  int result = configure(l, c, (int)fs);
  long mount = -1;
  if (result == 0) {
    mount = take_end(c) < 0 ? -EBADMSG : SYS(fsmount, fs, FSMOUNT_CLOEXEC, attributes);
    if (mount < 0) result = filesystem_failed(l, (int)fs, "fsmount", "", mount);
  }
  close_fd((int)fs);
  if (result < 0) return result;
  if (copy != 0) result = copy_up(l, (int)mount, target, copy);
  if (result == 0) {
    result = attach(l, (int)mount, target, create, text_equal(type, "proc") || text_equal(type, "sysfs"));
  }
  close_fd((int)mount);
  return result;
}

static bool mark_moved(struct launch *l, int fd) {
  uint32_t index = (uint32_t)fd - TABLE_FD;
  uint8_t bit = (uint8_t)(1U << (index % 8));
  bool before = (l->moved[index / 8] & bit) != 0;
  l->moved[index / 8] |= bit;
  return before;
}

// A detached mount for a `mountTree` step. One of the daemon's is used as it is; only if a program names it twice is
// the second a copy of the first, which by then is attached and may be cloned.
static int take_source(struct launch *l, struct cursor *c, bool recursive) {
  uint32_t kind = take_u32(c);
  if (kind == SOURCE_FD) {
    int fd = take_fd(l, c);
    if (fd < 0) return -EBADMSG;
    if (fd < TABLE_FD || (uint32_t)fd >= TABLE_FD + l->header.table_count) {
      return (int)SYS(fcntl, fd, F_DUPFD_CLOEXEC, 0);
    }
    return mark_moved(l, fd) ? clone_tree(fd, "", recursive) : (int)SYS(fcntl, fd, F_DUPFD_CLOEXEC, 0);
  }
  const char *path = take_text(c);
  if (c->bad) return -EBADMSG;
  if (kind == SOURCE_HOST_PATH) return clone_tree(AT_FDCWD, path, recursive);
  int fd = open_in_root(l, path, O_PATH, 0);
  if (fd < 0) return fd;
  int mount = clone_tree(fd, "", recursive);
  close_fd(fd);
  return mount;
}

// A detached mount and what it is to become.
struct tree {
  int mount;
  struct mount_attr attributes;
  bool recursive;  // the attributes are those of all mounts in it
  uint32_t propagation;
  int idmap;
  bool recursive_idmap;
};

static void take_tree(struct launch *l, struct cursor *c, struct tree *tree) {
  bool recursive = take_u32(c) != 0;
  *tree = (struct tree){.mount = take_source(l, c, recursive)};
  tree->attributes.attr_set = take_u32(c);
  tree->attributes.attr_clr = take_u32(c);
  tree->recursive = take_u32(c) != 0;
  tree->propagation = take_u32(c);
  tree->idmap = take_fd(l, c);
  tree->recursive_idmap = take_u32(c) != 0;
}

static int set_idmap(struct launch *l, const struct tree *tree) {
  struct mount_attr mapped = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (__u64)tree->idmap};
  int result = set_attributes(tree->mount, &mapped, tree->recursive_idmap);
  if (result == -EINVAL) return failed(l, "mount_setattr: a filesystem in it cannot be idmapped", result);
  return result < 0 ? failed(l, "mount_setattr MOUNT_ATTR_IDMAP", result) : 0;
}

static int set_tree(struct launch *l, const struct tree *tree) {
  struct mount_attr attributes = tree->attributes;
  bool same = ((tree->propagation & MS_REC) != 0) == tree->recursive;
  uint32_t propagation = tree->propagation & ~(uint32_t)MS_REC;
  if (same) attributes.propagation = propagation;
  int result = tree->idmap < 0 ? 0 : set_idmap(l, tree);
  if (result < 0) return result;
  result = set_attributes(tree->mount, &attributes, tree->recursive);
  if (result == 0 && !same) {
    struct mount_attr only = {.propagation = propagation};
    result = set_attributes(tree->mount, &only, !tree->recursive);
  }
  return result < 0 ? failed(l, "mount_setattr", result) : 0;
}

int step_mount_tree(struct launch *l, struct cursor *c) {
  struct tree tree;
  take_tree(l, c, &tree);
  const char *target = take_text(c);
  uint32_t create = take_u32(c);
  uint32_t copy = take_u32(c);
  if (take_end(c) < 0) return -EBADMSG;
  if (tree.mount < 0) return failed(l, "open_tree", tree.mount);
  int result = copy == 0 ? 0 : copy_up(l, tree.mount, target, copy);
  // Afterwards: what is to be read-only has to be filled first.
  if (result == 0) result = set_tree(l, &tree);
  if (result == 0) {
    bool to_proc = text_equal(target, "/proc") && is_filesystem(tree.mount, PROC_SUPER_MAGIC);
    result = attach(l, tree.mount, target, create, to_proc);
  }
  close_fd(tree.mount);
  return result;
}

// The first half of a bind mount, for a process that is about to enter a user namespace: there it could neither pass
// the directories above the source, nor map ids, nor take a directory without the mounts below it.
int step_open_mount(struct launch *l, struct cursor *c) {
  struct tree tree;
  take_tree(l, c, &tree);
  if (take_end(c) < 0) {
    close_fd(tree.mount);
    return -EBADMSG;
  }
  if (tree.mount < 0) return failed(l, "open_tree", tree.mount);
  int result = set_tree(l, &tree);
  if (result == 0) return keep_made(l, tree.mount);
  close_fd(tree.mount);
  return result;
}

// A working directory moves along into a new mount namespace, also one whose owner could not walk there.
int step_host_directory(struct launch *l, struct cursor *c) {
  const char *path = take_text(c);
  if (take_end(c) < 0) return -EBADMSG;
  long result = SYS(chdir, path);
  return result < 0 ? failed(l, "chdir", result) : 0;
}

int step_set_mount_attributes(struct launch *l, struct cursor *c) {
  const char *target = take_text(c);
  struct mount_attr attributes = {0};
  attributes.attr_set = take_u32(c);
  attributes.attr_clr = take_u32(c);
  attributes.propagation = take_u32(c) & ~(uint32_t)MS_REC;
  bool recursive = take_u32(c) != 0;
  if (take_end(c) < 0) return -EBADMSG;
  int fd = open_in_root(l, target, O_PATH, 0);
  if (fd < 0) return failed(l, "openat2", fd);
  int result = set_attributes(fd, &attributes, recursive);
  close_fd(fd);
  return result < 0 ? failed(l, "mount_setattr", result) : 0;
}

int step_set_label(struct launch *l, struct cursor *c) {
  const char *target = take_text(c);
  const char *label = take_text(c);
  if (take_end(c) < 0) return -EBADMSG;
  int fd = open_in_root(l, target, O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0) return failed(l, "openat2", fd);
  // With its NUL, as the tools of the field write it.
  long result = SYS(fsetxattr, fd, "security.selinux", label, text_length(label) + 1, 0);
  close_fd(fd);
  return result < 0 ? failed(l, "fsetxattr", result) : 0;
}

int step_set_propagation(struct launch *l, struct cursor *c) {
  const char *path = take_text(c);
  uint32_t flags = take_u32(c);
  if (take_end(c) < 0) return -EBADMSG;
  long result = SYS(mount, 0, path, 0, flags, 0);
  return result < 0 ? failed(l, "mount", result) : 0;
}

int step_attach_rootfs(struct launch *l, struct cursor *c) {
  int mount = take_fd(l, c);
  const char *target = take_text(c);
  if (take_end(c) < 0) return -EBADMSG;
  // As an empty path the working directory is not searched: a user namespace's root may not do that in a directory that
  // is the host's alone.
  bool here = text_equal(target, ".");
  uint32_t flags = MOVE_MOUNT_F_EMPTY_PATH | (here ? MOVE_MOUNT_T_EMPTY_PATH : 0);
  long result = SYS(move_mount, mount, "", AT_FDCWD, here ? "" : target, flags);
  if (result < 0) return failed(l, "move_mount", result);
  l->root_fd = mount;
  return 0;
}

int step_pivot_root(struct launch *l, struct cursor *c) {
  if (take_end(c) < 0) return -EBADMSG;
  if (l->root_fd < 0) return failed(l, "no rootfs", -EINVAL);
  long old = SYS(openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  if (old < 0) return failed(l, "open", old);
  long result = SYS(fchdir, l->root_fd);
  // "." twice puts the old root under the new one at the same place, so no directory for it is needed in the image.
  if (result == 0) result = SYS(pivot_root, ".", ".");
  if (result < 0) return failed(l, "pivot_root", result);
  result = SYS(fchdir, old);
  // A slave first: the unmount must not travel to the host where the host's root is shared.
  if (result == 0) result = SYS(mount, 0, ".", 0, MS_SLAVE | MS_REC, 0);
  if (result == 0) result = SYS(umount2, ".", UMOUNT_DETACH);
  if (result == 0) result = SYS(chdir, "/");
  close_fd((int)old);
  return result < 0 ? failed(l, "umount2", result) : 0;
}

// Takes away what is mounted there, mount by mount, and covers what may not be taken away: mounts that came into a user
// namespace from outside. Slaves first: the unmount must not travel to the host.
static long uncover(const char *path) {
  long result;
  do {
    result = SYS(mount, 0, path, 0, MS_SLAVE | MS_REC, 0);
    if (result == 0) result = SYS(umount2, path, UMOUNT_DETACH);
  } while (result == 0);
  if (result == -ENOENT) return 0;
  if (result != -EINVAL && result != -EPERM) return result;
  return SYS(mount, "tmpfs", path, "tmpfs", MS_RDONLY, 0);
}

int step_move_root(struct launch *l, struct cursor *c) {
  if (take_end(c) < 0) return -EBADMSG;
  if (l->root_fd < 0) return failed(l, "no rootfs", -EINVAL);
  // A new proc or sysfs may be mounted in a user namespace where a whole one is seen already: those of the host would
  // count, as they stay below the new root, and so undo what masks and read-only paths keep from the container.
  long result = uncover("/proc");
  if (result == 0) result = uncover("/sys");
  if (result < 0) return failed(l, "umount2", result);
  result = SYS(fchdir, l->root_fd);
  if (result == 0) result = SYS(mount, ".", "/", 0, MS_MOVE, 0);
  if (result < 0) return failed(l, "mount", result);
  // The working directory is still the rootfs, "/" still what is below it.
  result = SYS(chroot, ".");
  if (result == 0) result = SYS(chdir, "/");
  return result < 0 ? failed(l, "chroot", result) : 0;
}

int step_change_root(struct launch *l, struct cursor *c) {
  int fd = take_fd(l, c);
  if (take_end(c) < 0) return -EBADMSG;
  if (fd >= 0) l->root_fd = fd;
  if (l->root_fd < 0) return failed(l, "no rootfs", -EINVAL);
  long result = SYS(fchdir, l->root_fd);
  if (result == 0) result = SYS(chroot, ".");
  if (result < 0) return failed(l, "chroot", result);
  // Paths in root are looked up from the new root from here on, as after a pivot.
  result = SYS(chdir, "/");
  return result < 0 ? failed(l, "chdir", result) : 0;
}
