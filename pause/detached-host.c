// A container or exec without a monitor, for engines that wait for it themselves (the OCI command line): the parent
// leaves as soon as it has forked, so that the process becomes the child of the engine's subreaper, and the steps of the
// OCI life cycle at which somebody outside has something to do.
#include "hosts.h"

#define MAX_STATE_BYTES (1U << 20)
#define PROT_READ_WRITE 3
#define MAP_PRIVATE_ANONYMOUS 0x22
#define NANOSECONDS 1000000000
#define HOOK_FAILED 127
#define SEEK_TO_END 2

void close_descriptors(const struct launch *l) {
  uint32_t first = TABLE_FD;
  int kept = l->gate_fd >= 0 ? l->gate_fd : l->kept_first;
  uint32_t count = l->kept_count + (l->gate_fd >= 0 ? 1 : 0);
  if (kept >= 0 && count > 0) {
    if ((uint32_t)kept > first) SYS(close_range, first, kept - 1, 0);
    first = (uint32_t)kept + count;
  }
  SYS(close_range, first, CLOSE_TO_END, 0);
}

static bool read_whole(int fd, uint8_t *to, size_t size) {
  while (size > 0) {
    long got = read_fd(fd, to, size);
    if (got <= 0) return false;
    to += got;
    size -= (size_t)got;
  }
  return true;
}

static int take_bytes(struct launch *l, int fd, uint32_t length) {
  long memory = SYS(mmap, 0, length + 1UL, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
  if (memory < 0 && memory > -4096) return (int)memory;
  if (!read_whole(fd, (uint8_t *)memory, length)) {
    SYS(munmap, memory, length + 1UL);
    return -EPIPE;
  }
  l->state = (const uint8_t *)memory;
  l->state_length = length;
  return 0;
}

int take_state(struct launch *l, int socket) {
  uint32_t length;
  if (!read_whole(socket, (uint8_t *)&length, sizeof length) || length > MAX_STATE_BYTES) return -EPIPE;
  return take_bytes(l, socket, length);
}

int await_monitor(struct launch *l) {
  char mark;
  int file = -1;
  if (receive_message(l->status_fd, &mark, 1, &file, 0) != 1) return -EPIPE;
  if (file < 0) return 0;
  long length = SYS(lseek, file, 0, SEEK_TO_END);
  if (length >= 0 && (unsigned long)length > MAX_STATE_BYTES) length = -EFBIG;
  long result = length < 0 ? length : SYS(lseek, file, 0, 0);
  if (result >= 0) result = take_bytes(l, file, (uint32_t)length);
  // It is a file of the host: nothing of it may be open when the program runs.
  close_fd(file);
  return result == -EPIPE ? -EIO : (int)result;
}

int step_sync(struct launch *l, struct cursor *c) {
  bool has_caller = l->header.host == HOST_DETACHED || l->header.host == HOST_MONITOR;
  if (take_end(c) < 0 || l->depth == 0 || !has_caller) return -EBADMSG;
  struct frame_header frame = {.type = FRAME_SYNC};
  long result = send_message(l->status_fd, &frame, sizeof frame, -1);
  if (result < 0) return failed(l, "sendmsg", result);
  if (l->header.host == HOST_MONITOR) {
    result = await_monitor(l);
    if (result == -EPIPE) exit_process(1);
    return result < 0 ? failed(l, "read the container's state", result) : 0;
  }
  // Closed without an answer: a hook of the runtime failed, or the runtime was killed.
  if (take_state(l, l->status_fd) < 0) exit_process(1);
  return 0;
}

static int take_pointers(struct cursor *c, const char **at, uint32_t most) {
  uint32_t count = take_u32(c);
  if (c->bad || count >= most) return -EBADMSG;
  for (uint32_t i = 0; i < count; i++) at[i] = take_text(c);
  at[count] = NULL;
  return c->bad ? -EBADMSG : 0;
}

// The state goes in as a file: a hook that does not read it must not block us, as a full pipe would.
static int state_file(const struct launch *l) {
  long fd = SYS(memfd_create, "state", 0);
  if (fd < 0) return (int)fd;
  long result = l->state_length == 0 ? 0 : write_fd((int)fd, l->state, l->state_length);
  if (result >= 0) result = SYS(lseek, fd, 0, 0);
  if (result >= 0) return (int)fd;
  close_fd((int)fd);
  return (int)result;
}

static int wait_for_hook(struct launch *l, int pid, int pidfd, uint32_t timeout_s) {
  struct pollfd ended = {.fd = pidfd, .events = POLLIN, .revents = 0};
  struct __kernel_timespec timeout = {timeout_s, 0};
  int status = 0;
  long ready;
  do {
    ready = SYS(ppoll, &ended, 1, timeout_s == 0 ? 0 : &timeout, 0, 0);
  } while (ready == -EINTR);
  if (ready == 0) SYS(pidfd_send_signal, pidfd, SIGKILL, 0, 0);
  SYS(wait4, pid, &status, __WALL, 0);
  close_fd(pidfd);
  if (ready == 0) return failed(l, "hook did not end in time", -ETIMEDOUT);
  return status == 0 ? 0 : failed(l, "hook failed", -ECANCELED);
}

int step_run_hook(struct launch *l, struct cursor *c) {
  static const char *argv[256];
  static const char *env[1024];
  const char *path = take_text(c);
  uint32_t timeout_s = take_u32(c);
  if (take_pointers(c, argv, 256) < 0 || take_pointers(c, env, 1024) < 0 || take_end(c) < 0) return -EBADMSG;
  int state = state_file(l);
  if (state < 0) return failed(l, "memfd_create", state);
  int pidfd = -1;
  struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&pidfd, .exit_signal = SIGCHLD};
  long pid = SYS(clone3, &args, sizeof args);
  if (pid == 0) {
    // A monitor ignores signals, which execve would pass on.
    if (l->header.host == HOST_MONITOR) reset_process(l);
    SYS(dup3, state, 0, 0);
    SYS(close_range, CONTROL_FD, CLOSE_TO_END, 0);
    SYS(execve, path, argv, env);
    exit_process(HOOK_FAILED);
  }
  close_fd(state);
  return pid < 0 ? failed(l, "clone3", pid) : wait_for_hook(l, (int)pid, pidfd, timeout_s);
}

void take_kept(struct launch *l) {
  l->kept_count = take_u32(&l->options);
  for (uint32_t i = 0; i < l->kept_count && !l->options.bad; i++) {
    int fd = take_fd(l, &l->options);
    if (i == 0) l->kept_first = fd;
    // One range is spared when the rest is closed.
    bool in_order = fd == l->kept_first + (int)i && (l->gate_fd < 0 || l->kept_first == l->gate_fd + 1);
    if (fd < 0 || !in_order) l->options.bad = true;
  }
}

void detached_host(struct launch *l) {
  for (int i = 0; i < 3; i++) l->child_stdio[i] = take_fd(l, &l->options);
  l->gate_fd = take_fd(l, &l->options);
  take_kept(l);
  if (take_end(&l->options) < 0) fail_host(l, "read the options", -EBADMSG);
  // Its signals stay as the caller has them until the program itself is executed.
  run_steps(l);
  exit_process(1);
}
