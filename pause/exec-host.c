// The relay of one exec: parent of the exec'd process, sends its output and exit status over the control socket. It
// answers when that process ends, even if a child of it keeps its stdout; at the time-out, and when the daemon goes,
// the whole tree dies and is reaped here before the answer.
#include "hosts.h"

#define NANOSECONDS 1000000000
#define MILLISECOND_NS 1000000LL
#define CLOCK_MONOTONIC_ID 1
#define REAP_NS (2000 * MILLISECOND_NS)
#define REAP_STEP_NS MILLISECOND_NS
// Fewer bytes than this are not worth a turn: a slow reader would be served in crumbs.
#define MIN_OUTPUT_ROOM (RING_SIZE / 2)

enum poll_slot {
  POLL_CONTROL,
  POLL_CHILD,
  POLL_CHILDREN,
  POLL_STATUS,
  POLL_CONSOLE,
  POLL_OUTPUT,
  POLL_INPUT = POLL_OUTPUT + 2,
  POLL_COUNT
};

struct relay {
  struct launch *launch;
  int kill_fd;
  uint32_t flags;
  int64_t deadline_ns;        // of the program; INT64_MAX: none
  int64_t adopt_deadline_ns;  // of the runtime that makes the process
  uint64_t output_limit;
  uint64_t output_sent[2];
  int status_fd;
  int pidfd;
  int children_fd;
  int pid;
  struct adoption adoption;
  int pty;
  int output[2];
  bool watches_status;
  bool killed;
  bool has_exited;
  int64_t drain_left[2];  // what was in the pipes when the process ended
  struct frame_exited exited;
  struct input input;
  struct client control;
};

static struct relay the_relay;
// As much as a pipe holds, so that a program's output costs few turns; the ring has room for one such frame.
#define EXEC_CHUNK_SIZE (RING_SIZE - (uint32_t)sizeof(struct frame_header))
static uint8_t chunk[EXEC_CHUNK_SIZE];
static uint8_t input_bytes[FRAME_MAX_PAYLOAD];
static uint8_t ring[RING_SIZE] __attribute__((aligned(4096)));

static bool adopts(const struct relay *r) { return (r->flags & HOST_ADOPTS) != 0; }

static void set_up(struct relay *r) {
  struct launch *l = r->launch;
  struct stdio_pipes pipes;
  r->kill_fd = take_fd(l, &l->options);
  int directory = take_fd(l, &l->options);
  r->flags = take_u32(&l->options);
  uint32_t timeout_ms = take_u32(&l->options);
  uint32_t adopt_timeout_ms = take_u32(&l->options);
  r->output_limit = take_u64(&l->options);
  if (take_end(&l->options) < 0) fail_host(l, "read the exec's options", -EBADMSG);
  r->deadline_ns = timeout_ms == 0 ? INT64_MAX : clock_ns(CLOCK_MONOTONIC_ID) + timeout_ms * MILLISECOND_NS;
  r->adopt_deadline_ns = clock_ns(CLOCK_MONOTONIC_ID) + adopt_timeout_ms * MILLISECOND_NS;
  if ((r->flags & HOST_CONSOLE) != 0) l->has_pty = true;
  int result = adopts(r) ? adoption_begin(&r->adoption, directory, l->has_pty) : 0;
  if (result < 0) fail_host(l, "prepare for the runtime", result);
  result = prepare_child(l, (r->flags & EXEC_STDIN) != 0, &pipes);
  if (result < 0) fail_host(l, "make pipes", result);
  if (l->fork_count == 0) fail_host(l, "an exec without a fork step", -EINVAL);
  run_steps(l);
  r->pid = l->child_pid;
  r->pidfd = l->child_pidfd;
  r->status_fd = l->host_status;
  r->input.fd = pipes.input;
  r->output[0] = pipes.output[0];
  r->output[1] = pipes.output[1];
  // Otherwise the status is looked at once, when the process has ended: one wake-up less for a probe.
  // Only a notify descriptor comes through the channel of an exec.
  bool notifies = l->header.channel != NO_DESCRIPTOR;
  r->watches_status = (r->flags & EXEC_STREAMING) != 0 || l->has_pty || l->fork_count > 1 || notifies || adopts(r);
  r->children_fd = watch_children();
  release_child_ends(l);
}

static void kill_all(struct relay *r) {
  if (r->killed || r->has_exited) return;
  r->killed = true;
  r->deadline_ns = INT64_MAX;
  if (r->kill_fd < 0 || write_fd(r->kill_fd, "1", 1) < 0) kill_tree(r->launch, r->pid);
  // A process that has not reached its cgroup yet is not in it.
  SYS(pidfd_send_signal, r->pidfd, SIGKILL, 0, 0);
}

// What was orphaned to this process is dead already or dying; PID 1 of a small machine may take a second to notice.
static void reap_all(void) {
  int64_t until = 0;
  for (;;) {
    int status;
    long pid = reap_child(-1, &status);
    if (pid < 0) return;
    if (pid > 0) continue;
    int64_t now = clock_ns(CLOCK_MONOTONIC_ID);
    if (until == 0) until = now + REAP_NS;
    if (now >= until) return;
    struct __kernel_timespec pause = {0, REAP_STEP_NS};
    SYS(ppoll, 0, 0, &pause, 0, 0);
  }
}

static _Noreturn void control_lost(struct relay *r) {
  kill_all(r);
  reap_all();
  exit_process(1);
}

static void put(struct relay *r, uint8_t type, const void *payload, size_t length) {
  if (!client_put(&r->control, type, payload, (uint32_t)length)) control_lost(r);
}

static _Noreturn void finish(struct relay *r) {
  while (r->control.used > 0) {
    struct pollfd poll = {.fd = r->control.fd, .events = POLLOUT, .revents = 0};
    if (SYS(ppoll, &poll, 1, 0, 0, 0) > 0 && !client_flush(&r->control)) break;
  }
  exit_process(0);
}

static void child_failed(struct relay *r, const struct child_message *message) {
  struct {
    uint32_t numbers[2];
    char text[DETAIL_SIZE];
  } report = {{message->numbers[0], message->numbers[1]}, ""};
  size_t length = text_copy(report.text, sizeof report.text, message->text);
  put(r, message->header.type, &report, sizeof report.numbers + length);
  if (message->header.type == FRAME_WARNING) return;
  SYS(wait4, r->pid, 0, __WALL, 0);
  finish(r);
}

static void say_started(struct relay *r) {
  uint32_t started[2] = {0, NO_STEP};
  if ((r->flags & EXEC_STREAMING) != 0) put(r, FRAME_STARTED, started, sizeof started);
}

static void end_of_status(struct relay *r) {
  close_fd(r->status_fd);
  r->status_fd = -1;
  // What was executed may be a runtime, whose process is still to come.
  if (!adopts(r)) say_started(r);
}

static void take_pty(struct relay *r, int master) {
  r->pty = master;
  r->output[0] = master;
  r->input.is_pty = true;
  if ((r->flags & EXEC_STDIN) != 0) r->input.fd = master;
}

// False once nothing more is there.
static bool read_status(struct relay *r) {
  struct child_message message;
  int result = read_child_message(r->status_fd, &message);
  if (result == 0) return false;
  if (result < 0) {
    end_of_status(r);
    return false;
  }
  switch (message.header.type) {
    case FRAME_WARNING:
    case FRAME_FAILED:
      child_failed(r, &message);
      return true;
    case FRAME_REFORKED:
      SYS(wait4, r->pid, 0, __WALL, 0);
      close_fd(r->pidfd);
      r->pidfd = message.fd;
      r->pid = (int)message.numbers[0];
      return true;
    case FRAME_LISTENER:
      put(r, FRAME_LISTENER, &(uint32_t){(uint32_t)r->pid}, sizeof(uint32_t));
      return true;
    case FRAME_PTY:
      take_pty(r, message.fd);
      return true;
    default:
      return true;
  }
}

static void close_output(struct relay *r, int stream) {
  if (r->output[stream] != r->pty) close_fd(r->output[stream]);
  r->output[stream] = -1;
}

static void relay_output(struct relay *r, int stream) {
  uint32_t room = client_space(&r->control);
  if (room > EXEC_CHUNK_SIZE) room = EXEC_CHUNK_SIZE;
  if (r->has_exited && r->drain_left[stream] < (int64_t)room) room = (uint32_t)r->drain_left[stream];
  long got = read_fd(r->output[stream], chunk, room);
  if (got == -EAGAIN) return;
  if (got <= 0) {
    r->drain_left[stream] = 0;
    close_output(r, stream);
    return;
  }
  if (r->has_exited) r->drain_left[stream] -= got;
  // Above the limit output is read, or the program would block, and dropped (CVE-2022-1708).
  uint64_t size = (uint64_t)got;
  if (r->output_limit > 0 && size > r->output_limit - r->output_sent[stream]) {
    size = r->output_limit - r->output_sent[stream];
  }
  r->output_sent[stream] += size;
  if (size > 0) put(r, stream == 0 ? FRAME_STDOUT : FRAME_STDERR, chunk, size);
}

static void serve_control(struct relay *r) {
  struct client *c = &r->control;
  switch (client_read(c)) {
    case CLIENT_NOTHING:
      return;
    case CLIENT_GONE:
      control_lost(r);
    case CLIENT_INPUT:
      if (r->input.used == 0 && !input_take(&r->input, c)) control_lost(r);
      return;
    case CLIENT_FRAME:
      break;
  }
  if (c->header.type == FRAME_KILL) {
    kill_all(r);
  } else if (c->header.type == FRAME_STDIN_EOF) {
    r->input.closing = true;
    input_flush(&r->input);
  } else if (c->header.type == FRAME_RESIZE && r->pty >= 0) {
    struct {
      uint16_t rows, columns, width, height;
    } size = {(uint16_t)c->numbers[0], (uint16_t)c->numbers[1], 0, 0};
    SYS(ioctl, r->pty, TIOCSWINSZ, &size);
  }
}

static _Noreturn void give_up(struct relay *r, struct child_message *failure) {
  kill_tree(r->launch, r->pid);
  reap_all();
  child_failed(r, failure);
  exit_process(1);
}

static _Noreturn void runtime_hangs(struct relay *r) {
  struct child_message failure = {.header = {.type = FRAME_FAILED}, .numbers = {NO_STEP, ETIMEDOUT}, .fd = -1};
  text_copy(failure.text, sizeof failure.text, "the runtime did not end in time");
  give_up(r, &failure);
}

static void take_console(struct relay *r) {
  int master = adoption_console(&r->adoption);
  struct child_message failure = {.header = {.type = FRAME_FAILED}, .numbers = {NO_STEP, (uint32_t)-master}, .fd = -1};
  text_copy(failure.text, sizeof failure.text, "take the terminal from the runtime");
  if (master >= 0) {
    take_pty(r, master);
  } else if (master != -EAGAIN) {
    give_up(r, &failure);
  }
}

static void runtime_ended(struct relay *r, int status) {
  struct child_message failure;
  struct adopted process = {-1, -1};
  close_fd(r->pidfd);
  r->pidfd = -1;
  runtime_failure(&failure, status);
  if (status != 0) give_up(r, &failure);
  // It came before the runtime's end, but this process may see both at once.
  if (r->adoption.console >= 0) take_console(r);
  int result = (r->flags & HOST_CONSOLE) != 0 && r->pty < 0 ? -ENOTTY : adoption_finish(&r->adoption, &process);
  if (result < 0) {
    failure.numbers[1] = (uint32_t)-result;
    text_copy(failure.text, sizeof failure.text, "take over the runtime's process");
    give_up(r, &failure);
  }
  r->pid = process.pid;
  r->pidfd = process.pidfd;
  say_started(r);
}

static void child_exited(struct relay *r) {
  int status = 0;
  if (reap_child(r->pid, &status) == 0) return;
  fill_exited(&r->exited, status);
  while (r->status_fd >= 0 && read_status(r)) {
  }
  if (adopts(r) && !r->adoption.done && !r->killed) {
    runtime_ended(r, status);
    return;
  }
  if (r->killed) {
    r->exited.flags |= EXITED_TIMED_OUT;
    reap_all();
  }
  r->has_exited = true;
  r->deadline_ns = INT64_MAX;
  close_fd(r->pidfd);
  r->pidfd = -1;
  for (int i = 0; i < 2; i++) {
    int available = 0;
    // A terminal's count leaves out what its line discipline has not taken over yet, poll(2) does not.
    if (r->output[i] >= 0 && r->output[i] == r->pty) available = (int)RING_SIZE;
    if (r->output[i] >= 0 && r->output[i] != r->pty) SYS(ioctl, r->output[i], FIONREAD, &available);
    r->drain_left[i] = available;
  }
}

static bool drained(const struct relay *r) {
  for (int i = 0; i < 2; i++) {
    if (r->output[i] >= 0 && r->drain_left[i] > 0) return false;
  }
  return true;
}

static void turn(struct relay *r) {
  struct pollfd polls[POLL_COUNT];
  const struct client *c = &r->control;
  bool waits = r->input.used > 0 && c->header_have == sizeof c->header && c->header.type == FRAME_STDIN;
  int16_t control_events = (int16_t)((waits ? 0 : POLLIN) | (c->used > 0 ? POLLOUT : 0));
  polls[POLL_CONTROL] = (struct pollfd){.fd = c->fd, .events = control_events};
  polls[POLL_CHILD] = (struct pollfd){.fd = r->pidfd, .events = POLLIN};
  // Until the launch is over, what ends may be what is to become the process.
  bool launched = adopts(r) ? r->adoption.done : r->launch->fork_count == 1 || r->status_fd < 0;
  polls[POLL_CHILDREN] = (struct pollfd){.fd = launched ? r->children_fd : -1, .events = POLLIN};
  polls[POLL_STATUS] = (struct pollfd){.fd = r->watches_status ? r->status_fd : -1, .events = POLLIN};
  polls[POLL_CONSOLE] = (struct pollfd){.fd = r->adoption.console, .events = POLLIN};
  polls[POLL_INPUT] = (struct pollfd){.fd = r->input.used > 0 ? r->input.fd : -1, .events = POLLOUT};
  for (int i = 0; i < 2; i++) {
    bool reads = client_space(c) >= MIN_OUTPUT_ROOM && (!r->has_exited || r->drain_left[i] > 0);
    polls[POLL_OUTPUT + i] = (struct pollfd){.fd = reads ? r->output[i] : -1, .events = POLLIN};
  }
  bool adopting = adopts(r) && !r->adoption.done && !r->killed;
  int64_t deadline_ns = adopting && r->adopt_deadline_ns < r->deadline_ns ? r->adopt_deadline_ns : r->deadline_ns;
  struct __kernel_timespec timeout = {0, 0};
  if (deadline_ns != INT64_MAX) {
    int64_t left = deadline_ns - clock_ns(CLOCK_MONOTONIC_ID);
    if (left > 0) timeout = (struct __kernel_timespec){left / NANOSECONDS, left % NANOSECONDS};
  }
  // After the end only what is there already is read; only a full ring is waited for.
  bool waits_for = deadline_ns == INT64_MAX && (!r->has_exited || client_space(c) < MIN_OUTPUT_ROOM);
  long ready = SYS(ppoll, polls, POLL_COUNT, waits_for ? 0 : &timeout, 0, 0);
  if (ready < 0) return;
  if (ready == 0 && adopting && deadline_ns != r->deadline_ns) runtime_hangs(r);
  if (ready == 0 && !r->has_exited) kill_all(r);
  if (polls[POLL_CHILDREN].revents != 0) reap_orphans(r->children_fd, r->has_exited ? -1 : r->pid);
  if (polls[POLL_STATUS].revents != 0) read_status(r);
  if (polls[POLL_CONSOLE].revents != 0) take_console(r);
  for (int i = 0; i < 2; i++) {
    if (polls[POLL_OUTPUT + i].revents != 0 && client_space(c) > 0) {
      relay_output(r, i);
    } else if (r->has_exited && polls[POLL_OUTPUT + i].fd >= 0) {
      r->drain_left[i] = 0;
    }
  }
  if ((polls[POLL_CONTROL].revents & POLLOUT) != 0 && !client_flush(&r->control)) control_lost(r);
  if ((polls[POLL_CONTROL].revents & POLLIN) != 0) serve_control(r);
  if (waits && (polls[POLL_CONTROL].revents & (POLLHUP | POLLERR)) != 0) control_lost(r);
  if (polls[POLL_INPUT].revents != 0) input_flush(&r->input);
  if (polls[POLL_CHILD].revents != 0 && polls[POLL_CHILD].fd == r->pidfd) child_exited(r);
}

void exec_host(struct launch *l) {
  struct relay *r = &the_relay;
  r->launch = l;
  r->status_fd = r->pidfd = r->children_fd = r->pty = r->adoption.console = r->output[0] = r->output[1] = r->input.fd =
      -1;
  r->control.ring = ring;
  r->input.bytes = input_bytes;
  r->input.size = FRAME_MAX_PAYLOAD;
  client_open(&r->control, CONTROL_FD);
  // Orphans of the exec'd process come here and not to the daemon.
  SYS(prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  set_up(r);
  while (!r->has_exited || !drained(r)) turn(r);
  put(r, FRAME_EXITED, &r->exited, sizeof r->exited);
  finish(r);
}
