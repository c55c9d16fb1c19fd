// Processes that another OCI runtime makes: the host runs `create` or `exec --detach` of it as its child and takes over
// what that leaves. The process is orphaned to this host when the runtime ends, because the host is a subreaper, so its
// exit status comes here as that of a child. Pid and terminal come by way of the host's directory.
#include "hosts.h"

#define PID_FILE "pid"
#define CONSOLE_SOCKET "console.sock"
#define PID_LIMIT (1U << 22)
#define WAIT_FOR_PID 1  // P_PID of waitid(2)

int adoption_begin(struct adoption *a, int directory, bool console) {
  *a = (struct adoption){.directory = directory, .console = -1};
  // The runtime finds its files by name there, also where the path of the directory is too long for a socket.
  long result = SYS(fchdir, directory);
  if (result < 0) return (int)result;
  // A pid of an earlier attempt would be somebody else's by now.
  SYS(unlinkat, directory, PID_FILE, 0);
  if (console) a->console = listen_here(CONSOLE_SOCKET);
  return console && a->console < 0 ? a->console : 0;
}

static void close_console(struct adoption *a) {
  close_fd(a->console);
  a->console = -1;
  SYS(unlinkat, a->directory, CONSOLE_SOCKET, 0);
}

int adoption_console(struct adoption *a) {
  char name[PATH_MAX_BYTES];
  int master;
  if (!a->connected) {
    long fd = SYS(accept4, a->console, 0, 0, SOCK_CLOEXEC_FLAG | SOCK_NONBLOCK_FLAG);
    if (fd < 0) return (int)fd;
    close_fd(a->console);
    a->console = (int)fd;
    a->connected = true;
  }
  // What comes with the master is the name of the terminal in the container, which means nothing here.
  long got = receive_message(a->console, name, sizeof name, &master, MSG_DONTWAIT_FLAG);
  if (got == -EAGAIN) return -EAGAIN;
  close_console(a);
  if (got < 0) return (int)got;
  if (master < 0) return -EBADMSG;
  set_nonblocking(master);
  return master;
}

int adoption_finish(struct adoption *a, struct adopted *process) {
  char text[32];
  if (a->console >= 0) close_console(a);
  long fd = SYS(openat, a->directory, PID_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0);
  if (fd < 0) return (int)fd;
  long size = read_fd((int)fd, text, sizeof text);
  close_fd((int)fd);
  const char *digits = text;
  uint64_t pid = size <= 0 ? 0 : parse_decimal(&digits, text + size);
  if (pid <= 1 || pid >= PID_LIMIT) return -EBADMSG;
  // ECHILD: whatever the runtime named is not what it left here. It must not be reaped by the question: an exec'd
  // process may have ended already.
  long result = SYS(waitid, WAIT_FOR_PID, pid, 0, WEXITED | WNOHANG | WNOWAIT, 0);
  if (result < 0) return (int)result;
  result = SYS(pidfd_open, pid, 0);
  if (result < 0) return (int)result;
  *process = (struct adopted){.pid = (int)pid, .pidfd = (int)result};
  a->done = true;
  return 0;
}

void runtime_failure(struct child_message *message, int status) {
  uint32_t signal = (uint32_t)status & 0x7fU;
  *message = (struct child_message){.header = {.type = FRAME_FAILED}, .numbers = {NO_STEP, ECANCELED}, .fd = -1};
  const char *what = signal != 0 ? "the runtime was killed by signal " : "the runtime ended with status ";
  size_t at = text_copy(message->text, sizeof message->text, what);
  at += format_decimal(message->text + at, signal != 0 ? signal : ((uint32_t)status >> 8) & 0xffU);
  message->text[at] = '\0';
}
