// Paths inside the rootfs. All of them are resolved by the kernel below the rootfs descriptor (RESOLVE_IN_ROOT), and
// whatever is made is made relative to a parent descriptor that was opened so: a path that is checked first and used
// later can be exchanged in between (CVE-2021-30465), and a plain mkdir -p walks out through a link (CVE-2024-45310).
#include <linux/magic.h>

#include "launch.h"

#define MAX_LINKS 40
#define MAX_RACES 128

static char work[PATH_MAX_BYTES];
static char rest[PATH_MAX_BYTES];

int root_of(struct launch *l) {
  if (l->root_fd >= 0) return l->root_fd;
  long fd = SYS(openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  if (fd >= 0) l->root_fd = (int)fd;
  return (int)fd;
}

int open_in_root(struct launch *l, const char *path, uint64_t flags, uint64_t resolve) {
  struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve};
  int root = root_of(l);
  if (root < 0) return root;
  // EAGAIN: a rename somewhere raced with the walk.
  for (int races = 0;; races++) {
    long fd = SYS(openat2, root, path[0] == '\0' ? "/" : path, &how, sizeof how);
    if (fd == -EINTR || (fd == -EAGAIN && races < MAX_RACES)) continue;
    return (int)fd;
  }
}

static int make_component(int parent, const char *name, bool directory, uint32_t mode) {
  if (directory) {
    long result = SYS(mkdirat, parent, name, mode);
    if (result < 0) return (int)result;
    return (int)SYS(openat, parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
  }
  return (int)SYS(openat, parent, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, mode);
}

// Replaces the link `work[start..end)` by what it says. Images ship such links to what only exists later
// (/etc/resolv.conf into /run), and mounting there means mounting where they point, inside the root.
static int splice_link(int parent, size_t start, size_t end) {
  text_copy(rest, sizeof rest, work + end);
  work[end] = '\0';
  char link[PATH_MAX_BYTES];
  long length = SYS(readlinkat, parent, work + start, link, sizeof link - 1);
  // Not a link: somebody made the entry between our two looks. Walk again.
  if (length == -EINVAL) length = (long)text_copy(link, sizeof link, work + start);
  if (length < 0) return (int)length;
  link[length] = '\0';
  size_t at = link[0] == '/' ? 0 : start;
  if (at + (size_t)length + text_length(rest) + 1 > sizeof work) return -ENAMETOOLONG;
  memcpy(work + at, link, (size_t)length);
  text_copy(work + at + (size_t)length, sizeof work - at - (size_t)length, rest);
  return -EAGAIN;
}

static size_t skip_slashes(size_t at) {
  while (work[at] == '/') at++;
  return at;
}

// One walk over `work`: the descriptor of its end, or -EAGAIN after a dangling link was replaced.
static int walk_and_make(struct launch *l, struct make_target *target) {
  int parent = open_in_root(l, "/", O_PATH | O_DIRECTORY, 0);
  for (size_t start = skip_slashes(0); parent >= 0 && work[start] != '\0';) {
    size_t end = start;
    while (work[end] != '\0' && work[end] != '/') end++;
    size_t next = skip_slashes(end);
    bool last = work[next] == '\0';
    char saved = work[end];
    work[end] = '\0';
    int fd = open_in_root(l, work, last ? O_PATH : O_PATH | O_DIRECTORY, 0);
    if (fd == -ENOENT) {
      bool directory = !last || target->directory;
      fd = make_component(parent, work + start, directory, last || !directory ? target->mode : 0755);
      if (fd >= 0 && last) target->created = true;
    }
    work[end] = saved;
    if (fd == -EEXIST) fd = splice_link(parent, start, end);
    close_fd(parent);
    parent = fd;
    start = next;
  }
  return parent;
}

int make_in_root(struct launch *l, const char *path, struct make_target *target) {
  if (text_length(path) >= sizeof work) return -ENAMETOOLONG;
  text_copy(work, sizeof work, path);
  target->created = false;
  for (int links = 0; links < MAX_LINKS; links++) {
    int fd = walk_and_make(l, target);
    if (fd != -EAGAIN) return fd;
  }
  return -ELOOP;
}

int make_parent_in_root(struct launch *l, const char *path, const char **name) {
  static char parent[PATH_MAX_BYTES];
  static char last[256];
  size_t end = text_length(path);
  if (end >= sizeof parent) return -ENAMETOOLONG;
  while (end > 0 && path[end - 1] == '/') end--;
  size_t start = end;
  while (start > 0 && path[start - 1] != '/') start--;
  if (end - start >= sizeof last) return -ENAMETOOLONG;
  text_copy(parent, start + 1, path);
  text_copy(last, end - start + 1, path + start);
  if (last[0] == '\0' || text_equal(last, ".") || text_equal(last, "..")) return -EINVAL;
  *name = last;
  // Most are there (/dev): one look by the kernel instead of one for each part.
  int there = open_in_root(l, parent, O_PATH, 0);
  if (there != -ENOENT) return there;
  struct make_target target = {.mode = 0755, .directory = true};
  return make_in_root(l, parent, &target);
}

bool is_filesystem(int fd, long magic) {
  struct statfs64 fs;
  return SYS(fstatfs, fd, &fs) == 0 && (long)fs.f_type == magic;
}

bool is_device(int fd, uint32_t major, uint32_t minor) {
  struct statx stat;
  return SYS(statx, fd, "", AT_EMPTY_PATH, STATX_TYPE, &stat) == 0 && (stat.stx_mode & S_IFMT) == S_IFCHR &&
         stat.stx_rdev_major == major && stat.stx_rdev_minor == minor;
}

static int chown_made(int fd, const char *name, uint32_t uid, uint32_t gid) {
  if (uid == 0 && gid == 0) return 0;
  return (int)SYS(fchownat, fd, name, uid, gid, name[0] == '\0' ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW);
}

int step_mkdir_in_root(struct launch *l, struct cursor *c) {
  const char *path = take_text(c);
  struct make_target target = {.mode = take_u32(c), .directory = true};
  uint32_t uid = take_u32(c);
  uint32_t gid = take_u32(c);
  if (take_end(c) < 0) return -EBADMSG;
  int fd = make_in_root(l, path, &target);
  // Not even seen: it may be there for the container's user alone. Whether it is, chdir finds out.
  if (fd == -EACCES) return 0;
  if (fd < 0) return failed(l, "mkdirat", fd);
  int result = target.created ? chown_made(fd, "", uid, gid) : 0;
  close_fd(fd);
  return result < 0 ? failed(l, "fchownat", result) : 0;
}

// An existing node is kept only if it is the same device.
static int check_node(int parent, const char *name, uint32_t mode, uint32_t device) {
  struct statx stat;
  long result = SYS(statx, parent, name, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &stat);
  if (result < 0) return (int)result;
  uint32_t major = (device >> 8) & 0xfffU;
  uint32_t minor = (device & 0xffU) | ((device >> 12) & 0xfff00U);
  if (((uint32_t)stat.stx_mode & S_IFMT) != (mode & S_IFMT)) return -EEXIST;
  if ((mode & S_IFMT) == S_IFIFO) return 0;
  return stat.stx_rdev_major == major && stat.stx_rdev_minor == minor ? 0 : -EEXIST;
}

int step_mknod_in_root(struct launch *l, struct cursor *c) {
  const char *path = take_text(c);
  uint32_t mode = take_u32(c);
  uint64_t device = take_u64(c);
  uint32_t uid = take_u32(c);
  uint32_t gid = take_u32(c);
  if (take_end(c) < 0) return -EBADMSG;
  // The system call takes 32 bits; the low half of the C library's 64-bit form is the same encoding.
  if (device >> 32 != 0) return -EINVAL;
  const char *name;
  int parent = make_parent_in_root(l, path, &name);
  if (parent < 0) return failed(l, "open parent", parent);
  long result = SYS(mknodat, parent, name, mode, (uint32_t)device);
  if (result == -EEXIST) {
    result = check_node(parent, name, mode, (uint32_t)device);
  } else if (result == 0) {
    result = chown_made(parent, name, uid, gid);
  }
  close_fd(parent);
  return result < 0 ? failed(l, "mknodat", result) : 0;
}

int step_symlink_in_root(struct launch *l, struct cursor *c) {
  const char *link_target = take_text(c);
  const char *path = take_text(c);
  if (take_end(c) < 0) return -EBADMSG;
  const char *name;
  int parent = make_parent_in_root(l, path, &name);
  if (parent < 0) return failed(l, "open parent", parent);
  long result = SYS(symlinkat, link_target, parent, name);
  close_fd(parent);
  return result < 0 && result != -EEXIST ? failed(l, "symlinkat", result) : 0;
}
