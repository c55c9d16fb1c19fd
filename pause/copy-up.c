// tmpcopyup, and volumes that an image declares: a mount that begins with what it covers. The copy is made while the
// mount is still detached, from one descriptor to the other, so that no name of the image is ever followed to somewhere
// else.
#include "launch.h"

// Each level takes a little more than its list from the stack: all of them about a megabyte.
#define MAX_DEPTH 256
#define LIST_SIZE 4096
#define TIME_COUNT 2
#define ATTRIBUTE_SIZE 65536

static char attribute_value[ATTRIBUTE_SIZE];

// linux/dirent.h, of which the kernel exports nothing.
struct entry {
  uint64_t inode;
  int64_t offset;
  uint16_t length;
  uint8_t type;
  char name[];
};

static int copy_directory(int from, int to, uint32_t depth);

// What tmpfs does not take (user attributes before Linux 6.6), or a user namespace may not set, stays behind.
static void copy_attributes(int from, int to) {
  char names[LIST_SIZE];
  long length = SYS(flistxattr, from, names, sizeof names);
  for (long at = 0; at < length; at += (long)text_length(names + at) + 1) {
    long size = SYS(fgetxattr, from, names + at, attribute_value, sizeof attribute_value);
    if (size >= 0) SYS(fsetxattr, to, names + at, attribute_value, size, 0);
  }
}

// Owner before mode: a change of the owner takes set-user-ID bits away. Times last.
static int copy_metadata(int to, const struct statx *stat) {
  struct __kernel_timespec times[TIME_COUNT] = {{stat->stx_atime.tv_sec, stat->stx_atime.tv_nsec},
                                                {stat->stx_mtime.tv_sec, stat->stx_mtime.tv_nsec}};
  long result = SYS(fchown, to, stat->stx_uid, stat->stx_gid);
  if (result == 0) result = SYS(fchmod, to, stat->stx_mode & 07777);
  if (result == 0) result = SYS(utimensat, to, 0, times, 0);
  return (int)result;
}

static int copy_content(int from, int to) {
  for (;;) {
    long copied = SYS(sendfile, to, from, 0, 1 << 30);
    if (copied == -EINTR) continue;
    if (copied <= 0) return (int)copied;
  }
}

static int copy_file(int from, int to, const char *name, const struct statx *stat) {
  int source = (int)SYS(openat, from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
  if (source < 0) return source;
  int target = (int)SYS(openat, to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  int result = target;
  if (target >= 0) result = copy_content(source, target);
  if (result >= 0) {
    copy_attributes(source, target);
    result = copy_metadata(target, stat);
  }
  close_fd(source);
  close_fd(target);
  return result;
}

static int copy_subdirectory(int from, int to, const char *name, uint32_t depth) {
  if (depth == MAX_DEPTH) return -ELOOP;
  int source = (int)SYS(openat, from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
  if (source < 0) return source;
  int result = (int)SYS(mkdirat, to, name, 0700);
  int target = result < 0 ? -1 : (int)SYS(openat, to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
  if (result == 0) result = target < 0 ? target : copy_directory(source, target, depth + 1);
  struct statx stat;
  if (result == 0) result = (int)SYS(statx, source, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stat);
  if (result == 0) {
    copy_attributes(source, target);
    result = copy_metadata(target, &stat);
  }
  close_fd(source);
  close_fd(target);
  return result;
}

static int copy_link(int from, int to, const char *name, const struct statx *stat) {
  char link[PATH_MAX_BYTES];
  long length = SYS(readlinkat, from, name, link, sizeof link - 1);
  if (length < 0) return (int)length;
  link[length] = '\0';
  long result = SYS(symlinkat, link, to, name);
  if (result == 0) result = SYS(fchownat, to, name, stat->stx_uid, stat->stx_gid, AT_SYMLINK_NOFOLLOW);
  return (int)result;
}

static int copy_node(int to, const char *name, const struct statx *stat) {
  uint32_t device =
      (stat->stx_rdev_minor & 0xffU) | (stat->stx_rdev_major & 0xfffU) << 8 | (stat->stx_rdev_minor & 0xfff00U) << 12;
  long result = SYS(mknodat, to, name, stat->stx_mode, device);
  // A user namespace has no devices of its own, and bound ones are not this image's.
  if (result == -EPERM && (stat->stx_mode & S_IFMT) != S_IFIFO) return 0;
  if (result == 0) result = SYS(fchownat, to, name, stat->stx_uid, stat->stx_gid, AT_SYMLINK_NOFOLLOW);
  return (int)result;
}

static int copy_entry(int from, int to, const char *name, uint32_t depth) {
  struct statx stat;
  long result = SYS(statx, from, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &stat);
  if (result < 0) return (int)result;
  switch (stat.stx_mode & S_IFMT) {
    case S_IFDIR:
      return copy_subdirectory(from, to, name, depth);
    case S_IFREG:
      return copy_file(from, to, name, &stat);
    case S_IFLNK:
      return copy_link(from, to, name, &stat);
    default:
      return copy_node(to, name, &stat);
  }
}

static int copy_directory(int from, int to, uint32_t depth) {
  // Not static: the list of the directory above is still being read.
  _Alignas(8) char list[LIST_SIZE];
  for (;;) {
    long length = SYS(getdents64, from, list, sizeof list);
    if (length <= 0) return (int)length;
    for (long at = 0; at < length;) {
      const struct entry *entry = (const struct entry *)(const void *)(list + at);
      const char *name = entry->name;
      at += entry->length;
      if (text_equal(name, ".") || text_equal(name, "..")) continue;
      int result = copy_entry(from, to, name, depth);
      if (result < 0) return result;
    }
  }
}

int copy_up(struct launch *l, int mount, const char *target, uint32_t what) {
  int from = open_in_root(l, target, O_RDONLY | O_DIRECTORY, 0);
  // Nothing there, or nothing that could be listed: the mount point is made, or refused, afterwards.
  if (from == -ENOENT || from == -ENOTDIR) return 0;
  if (from < 0) return failed(l, "open target", from);
  struct statx stat;
  int to = (int)SYS(openat, mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  long result = to < 0 ? to : SYS(statx, from, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stat);
  if (result >= 0) result = copy_directory(from, to, 0);
  if (result == 0 && (what & COPY_UP_OWNER) != 0) result = SYS(fchown, to, stat.stx_uid, stat.stx_gid);
  if (result == 0 && (what & COPY_UP_MODE) != 0) result = SYS(fchmod, to, stat.stx_mode & 07777);
  close_fd(from);
  close_fd(to);
  return result < 0 ? failed(l, "copy what is below", result) : 0;
}
