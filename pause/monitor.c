// The monitor: parent of one container. It makes daemon restarts safe: holds the container's stdio, writes its log,
// serves attach clients, and at the end leaves an exit file. After set-up it allocates nothing.
#include "monitor.h"

#define NANOSECONDS 1000000000
#define MILLISECOND_NS 1000000
#define CLOCK_MONOTONIC_ID 1
#define DRAIN_NS (500LL * MILLISECOND_NS)
#define DRAIN_BUDGET (1U << 20)
#define MIN_OUTPUT_ROOM 1024U
#define START_FAILED_EXIT_CODE 128U

enum poll_slot {
  POLL_LISTEN,
  POLL_CHILD,
  POLL_CHILDREN,
  POLL_STATUS,
  POLL_CONSOLE,
  POLL_OOM,
  POLL_OOM_PARENT,
  POLL_OUTPUT,
  POLL_INPUT = POLL_OUTPUT + 2,
  POLL_CLIENTS
};
#define POLL_COUNT (POLL_CLIENTS + MAX_CLIENTS)

// What is typed is little, and these pages stay.
#define INPUT_SIZE 8192U

static struct monitor the_monitor;
static uint8_t input_bytes[INPUT_SIZE];
static uint8_t chunk[CHUNK_SIZE];
static uint8_t rings[MAX_CLIENTS][RING_SIZE] __attribute__((aligned(4096)));

static int take_options(struct monitor *m, const char **log_path, uint32_t *log_limit) {
  struct launch *l = m->launch;
  m->container_dir = take_fd(l, &l->options);
  m->oom_fd = take_fd(l, &l->options);
  m->oom_parent_fd = take_fd(l, &l->options);
  m->watches_oom = m->oom_parent_fd >= 0;
  m->kill_fd = take_fd(l, &l->options);
  m->flags = take_u32(&l->options);
  *log_limit = take_u32(&l->options);
  m->stall_ns = (int64_t)take_u32(&l->options) * MILLISECOND_NS;
  *log_path = take_text(&l->options);
  take_kept(l);
  if (take_end(&l->options) < 0 || *log_limit == 0 || *log_limit > MAX_LOG_LINE_BYTES) return -EBADMSG;
  return m->container_dir < 0 ? -EBADMSG : 0;
}

static int listen_in_container_dir(struct monitor *m) {
  long result = SYS(fchdir, m->container_dir);
  if (result < 0) return (int)result;
  m->listen_fd = listen_here(MONITOR_SOCKET);
  return m->listen_fd < 0 ? m->listen_fd : 0;
}

_Noreturn void give_up(struct monitor *m, const char *what, long error) {
  if (m->launch->child_pid > 0) {
    SYS(pidfd_send_signal, m->pidfd, SIGKILL, 0, 0);
    SYS(wait4, m->pid, 0, __WALL, 0);
  }
  if (m->listen_fd >= 0) SYS(unlinkat, AT_FDCWD, MONITOR_SOCKET, 0);
  struct child_message message = {.numbers = {NO_STEP, (uint32_t)-error}};
  text_copy(message.text, sizeof message.text, what);
  send_report(m, FRAME_FAILED, &message);
  exit_process(1);
}

static bool adopts(const struct monitor *m) { return (m->flags & HOST_ADOPTS) != 0; }

static void set_up(struct monitor *m) {
  struct launch *l = m->launch;
  const char *log_path;
  uint32_t log_limit;
  struct stdio_pipes pipes;
  int result = take_options(m, &log_path, &log_limit);
  if (result < 0) fail_host(l, "read the monitor's options", result);
  SYS(setsid, 0);
  if ((m->flags & HOST_CONSOLE) != 0) l->has_pty = true;
  if (adopts(m)) result = adoption_begin(&m->adoption, m->container_dir, l->has_pty);
  if (result < 0) fail_host(l, "prepare for the runtime", result);
  result = prepare_child(l, (m->flags & MONITOR_STDIN) != 0, &pipes);
  if (result < 0) fail_host(l, "make pipes", result);
  if (l->fork_count == 0) fail_host(l, "a container without a fork step", -EINVAL);
  run_steps(l);
  m->pid = l->child_pid;
  m->pidfd = l->child_pidfd;
  m->status_fd = l->host_status;
  m->input.fd = pipes.input;
  m->output[0] = pipes.output[0];
  m->output[1] = pipes.output[1];
  m->children_fd = watch_children();
  release_child_ends(l);
  for (uint32_t i = 0; i < l->kept_count; i++) close_fd(l->kept_first + (int)i);
  // From here on the container runs its steps beside us. Its own score was set by its program; the monitor must be
  // the last to go, or its container loses log and exit code. Without CAP_SYS_RESOURCE it stays as it is.
  write_proc(l, "self/oom_score_adj", "-1000");
  m->start_time = read_start_time(l, m->pid);
  result = listen_in_container_dir(m);
  if (result < 0) give_up(m, "listen on monitor.sock", result);
  if (log_path[0] != '\0') {
    // The program goes after this: the path is needed again at each rotation.
    static char own_path[PATH_MAX_BYTES];
    if (text_copy(own_path, sizeof own_path, log_path) != text_length(log_path)) result = -ENAMETOOLONG;
    if (result == 0) result = log_open(&m->log, own_path, log_limit);
    if (result < 0) give_up(m, "open the log", result);
  }
  SYS(munmap, l->program, l->header.length);
}

static void close_output(struct monitor *m, int stream) {
  if (m->output[stream] != m->pty) close_fd(m->output[stream]);
  m->output[stream] = -1;
}

static void relay_output(struct monitor *m, int stream) {
  uint32_t room = output_room(m, stream);
  if (room == 0) return;
  long got = read_fd(m->output[stream], chunk, room < CHUNK_SIZE ? room : CHUNK_SIZE);
  if (got == -EAGAIN) return;
  // A pty whose last slave is closed answers EIO.
  if (got <= 0) {
    close_output(m, stream);
    return;
  }
  log_write(&m->log, stream, chunk, (size_t)got);
  broadcast_output(m, stream, chunk, (uint32_t)got);
  if (m->has_exited) m->drain_budget -= (uint32_t)got < m->drain_budget ? (uint32_t)got : m->drain_budget;
}

// What a runtime has left behind is a child of this process, or will be in a moment.
static void kill_children(const struct monitor *m) {
  int status;
  kill_tree(m->launch, m->pid);
  while (reap_child(-1, &status) > 0) {
  }
}

static void take_console(struct monitor *m) {
  int master = adoption_console(&m->adoption);
  if (master >= 0) take_pty(m, master);
  if (master >= 0 || master == -EAGAIN) return;
  kill_children(m);
  give_up(m, "take the terminal from the runtime", master);
}

static void runtime_ended(struct monitor *m, int status) {
  struct adopted process = {-1, -1};
  if (status != 0) {
    struct child_message failure;
    runtime_failure(&failure, status);
    kill_children(m);
    child_failed(m, &failure);
  }
  // It came before the runtime's end, but this process may see both at once.
  if (m->adoption.console >= 0) take_console(m);
  int result = (m->flags & HOST_CONSOLE) != 0 && m->pty < 0 ? -ENOTTY : adoption_finish(&m->adoption, &process);
  if (result < 0) {
    kill_children(m);
    give_up(m, "take over the runtime's process", result);
  }
  m->pid = process.pid;
  m->pidfd = process.pidfd;
  m->start_time = read_start_time(m->launch, m->pid);
  reach_gate(m);
}

static void child_exited(struct monitor *m) {
  int status = 0;
  if (reap_child(m->pid, &status) == 0) return;
  close_fd(m->pidfd);
  m->pidfd = -1;
  while (m->status_fd >= 0) {
    int before = m->status_fd;
    struct pollfd now = {.fd = before, .events = POLLIN, .revents = 0};
    struct __kernel_timespec zero = {0, 0};
    if (SYS(ppoll, &now, 1, &zero, 0, 0) <= 0) break;
    read_status(m);
  }
  if (m->phase == PHASE_SETTING_UP && adopts(m)) {
    runtime_ended(m, status);
    return;
  }
  if (m->phase == PHASE_SETTING_UP) give_up(m, "the launching process was killed", -ECHILD);
  m->has_exited = true;
  fill_exited(&m->exited, status);
  if (m->start_failed) m->exited.exit_code = START_FAILED_EXIT_CODE;
  // In a pid namespace of its own the kernel has killed the rest by now. In a shared one nothing of the container may
  // outlive its first process.
  if (m->kill_fd >= 0) write_fd(m->kill_fd, "1", 1);
  m->exited.oom_kills = count_oom_kills(m);
  m->drain_budget = DRAIN_BUDGET;
  m->drain_until_ns = m->kill_fd >= 0 ? clock_ns(CLOCK_MONOTONIC_ID) + DRAIN_NS : 0;
}

static void prepare_polls(struct monitor *m, struct pollfd *polls) {
  polls[POLL_LISTEN] = (struct pollfd){.fd = m->listen_fd, .events = POLLIN};
  polls[POLL_CHILD] = (struct pollfd){.fd = m->pidfd, .events = POLLIN};
  // Until the launch is over, what ends may be what is to become the container.
  bool launched = m->phase != PHASE_SETTING_UP;
  polls[POLL_CHILDREN] = (struct pollfd){.fd = launched ? m->children_fd : -1, .events = POLLIN};
  polls[POLL_STATUS] = (struct pollfd){.fd = m->status_fd, .events = POLLIN};
  polls[POLL_CONSOLE] = (struct pollfd){.fd = m->adoption.console, .events = POLLIN};
  // The counters are read as they change (memory.events wakes who polls it), see count_oom_kills.
  polls[POLL_OOM] = (struct pollfd){.fd = m->watches_oom ? m->oom_fd : -1, .events = POLLPRI};
  polls[POLL_OOM_PARENT] = (struct pollfd){.fd = m->watches_oom ? m->oom_parent_fd : -1, .events = POLLPRI};
  for (int i = 0; i < 2; i++) {
    bool room = m->output[i] >= 0 && output_room(m, i) >= MIN_OUTPUT_ROOM;
    polls[POLL_OUTPUT + i] = (struct pollfd){.fd = room ? m->output[i] : -1, .events = POLLIN};
  }
  polls[POLL_INPUT] = (struct pollfd){.fd = m->input.used > 0 ? m->input.fd : -1, .events = POLLOUT};
  for (int i = 0; i < MAX_CLIENTS; i++) {
    const struct client *c = &m->clients[i];
    // While the program does not read, input waits in the sockets of those who send it.
    bool waits = m->input.used > 0 && c->header_have == sizeof c->header && c->header.type == FRAME_STDIN;
    int16_t events = (int16_t)((waits ? 0 : POLLIN) | (c->used > 0 ? POLLOUT : 0));
    // Not even its end is of interest then: what it sent before is still to be read.
    polls[POLL_CLIENTS + i] = (struct pollfd){.fd = events == 0 ? -1 : c->fd, .events = events};
  }
}

static long wait_for_events(struct pollfd *polls, int64_t deadline_ns) {
  struct __kernel_timespec timeout = {0, 0};
  if (deadline_ns == INT64_MAX) return SYS(ppoll, polls, POLL_COUNT, 0, 0, 0);
  int64_t left = deadline_ns - clock_ns(CLOCK_MONOTONIC_ID);
  if (left > 0) timeout = (struct __kernel_timespec){left / NANOSECONDS, left % NANOSECONDS};
  return SYS(ppoll, polls, POLL_COUNT, &timeout, 0, 0);
}

static void serve_clients(struct monitor *m, const struct pollfd *polls) {
  for (int i = 0; i < MAX_CLIENTS; i++) {
    uint32_t events = (uint32_t)(uint16_t)polls[POLL_CLIENTS + i].revents;
    if (m->clients[i].fd < 0 || m->clients[i].fd != polls[POLL_CLIENTS + i].fd || events == 0) continue;
    if ((events & POLLOUT) != 0 && !client_flush(&m->clients[i])) {
      drop_client(m, i);
    } else if ((events & POLLIN) != 0) {
      serve_client(m, i);
    } else if ((events & (POLLHUP | POLLERR)) != 0) {
      drop_client(m, i);
    }
  }
}

static bool outputs_closed(const struct monitor *m) { return m->output[0] < 0 && m->output[1] < 0; }

// A runtime that hangs is ended when the daemon says so, or has died: nobody would ever take its container.
static void abandon_runtime(struct monitor *m) {
  bool waited_for = m->clients[CLIENT_DAEMON].fd >= 0 && !m->abandoned;
  if (!adopts(m) || m->phase != PHASE_SETTING_UP || waited_for) return;
  kill_children(m);
  give_up(m, "the runtime did not end in time", -ETIMEDOUT);
}

static bool turn(struct monitor *m) {
  struct pollfd polls[POLL_COUNT];
  abandon_runtime(m);
  int64_t deadline = drop_stalled_clients(m);
  prepare_polls(m, polls);
  bool drained = true;
  for (int i = 0; i < 2; i++) drained = drained && (m->output[i] < 0 || polls[POLL_OUTPUT + i].fd >= 0);
  // Output that a client holds up is waited for by that client's clock: another one would make this a busy loop.
  if (m->has_exited && drained && m->drain_until_ns < deadline) deadline = m->drain_until_ns;
  if (wait_for_events(polls, deadline) < 0) return true;
  for (int i = 0; i < 2; i++) {
    drained = drained && polls[POLL_OUTPUT + i].revents == 0;
    if (polls[POLL_OUTPUT + i].revents != 0) relay_output(m, i);
  }
  if (polls[POLL_CHILDREN].revents != 0) reap_orphans(m->children_fd, m->has_exited ? -1 : m->pid);
  if (polls[POLL_STATUS].revents != 0) read_status(m);
  if (polls[POLL_CONSOLE].revents != 0) take_console(m);
  if (polls[POLL_OOM].revents != 0 || polls[POLL_OOM_PARENT].revents != 0) m->watches_oom = read_oom_kills(m);
  if (polls[POLL_INPUT].revents != 0) input_flush(&m->input);
  if (polls[POLL_LISTEN].revents != 0) accept_client(m);
  serve_clients(m, polls);
  if (m->has_exited) {
    bool late = m->drain_until_ns <= clock_ns(CLOCK_MONOTONIC_ID);
    return !(outputs_closed(m) || (late && (drained || m->drain_budget == 0)));
  }
  if (polls[POLL_CHILD].revents != 0 && m->pidfd == polls[POLL_CHILD].fd) child_exited(m);
  // The pipes usually close just before: then nothing is left to wait for.
  return !(m->has_exited && outputs_closed(m));
}

static bool has_queued_output(const struct monitor *m) {
  for (int i = 0; i < MAX_CLIENTS; i++) {
    if (m->clients[i].used > 0) return true;
  }
  return false;
}

static _Noreturn void finish(struct monitor *m) {
  log_finish(&m->log);
  // Before any socket closes: who sees the end of a connection finds the file.
  write_exit_file(m);
  SYS(unlinkat, AT_FDCWD, MONITOR_SOCKET, 0);
  for (int i = 0; i < MAX_CLIENTS; i++) {
    if (m->clients[i].fd >= 0 && !client_put(&m->clients[i], FRAME_EXITED, &m->exited, sizeof m->exited)) {
      drop_client(m, i);
    }
  }
  for (;;) {
    struct pollfd polls[POLL_COUNT];
    int64_t deadline = drop_stalled_clients(m);
    if (!has_queued_output(m)) break;
    for (int i = 0; i < POLL_COUNT; i++) polls[i] = (struct pollfd){.fd = -1};
    for (int i = 0; i < MAX_CLIENTS; i++) {
      if (m->clients[i].used > 0) polls[POLL_CLIENTS + i] = (struct pollfd){.fd = m->clients[i].fd, .events = POLLOUT};
    }
    wait_for_events(polls, deadline);
    for (int i = 0; i < MAX_CLIENTS; i++) {
      if (polls[POLL_CLIENTS + i].revents != 0 && !client_flush(&m->clients[i])) drop_client(m, i);
    }
  }
  exit_process(0);
}

void monitor_host(struct launch *l) {
  struct monitor *m = &the_monitor;
  m->launch = l;
  m->listen_fd = m->status_fd = m->pidfd = m->children_fd = m->pty = m->adoption.console = m->output[0] = m->output[1] =
      m->input.fd = m->log.fd = -1;
  m->starter = -1;
  m->input.bytes = input_bytes;
  m->input.size = INPUT_SIZE;
  for (int i = 0; i < MAX_CLIENTS; i++) {
    m->clients[i].fd = -1;
    m->clients[i].ring = rings[i];
  }
  client_open(&m->clients[CLIENT_DAEMON], CONTROL_FD);
  SYS(prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  set_up(m);
  while (turn(m)) {
  }
  finish(m);
}
