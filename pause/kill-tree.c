// Kills a process tree by what /proc says: the way where no cgroup of its own holds the tree.
#include "hosts.h"

#define MAX_PROCESSES 65536
#define MAX_PASSES 16

struct process {
  int pid;
  int parent;
  int session;
  bool zombie;
  bool doomed;
  uint64_t start_time;
};

static struct process processes[MAX_PROCESSES];

static bool read_process(const struct launch *l, int pid, struct process *process) {
  char path[40];
  char text[1024];
  size_t at = format_decimal(path, (uint64_t)pid);
  text_copy(path + at, sizeof path - at, "/stat");
  int fd = open_proc(l, path, O_RDONLY);
  if (fd < 0) return false;
  long size = read_fd(fd, text, sizeof text);
  close_fd(fd);
  // "pid (name) state parent group session ...": the name may hold anything, so it is read from its last ")".
  long end = size - 1;
  while (end > 0 && text[end] != ')') end--;
  if (end <= 0 || end + 4 >= size) return false;
  *process = (struct process){.pid = pid, .zombie = text[end + 2] == 'Z' || text[end + 2] == 'X'};
  const char *digits = text + end + 4;
  process->parent = (int)parse_decimal(&digits, text + size);
  digits++;
  parse_decimal(&digits, text + size);
  digits++;
  process->session = (int)parse_decimal(&digits, text + size);
  int field = 6;
  while (digits < text + size && field < 22) {
    if (*digits++ == ' ') field++;
  }
  process->start_time = parse_decimal(&digits, text + size);
  return true;
}

static size_t list_processes(const struct launch *l) {
  struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
  };
  static _Alignas(8) char entries[16384];
  size_t count = 0;
  int fd = open_proc(l, ".", O_RDONLY | O_DIRECTORY);
  if (fd < 0) return 0;
  for (;;) {
    long size = SYS(getdents64, fd, entries, sizeof entries);
    if (size <= 0) break;
    for (long at = 0; at < size;) {
      const struct entry *entry = (const struct entry *)(const void *)(entries + at);
      const char *name = entry->name;
      uint64_t pid = parse_decimal(&name, entry->name + text_length(entry->name));
      if (*name == '\0' && count < MAX_PROCESSES && read_process(l, (int)pid, &processes[count])) count++;
      at += entry->length;
    }
  }
  close_fd(fd);
  return count;
}

// The kernel lists processes by their numbers, so the list is sorted.
static bool is_doomed(size_t count, int pid) {
  size_t low = 0;
  for (size_t high = count; low < high;) {
    size_t middle = (low + high) / 2;
    if (processes[middle].pid < pid) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < count && processes[low].pid == pid && processes[low].doomed;
}

static void doom_tree(size_t count, int root, int self) {
  for (bool more = true; more;) {
    more = false;
    for (size_t i = 0; i < count; i++) {
      struct process *p = &processes[i];
      if (p->doomed || p->pid == self) continue;
      // Orphans of the tree have this process as their parent (PR_SET_CHILD_SUBREAPER).
      p->doomed = p->pid == root || p->session == root || p->parent == self || is_doomed(count, p->parent);
      more = more || p->doomed;
    }
  }
}

static bool kill_process(const struct launch *l, const struct process *process) {
  struct process now;
  long pidfd = SYS(pidfd_open, process->pid, 0);
  if (pidfd < 0) return false;
  // The pid could be somebody else's by now; once its descriptor is open, a look at the start time decides.
  bool same = read_process(l, process->pid, &now) && now.start_time == process->start_time;
  bool killed = same && !now.zombie && SYS(pidfd_send_signal, pidfd, SIGKILL, 0, 0) == 0;
  close_fd((int)pidfd);
  return killed;
}

void kill_tree(const struct launch *l, int pid) {
  int self = (int)SYS(getpid, 0);
  for (int pass = 0; pass < MAX_PASSES; pass++) {
    bool killed = false;
    size_t count = list_processes(l);
    doom_tree(count, pid, self);
    for (size_t i = 0; i < count; i++) {
      if (processes[i].doomed && !processes[i].zombie && kill_process(l, &processes[i])) killed = true;
    }
    if (!killed) return;
  }
}
