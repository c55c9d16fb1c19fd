// The entry of cricket-init: hardens itself, reads the launch program and hands over to the host it names. It is started
// from a sealed memfd copy (CVE-2019-5736) with the control socket at 3, the program at 4, the descriptor table from
// header.table_base on, and nothing in its environment.
#include <linux/magic.h>

#include "hosts.h"

#define ALL_STDIO 7U

void program_main(const long *stack);

static struct launch the_launch;

// Only the table survives: whatever else the daemon was started with and did not mark close-on-exec goes, before any
// namespace is joined (CVE-2016-9962).
static void close_inherited(const struct launch *l) {
  uint32_t end = l->header.table_base + l->header.table_count;
  if (l->header.table_base > PROGRAM_FD) SYS(close_range, PROGRAM_FD, l->header.table_base - 1, 0);
  SYS(close_range, end, CLOSE_TO_END, 0);
}

static void open_host_proc(struct launch *l) {
  long fd = SYS(openat, AT_FDCWD, "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  if (fd < 0) fail_host(l, "open /proc", fd);
  if (!is_filesystem((int)fd, PROC_SUPER_MAGIC)) fail_host(l, "/proc is not a procfs", -EINVAL);
  l->proc_fd = (int)fd;
}

// Signals that a shutdown or a closing terminal sends to everything: a monitor outlives them, its container gets its
// own. Writes to a socket whose reader left must be errors and not the end.
static void ignore_signals(void) {
  static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGUSR1, SIGUSR2, SIGXFSZ, SIGTTOU, SIGTTIN};
  struct {
    uintptr_t handler;
    unsigned long flags;
    uintptr_t restorer;
    uint64_t mask;
  } action = {1, 0, 0, 0};
  for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) {
    SYS(rt_sigaction, ignored[i], &action, 0, sizeof action.mask);
  }
  SYS(rt_sigprocmask, SIG_SETMASK, &action.mask, 0, sizeof action.mask);
  // The daemon, or who started it, may ignore SIGCHLD; then children would leave no status to wait for.
  action.handler = 0;
  SYS(rt_sigaction, SIGCHLD, &action, 0, sizeof action.mask);
}

static void begin(struct launch *l) {
  memset(l, 0, sizeof *l);
  l->status_fd = CONTROL_FD;
  l->root_fd = l->proc_fd = l->null_mount = l->mask_mount = -1;
  l->child_status = l->host_status = l->child_pidfd = -1;
  l->child_stdio[0] = l->child_stdio[1] = l->child_stdio[2] = -1;
  l->gate_fd = l->kept_first = -1;
  l->null_stdio = ALL_STDIO;
  int result = load_program(l);
  if (result < 0) fail_host(l, "read the program", result);
  close_inherited(l);
}

void program_main(const long *stack) {
  struct launch *l = &the_launch;
  (void)stack;
  // Not dumpable: no process of a namespace we join may trace us or look at our descriptors (CVE-2016-9962).
  SYS(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
  SYS(umask, 0);
  begin(l);
  if (l->header.host == HOST_SPARE) {
    await_launch(l);
    begin(l);
  }
  if (l->needs_proc) open_host_proc(l);
  switch (l->header.host) {
    case HOST_SPAWN:
      spawn_host(l);
    case HOST_DETACHED:
      detached_host(l);
    case HOST_MONITOR:
      SYS(prctl, PR_SET_NAME, "cricket-monitor", 0, 0, 0);
      ignore_signals();
      monitor_host(l);
    case HOST_EXEC:
      SYS(prctl, PR_SET_NAME, "cricket-exec", 0, 0, 0);
      ignore_signals();
      exec_host(l);
    default:
      fail_host(l, "read the program", -EBADMSG);
  }
}
