// The monitor's connections: the daemon, and whoever attaches through monitor.sock.
#include "monitor.h"

#define STATE_NAME "state.json"

void drop_client(struct monitor *m, int index) {
  struct client *c = &m->clients[index];
  bool fed_input = (c->attached & ATTACH_STDIN) != 0;
  client_close(c);
  if (m->starter == index) m->starter = -1;
  // stdin_once: the first client that attached to stdin was the only one.
  if (fed_input && (m->flags & MONITOR_STDIN_ONCE) != 0) {
    m->input.closing = true;
    input_flush(&m->input);
  }
}

void send_errno(struct monitor *m, int index, uint8_t type, int error) {
  uint32_t number = (uint32_t)error;
  if (!client_put(&m->clients[index], type, &number, sizeof number)) drop_client(m, index);
}

void send_report(struct monitor *m, uint8_t type, const struct child_message *message) {
  struct {
    uint32_t numbers[2];
    char text[DETAIL_SIZE];
  } report = {{message->numbers[0], message->numbers[1]}, ""};
  size_t length = text_copy(report.text, sizeof report.text, message->text);
  struct client *c = &m->clients[CLIENT_DAEMON];
  if (c->fd >= 0 && !client_put(c, type, &report, (uint32_t)(sizeof report.numbers + length))) {
    drop_client(m, CLIENT_DAEMON);
  }
}

void send_sync(struct monitor *m) {
  uint32_t pid = (uint32_t)m->pid;
  struct client *c = &m->clients[CLIENT_DAEMON];
  if (c->fd >= 0 && !client_put(c, FRAME_SYNC, &pid, sizeof pid)) drop_client(m, CLIENT_DAEMON);
  // Without the daemon nobody runs the hooks or ever opens the gate.
  if (m->clients[CLIENT_DAEMON].fd < 0) give_up(m, "ask for the runtime's hooks", -EPIPE);
}

void send_started(struct monitor *m, uint32_t error, uint32_t step, const char *text) {
  struct {
    uint32_t numbers[2];
    char text[DETAIL_SIZE];
  } answer = {{error, step}, ""};
  int index = m->starter;
  if (index < 0) return;
  size_t length = text_copy(answer.text, sizeof answer.text, text);
  struct client *c = &m->clients[index];
  if (!client_put(c, FRAME_STARTED, &answer, (uint32_t)(sizeof answer.numbers + length))) drop_client(m, index);
}

void say_hello(struct monitor *m, int index) {
  struct frame_hello hello = {.pid = (uint32_t)m->pid, .start_time = m->start_time};
  if (m->phase == PHASE_RUNNING) hello.flags |= HELLO_STARTED;
  if (m->pty >= 0) hello.flags |= HELLO_TTY;
  if ((m->flags & MONITOR_STDIN) != 0) hello.flags |= HELLO_STDIN;
  if (!client_put(&m->clients[index], FRAME_HELLO, &hello, sizeof hello)) drop_client(m, index);
}

void accept_client(struct monitor *m) {
  long fd = SYS(accept4, m->listen_fd, 0, 0, SOCK_CLOEXEC_FLAG);
  if (fd < 0) return;
  for (int i = 1; i < MAX_CLIENTS; i++) {
    if (m->clients[i].fd >= 0) continue;
    client_open(&m->clients[i], (int)fd);
    say_hello(m, i);
    return;
  }
  close_fd((int)fd);
}

// One byte lets the child go on. Where the daemon has left the container's state, for hooks, the file goes with it: the
// child has no path to it.
static void let_go_on(const struct monitor *m) {
  long state = SYS(openat, m->container_dir, STATE_NAME, O_RDONLY | O_CLOEXEC, 0);
  send_message(m->status_fd, "G", 1, state < 0 ? -1 : (int)state);
  close_fd((int)state);
}

static void start_container(struct monitor *m, int index) {
  if (m->phase != PHASE_AT_GATE || m->has_exited) {
    m->starter = index;
    send_started(m, m->has_exited ? ESRCH : EALREADY, NO_STEP, "open the gate");
    return;
  }
  read_oom_kills(m);
  m->oom_kills_before = m->oom_kills;
  m->starter = index;
  // The runtime that made the container has opened its gate already: the daemon only says so.
  if (m->adoption.done) {
    m->phase = PHASE_RUNNING;
    send_started(m, 0, NO_STEP, "");
    return;
  }
  m->phase = PHASE_STARTING;
  let_go_on(m);
}

static void resize(struct monitor *m, int index) {
  const struct client *c = &m->clients[index];
  struct {
    uint16_t rows, columns, width, height;
  } size = {(uint16_t)c->numbers[0], (uint16_t)c->numbers[1], 0, 0};
  long result = m->pty < 0 ? -ENOTTY : SYS(ioctl, m->pty, TIOCSWINSZ, &size);
  send_errno(m, index, FRAME_RESIZED, (int)-result);
}

static void attach(struct monitor *m, int index) {
  uint32_t wanted = m->clients[index].numbers[0] & (ATTACH_STDIN | ATTACH_STDOUT | ATTACH_STDERR | ATTACH_WAITS);
  if ((m->flags & MONITOR_STDIN) == 0) wanted &= ~ATTACH_STDIN;
  // The answer comes before the first output.
  send_errno(m, index, FRAME_ATTACHED, 0);
  if (m->clients[index].fd >= 0) m->clients[index].attached = wanted;
}

static void end_input(struct monitor *m, const struct client *c) {
  if ((c->attached & ATTACH_STDIN) == 0 || (m->flags & MONITOR_STDIN_ONCE) == 0) return;
  m->input.closing = true;
  input_flush(&m->input);
}

// While the container is being set up its daemon may answer a sync; nobody else and never later.
static void serve_launch(struct monitor *m, int index) {
  bool may = index == CLIENT_DAEMON && m->phase == PHASE_SETTING_UP;
  uint8_t type = m->clients[index].header.type;
  if (may && type == FRAME_SYNCED) {
    let_go_on(m);
  } else if (may && type == FRAME_KILL && (m->flags & HOST_ADOPTS) != 0) {
    m->abandoned = true;
  } else if (may && type == FRAME_KILL) {
    give_up(m, "set up the container", -ECANCELED);
  } else {
    drop_client(m, index);
  }
}

void serve_client(struct monitor *m, int index) {
  struct client *c = &m->clients[index];
  switch (client_read(c)) {
    case CLIENT_NOTHING:
      return;
    case CLIENT_GONE:
      drop_client(m, index);
      return;
    case CLIENT_INPUT:
      // Input without an attachment is refused: it could come from a client that was never let in to stdin.
      if ((c->attached & ATTACH_STDIN) == 0 && (m->flags & MONITOR_STDIN) != 0) {
        drop_client(m, index);
      } else if (m->input.used == 0 && !input_take(&m->input, c)) {
        drop_client(m, index);
      }
      return;
    case CLIENT_FRAME:
      break;
  }
  switch (c->header.type) {
    case FRAME_START:
      start_container(m, index);
      return;
    case FRAME_REOPEN_LOG:
      send_errno(m, index, FRAME_REOPENED, -log_reopen(&m->log));
      return;
    case FRAME_RESIZE:
      resize(m, index);
      return;
    case FRAME_ATTACH:
      attach(m, index);
      return;
    case FRAME_STDIN_EOF:
      end_input(m, c);
      return;
    default:
      serve_launch(m, index);
  }
}

uint32_t output_room(const struct monitor *m, int stream) {
  uint32_t room = CHUNK_SIZE;
  uint32_t bit = stream == LOG_STDOUT ? ATTACH_STDOUT : ATTACH_STDERR;
  for (int i = 0; i < MAX_CLIENTS; i++) {
    const struct client *c = &m->clients[i];
    if (c->fd < 0 || (c->attached & bit) == 0) continue;
    uint32_t space = client_space(c);
    if (space < room) room = space;
  }
  return room;
}

void broadcast_output(struct monitor *m, int stream, const uint8_t *bytes, uint32_t size) {
  uint32_t bit = stream == LOG_STDOUT ? ATTACH_STDOUT : ATTACH_STDERR;
  uint8_t type = stream == LOG_STDOUT ? FRAME_STDOUT : FRAME_STDERR;
  for (int i = 0; i < MAX_CLIENTS; i++) {
    struct client *c = &m->clients[i];
    if (c->fd < 0 || (c->attached & bit) == 0) continue;
    if (!client_put(c, type, bytes, size)) drop_client(m, i);
  }
}

int64_t drop_stalled_clients(struct monitor *m) {
  int64_t next = INT64_MAX;
  int64_t now = 0;
  for (int i = 0; i < MAX_CLIENTS; i++) {
    const struct client *c = &m->clients[i];
    if (c->fd < 0 || c->used == 0 || (c->attached & ATTACH_WAITS) != 0) continue;
    if (now == 0) now = clock_ns(1);
    int64_t deadline = c->progress_ns + m->stall_ns;
    if (deadline <= now) {
      drop_client(m, i);
    } else if (deadline < next) {
      next = deadline;
    }
  }
  return next;
}
