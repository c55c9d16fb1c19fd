// What the hosts share: the child's ends, its messages, its end.
#include "hosts.h"

#define CLOCK_REALTIME_ID 0
#define SIGNAL_BASE 128U
// As many as a monitor serves: a connection that finds the queue full is refused at once (EAGAIN), not kept waiting.
#define BACKLOG 64
#define SOCKET_UMASK 0177
#define WAIT_FOR_ALL 0  // P_ALL of waitid(2)
#define SIGINFO_PID 4

static int make_pipe(int *host_end, int *child_end, int host_index) {
  int ends[2];
  long result = SYS(pipe2, ends, O_CLOEXEC);
  if (result < 0) return (int)result;
  *host_end = ends[host_index];
  *child_end = ends[1 - host_index];
  // Non-blocking on this side only: a container can open the other end of its own pipe through /proc and take or add
  // bytes between our poll and our read.
  return set_nonblocking(*host_end);
}

int prepare_child(struct launch *l, bool want_input, struct stdio_pipes *pipes) {
  int status[2];
  *pipes = (struct stdio_pipes){-1, {-1, -1}};
  long result = SYS(socketpair, AF_UNIX_FAMILY, SOCK_SEQPACKET_TYPE | SOCK_CLOEXEC_FLAG, 0, status);
  if (result < 0) return (int)result;
  l->host_status = status[0];
  l->child_status = status[1];
  if (l->has_pty) return 0;
  if (want_input) result = make_pipe(&pipes->input, &l->child_stdio[0], 1);
  for (int i = 0; i < 2 && result >= 0; i++) result = make_pipe(&pipes->output[i], &l->child_stdio[i + 1], 0);
  return (int)result;
}

void release_child_ends(struct launch *l) {
  close_fd(l->child_status);
  for (int i = 0; i < 3; i++) close_fd(l->child_stdio[i]);
  uint32_t first = TABLE_FD + l->header.host_descriptors;
  uint32_t end = TABLE_FD + l->header.table_count;
  if (first < end) SYS(close_range, first, end - 1, 0);
  // A mount that stayed open here would keep a volume busy for as long as the container lives.
  for (uint32_t i = 0; i < l->made_count; i++) close_fd(l->made[i]);
  l->made_count = 0;
}

int read_child_message(int status_fd, struct child_message *message) {
  struct {
    struct frame_header header;
    uint32_t numbers[2];
    char text[DETAIL_SIZE];
  } bytes = {{0}, {0, 0}, ""};
  long got = receive_message(status_fd, &bytes, sizeof bytes - 1, &message->fd, MSG_DONTWAIT_FLAG);
  if (got == -EAGAIN) return 0;
  if (got <= 0) return -EPIPE;
  message->header = bytes.header;
  message->numbers[0] = bytes.numbers[0];
  message->numbers[1] = bytes.numbers[1];
  text_copy(message->text, sizeof message->text, bytes.text);
  return 1;
}

int listen_here(const char *name) {
  struct sockaddr_un address = {.sun_family = AF_UNIX_FAMILY};
  text_copy(address.sun_path, sizeof address.sun_path, name);
  long fd = SYS(socket, AF_UNIX_FAMILY, SOCK_STREAM_TYPE | SOCK_CLOEXEC_FLAG | SOCK_NONBLOCK_FLAG, 0);
  if (fd < 0) return (int)fd;
  SYS(unlinkat, AT_FDCWD, name, 0);
  SYS(umask, SOCKET_UMASK);
  long result = SYS(bind, fd, &address, sizeof address);
  SYS(umask, 0);
  if (result == 0) result = SYS(listen, fd, BACKLOG);
  if (result == 0) return (int)fd;
  close_fd((int)fd);
  return (int)result;
}

int watch_children(void) {
  uint64_t mask = 1ULL << (SIGCHLD - 1);
  // Blocked, or the kernel would drop it: it is ignored by default.
  if (SYS(rt_sigprocmask, SIG_BLOCK, &mask, 0, sizeof mask) < 0) return -1;
  return (int)SYS(signalfd4, -1, &mask, sizeof mask, SOCK_CLOEXEC_FLAG | SOCK_NONBLOCK_FLAG);
}

void reap_orphans(int watch, int own) {
  // struct signalfd_siginfo and siginfo_t have 128 bytes each; the pid in the latter is behind three ints and padding.
  union {
    uint8_t bytes[128];
    int numbers[32];
  } info;
  read_fd(watch, info.bytes, sizeof info.bytes);
  for (;;) {
    info.numbers[SIGINFO_PID] = 0;
    long result = SYS(waitid, WAIT_FOR_ALL, 0, info.bytes, WEXITED | WNOHANG | WNOWAIT, 0);
    int pid = info.numbers[SIGINFO_PID];
    if (result < 0 || pid == 0 || pid == own) return;
    SYS(wait4, pid, 0, WNOHANG | __WALL, 0);
  }
}

void fill_exited(struct frame_exited *exited, int status) {
  uint32_t signal = (uint32_t)status & 0x7fU;
  *exited = (struct frame_exited){.signal = signal};
  exited->exit_code = signal != 0 ? SIGNAL_BASE + signal : ((uint32_t)status >> 8) & 0xffU;
  exited->finished_at_ns = clock_ns(CLOCK_REALTIME_ID);
}

void spawn_host(struct launch *l) {
  run_steps(l);
  exit_process(1);
}
