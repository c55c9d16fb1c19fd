// The entry of cricket-init: hardens itself, waits for the launch program and hands over to the host it names. It is
// started from a sealed memfd copy (CVE-2019-5736) with the control socket at 3 and nothing in its environment.
#include <linux/magic.h>

#include "hosts.h"

#define ALL_STDIO 7U

void program_main(const long *stack);

static struct launch the_launch;

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

void program_main(const long *stack) {
  struct launch *l = &the_launch;
  (void)stack;
  l->status_fd = CONTROL_FD;
  l->root_fd = l->proc_fd = l->null_mount = l->mask_mount = -1;
  l->child_status = l->host_status = l->child_pidfd = -1;
  l->child_stdio[0] = l->child_stdio[1] = l->child_stdio[2] = -1;
  l->gate_fd = l->kept_first = -1;
  l->null_stdio = ALL_STDIO;
  // Not dumpable: no process of a namespace we join may trace us or look at our descriptors (CVE-2016-9962).
  SYS(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
  // Whatever else the daemon was started with and did not mark close-on-exec goes, before any namespace is joined
  // (CVE-2016-9962), and before descriptors come: their numbers must be free.
  SYS(close_range, TABLE_FD, CLOSE_TO_END, 0);
  SYS(umask, 0);
  SYS(prctl, PR_SET_NAME, "cricket-spare", 0, 0, 0);
  int result = load_program(l);
  if (result < 0) fail_host(l, "read the program", result);
  if (l->needs_proc) open_host_proc(l);
  switch (l->header.host) {
    case HOST_SPAWN:
      SYS(prctl, PR_SET_NAME, "cricket-init", 0, 0, 0);
      spawn_host(l);
    case HOST_DETACHED:
      SYS(prctl, PR_SET_NAME, "cricket-init", 0, 0, 0);
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
