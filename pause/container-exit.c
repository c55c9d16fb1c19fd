// What is left of a container: how it ended, when, and whether the kernel killed parts of it for memory.
#include "monitor.h"

static size_t put_field(char *to, const char *name, uint64_t value) {
  size_t at = text_copy(to, 32, name);
  return at + format_decimal(to + at, value);
}

static bool read_counter(int fd, uint64_t *value) {
  char text[512];
  static const char key[] = "oom_kill ";
  if (fd < 0) return false;
  long size = SYS(pread64, fd, text, sizeof text, 0);
  for (long at = 0; at + (long)sizeof key - 1 < size; at++) {
    // The key at the beginning of a line: "oom_group_kill 0" must not match.
    if ((at > 0 && text[at - 1] != '\n') || memcmp(text + at, key, sizeof key - 1) != 0) continue;
    const char *digits = text + at + sizeof key - 1;
    *value = parse_decimal(&digits, text + size);
    return true;
  }
  return false;
}

bool read_oom_kills(struct monitor *m) {
  uint64_t in_parent = 0;
  // The parent's first: a kill between the two is then counted twice. The other way round it would be lost.
  read_counter(m->oom_parent_fd, &in_parent);
  if (!read_counter(m->oom_fd, &m->oom_kills)) return false;
  m->oom_kills_in_parent = in_parent;
  return true;
}

uint64_t count_oom_kills(struct monitor *m) {
  uint64_t in_parent = 0;
  // systemd removes a scope as soon as it is empty, which can be before its last process has been waited for. Kills
  // count in all cgroups above as well (v2): what was added there since both were read last was a kill here, or, in
  // the few milliseconds in which the kernel holds notifications back, one in a neighbour.
  if (!read_oom_kills(m) && read_counter(m->oom_parent_fd, &in_parent) && in_parent > m->oom_kills_in_parent) {
    m->oom_kills += in_parent - m->oom_kills_in_parent;
  }
  return m->oom_kills > m->oom_kills_before ? m->oom_kills - m->oom_kills_before : 0;
}

void write_exit_file(const struct monitor *m) {
  char text[256];
  size_t at = put_field(text, "{\"exitCode\":", m->exited.exit_code);
  at += put_field(text + at, ",\"signal\":", m->exited.signal);
  // A string: nanoseconds since 1970 do not fit a JSON number.
  at += put_field(text + at, ",\"finishedAtNs\":\"", (uint64_t)m->exited.finished_at_ns);
  at += put_field(text + at, "\",\"oomKills\":", m->exited.oom_kills);
  at += text_copy(text + at, sizeof text - at, "}\n");
  long fd = SYS(openat, m->container_dir, "exit.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return;
  long written = write_fd((int)fd, text, at);
  close_fd((int)fd);
  // A reader finds a whole file or none.
  if (written == (long)at) SYS(renameat2, m->container_dir, "exit.tmp", m->container_dir, "exit", 0);
}
