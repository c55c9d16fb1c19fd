// What the launching child tells its monitor, up to execve: the launch is over when its socket closes.
#include "monitor.h"

// Field 22 of /proc/<pid>/stat. The name in field 2 may hold anything, so fields are counted behind its last ")".
uint64_t read_start_time(const struct launch *l, int pid) {
  char path[40];
  char text[1024];
  size_t at = format_decimal(path, (uint64_t)pid);
  text_copy(path + at, sizeof path - at, "/stat");
  int fd = open_proc(l, path, O_RDONLY);
  if (fd < 0) return 0;
  long size = read_fd(fd, text, sizeof text);
  close_fd(fd);
  long end = size - 1;
  while (end > 0 && text[end] != ')') end--;
  int field = 2;
  for (; end > 0 && end < size && field < 22; end++) field += text[end] == ' ' ? 1 : 0;
  const char *digits = text + end;
  return field == 22 ? parse_decimal(&digits, text + size) : 0;
}

static void end_of_status(struct monitor *m) {
  close_fd(m->status_fd);
  m->status_fd = -1;
  if (m->phase != PHASE_STARTING) return;
  // Closed by execve and without a report before: the container's program runs.
  m->phase = PHASE_RUNNING;
  send_started(m, 0, NO_STEP, "");
}

void child_failed(struct monitor *m, const struct child_message *message) {
  if (m->phase == PHASE_SETTING_UP) {
    SYS(wait4, m->pid, 0, __WALL, 0);
    SYS(unlinkat, AT_FDCWD, MONITOR_SOCKET, 0);
    send_report(m, FRAME_FAILED, message);
    exit_process(1);
  }
  send_started(m, message->numbers[1], message->numbers[0], message->text);
  m->phase = PHASE_RUNNING;
  m->start_failed = true;
}

static void take_child(struct monitor *m, const struct child_message *message) {
  // A second fork of the program: its child takes the place of the first, which ends by itself.
  int before = m->pid;
  close_fd(m->pidfd);
  m->pidfd = message->fd;
  m->pid = (int)message->numbers[0];
  m->start_time = read_start_time(m->launch, m->pid);
  SYS(wait4, before, 0, __WALL, 0);
}

static void send_listener(struct monitor *m) {
  uint32_t pid = (uint32_t)m->pid;
  struct client *daemon = &m->clients[CLIENT_DAEMON];
  if (daemon->fd >= 0 && !client_put(daemon, FRAME_LISTENER, &pid, sizeof pid)) drop_client(m, CLIENT_DAEMON);
}

void take_pty(struct monitor *m, int master) {
  m->pty = master;
  m->output[0] = master;
  if ((m->flags & MONITOR_STDIN) != 0) m->input.fd = master;
  m->input.is_pty = true;
}

void reach_gate(struct monitor *m) {
  m->phase = PHASE_AT_GATE;
  for (int i = 0; i < MAX_CLIENTS; i++) {
    if (m->clients[i].fd >= 0) say_hello(m, i);
  }
}

void read_status(struct monitor *m) {
  struct child_message message;
  int result = read_child_message(m->status_fd, &message);
  if (result == 0) return;
  if (result < 0) {
    end_of_status(m);
    return;
  }
  switch (message.header.type) {
    case FRAME_WARNING:
      send_report(m, FRAME_WARNING, &message);
      break;
    case FRAME_FAILED:
      child_failed(m, &message);
      break;
    case FRAME_REFORKED:
      take_child(m, &message);
      break;
    case FRAME_LISTENER:
      send_listener(m);
      break;
    case FRAME_PTY:
      take_pty(m, message.fd);
      break;
    case FRAME_SYNC:
      send_sync(m);
      break;
    case FRAME_AT_GATE:
      reach_gate(m);
      break;
    default:
      break;
  }
}
