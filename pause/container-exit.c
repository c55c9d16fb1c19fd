// What is left of a container: how it ended, when, and whether the kernel killed parts of it for memory.
#include "monitor.h"

static size_t put_field(char *to, const char *name, uint64_t value) {
  size_t at = text_copy(to, 32, name);
  return at + format_decimal(to + at, value);
}

uint64_t read_oom_kills(int fd) {
  char text[512];
  static const char key[] = "oom_kill ";
  if (fd < 0) return 0;
  long size = SYS(pread64, fd, text, sizeof text, 0);
  for (long at = 0; at + (long)sizeof key - 1 < size; at++) {
    // The key at the beginning of a line: "oom_group_kill 0" must not match.
    if ((at > 0 && text[at - 1] != '\n') || memcmp(text + at, key, sizeof key - 1) != 0) continue;
    const char *digits = text + at + sizeof key - 1;
    return parse_decimal(&digits, text + size);
  }
  return 0;
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
