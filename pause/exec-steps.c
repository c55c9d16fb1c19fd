// The last steps: working directory, the gate, and the program itself.
#include <linux/close_range.h>

#include "launch.h"

#define MAX_SIGNAL 64
#define EXECUTABLE 1  // X_OK of access(2)
#define DEFAULT_UMASK 022
#define MEMORY_MAJOR 1
#define NULL_MINOR 3
#define PROT_READ_WRITE 3
#define MAP_PRIVATE_ANONYMOUS 0x22

static int change_directory(struct launch *l, const char *path, bool create) {
  // No magic links: a working directory of /proc/self/fd/N is a descriptor that somebody left open (CVE-2024-21626).
  int fd = open_in_root(l, path, O_PATH | O_DIRECTORY, 0);
  if (fd == -ENOENT && create) {
    struct make_target target = {.mode = 0755, .directory = true};
    fd = make_in_root(l, path, &target);
  }
  if (fd < 0) return failed(l, "openat2", fd);
  long result = SYS(fchdir, fd);
  close_fd(fd);
  if (result < 0) return failed(l, "fchdir", result);
  char cwd[PATH_MAX_BYTES];
  result = SYS(getcwd, cwd, sizeof cwd);
  // A directory outside of the root reads "(unreachable)/...".
  if (result > 0 && cwd[0] != '/') result = -EXDEV;
  return result < 0 ? failed(l, "getcwd", result) : 0;
}

int step_chdir(struct launch *l, struct cursor *c) {
  const char *path = take_text(c);
  uint32_t flags = take_u32(c);
  if (take_end(c) < 0) return -EBADMSG;
  if ((flags & CHDIR_RETRY) != 0 && !l->chdir_deferred) return 0;
  int result = change_directory(l, path, (flags & CHDIR_CREATE) != 0);
  // Root may be nobody there (an NFS export with root_squash), and the container's user the owner.
  l->chdir_deferred = (flags & CHDIR_DEFER) != 0 && (result == -EACCES || result == -EPERM);
  return l->chdir_deferred ? 0 : result;
}

// The host's /dev/null must not go into a container: root there could change the mode of the host's own device through
// /proc/self/fd/0. The container's is taken; failing that a pipe nobody writes to or reads from.
static void settle_stdio(struct launch *l) {
  if (l->null_stdio == 0 || l->header.host == HOST_SPAWN) return;
  int null = open_in_root(l, "/dev/null", O_PATH | O_NOFOLLOW, 0);
  int usable = -1;
  if (null >= 0 && is_device(null, MEMORY_MAJOR, NULL_MINOR)) {
    usable = open_in_root(l, "/dev/null", O_RDWR | O_NOFOLLOW, 0);
  }
  int ends[2] = {usable, usable};
  if (usable < 0) SYS(pipe2, ends, O_CLOEXEC);
  for (int i = 0; i < 3; i++) {
    if ((l->null_stdio & (1U << i)) != 0) SYS(dup3, i == 0 ? ends[0] : ends[1], i, 0);
  }
  close_fd(null);
  close_fd(ends[0]);
  if (ends[1] != ends[0]) close_fd(ends[1]);
  l->null_stdio = 0;
}

// Nobody stays behind a detached program: it listens itself, and who connects opens the gate. What is reported from
// there on, such as the errno of execve, goes to that connection; execve closes it without a word.
static int wait_for_caller(struct launch *l) {
  close_descriptors(l);
  l->root_fd = l->proc_fd = l->null_mount = l->mask_mount = -1;
  struct frame_header frame = {.type = FRAME_AT_GATE};
  long result = send_message(l->status_fd, &frame, sizeof frame, -1);
  if (result < 0) return failed(l, "sendmsg", result);
  for (;;) {
    long fd = SYS(accept4, l->gate_fd, 0, 0, SOCK_CLOEXEC_FLAG);
    if (fd == -EINTR || fd == -ECONNABORTED) continue;
    if (fd < 0) return failed(l, "accept4", fd);
    // A caller that was killed before it said anything has not started the container.
    if (take_state(l, (int)fd) == 0) {
      SYS(dup3, fd, CONTROL_FD, O_CLOEXEC);
      close_fd((int)fd);
      close_fd(l->gate_fd);
      l->gate_fd = -1;
      return 0;
    }
    close_fd((int)fd);
  }
}

// Socket activation and the like: the program finds what it keeps right behind its stdio.
static void place_kept(struct launch *l) {
  if (l->kept_count == 0) return;
  int control = l->kept_first + (int)l->kept_count;
  SYS(dup3, CONTROL_FD, control, O_CLOEXEC);
  l->status_fd = control;
  // Upwards: each goes to a lower number than its own, so none is overwritten before it was moved.
  for (uint32_t i = 0; i < l->kept_count; i++) SYS(dup3, l->kept_first + (int)i, CONTROL_FD + (int)i, 0);
  SYS(close_range, CONTROL_FD + l->kept_count, CLOSE_TO_END, CLOSE_RANGE_CLOEXEC);
}

int step_wait_gate(struct launch *l, struct cursor *c) {
  if (take_end(c) < 0) return -EBADMSG;
  bool has_gate = l->header.host == HOST_MONITOR || (l->header.host == HOST_DETACHED && l->gate_fd >= 0);
  if (l->depth == 0 || !has_gate) return failed(l, "no gate", -EINVAL);
  settle_stdio(l);
  if (l->header.host == HOST_DETACHED) return wait_for_caller(l);
  struct cursor payload;
  uint16_t next = peek_step(l, &payload);
  if (next == OP_EXEC || next == OP_SECCOMP || next == OP_RUN_HOOK) {
    // A filter that is set last (noNewPrivs) lies in the program and needs none of them. The wait may be long; what the
    // program held open (mounts of the host, other containers' namespaces) goes first.
    SYS(close_range, TABLE_FD, CLOSE_TO_END, 0);
    l->closed = true;
    l->root_fd = l->proc_fd = l->null_mount = l->mask_mount = -1;
  }
  struct frame_header frame = {.type = FRAME_AT_GATE};
  long result = send_message(l->status_fd, &frame, sizeof frame, -1);
  if (result < 0) return failed(l, "sendmsg", result);
  // The host is gone: nobody would watch this container.
  result = await_monitor(l);
  if (result == -EPIPE) exit_process(1);
  return result < 0 ? failed(l, "read the container's state", result) : 0;
}

// The monitor ignores signals, and whoever started the daemon may have had some ignored or blocked; a container begins
// with none of that.
void reset_process(const struct launch *l) {
  struct {
    uintptr_t handler;
    unsigned long flags;
    uintptr_t restorer;
    uint64_t mask;
  } action = {0, 0, 0, 0};
  for (int signal = 1; signal <= MAX_SIGNAL; signal++) {
    if (signal != SIGKILL && signal != SIGSTOP) SYS(rt_sigaction, signal, &action, 0, sizeof action.mask);
  }
  SYS(rt_sigprocmask, SIG_SETMASK, &action.mask, 0, sizeof action.mask);
  if (!l->umask_set) SYS(umask, DEFAULT_UMASK);
}

struct strings {
  const char **at;
  uint32_t count;
};

// An array of pointers into the program, which stays mapped until execve replaces everything.
static int take_strings(struct cursor *c, struct strings *strings) {
  strings->count = take_u32(c);
  if (c->bad || strings->count > (size_t)(c->end - c->at)) return -EBADMSG;
  long memory = SYS(mmap, 0, (strings->count + 1UL) * sizeof(char *), PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
  if (memory < 0 && memory > -4096) return (int)memory;
  strings->at = (const char **)memory;
  for (uint32_t i = 0; i < strings->count; i++) strings->at[i] = take_text(c);
  return c->bad ? -EBADMSG : 0;
}

static int take_command(struct cursor *c, struct strings *argv, struct strings *env) {
  int result = take_strings(c, argv);
  if (result == 0) result = take_strings(c, env);
  if (result == 0) result = take_end(c);
  if (result == 0 && argv->count == 0) result = -EINVAL;
  return result;
}

static const char *search_path(const struct strings *env) {
  static const char name[] = "PATH=";
  for (uint32_t i = 0; i < env->count; i++) {
    if (memcmp(env->at[i], name, sizeof name - 1) == 0) return env->at[i] + sizeof name - 1;
  }
  return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

static long look_at(const char *path) {
  long result = SYS(faccessat2, AT_FDCWD, path, EXECUTABLE, AT_EACCESS);
  if (result < 0) return result;
  long fd = SYS(openat, AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  if (fd < 0) return 0;
  close_fd((int)fd);
  return -EACCES;
}

// What execvp(3) does, without its fallback to a shell: a script without an interpreter line is an error, as with the
// peers. Without `argv` the program is only looked for.
static long for_program(const char *name, const char *directories, const struct strings *argv,
                        const struct strings *env) {
  long error = -ENOENT;
  char path[PATH_MAX_BYTES];
  for (const char *dir = directories;; dir++) {
    size_t length = 0;
    while (dir[length] != '\0' && dir[length] != ':') length++;
    // An empty entry is the working directory (POSIX, "Other Environment Variables").
    size_t at = length == 0 ? text_copy(path, sizeof path, ".") : length;
    if (at + 1 + text_length(name) < sizeof path) {
      if (length > 0) memcpy(path, dir, length);
      path[at] = '/';
      text_copy(path + at + 1, sizeof path - at - 1, name);
      long result = argv == NULL ? look_at(path) : SYS(execve, path, argv->at, env->at);
      if (result == -EACCES) error = -EACCES;
      if (result != -ENOENT && result != -ENOTDIR && result != -EACCES) return result;
    }
    dir += length;
    if (*dir == '\0') return error;
  }
}

static bool has_slash(const char *name) {
  for (; *name != '\0'; name++) {
    if (*name == '/') return true;
  }
  return false;
}

int step_find_program(struct launch *l, struct cursor *c) {
  const char *name = take_text(c);
  const char *directories = take_text(c);
  if (take_end(c) < 0) return -EBADMSG;
  long result = has_slash(name) ? look_at(name) : for_program(name, directories, NULL, NULL);
  // Anything else (a filter may forbid the question) is for execve to say.
  bool known = result == -ENOENT || result == -ENOTDIR || result == -EACCES || result == -ELOOP;
  return known ? failed(l, "", result) : 0;
}

static void announce_exec(const struct launch *l) {
  struct frame_header frame = {.type = FRAME_EXECUTING};
  if (leaves_child(l)) send_message(l->status_fd, &frame, sizeof frame, -1);
}

static struct {
  struct strings argv;
  struct strings env;
} command;

int prepare_exec(struct launch *l, struct cursor *c) {
  if (l->prepared) return 0;
  int result = take_command(c, &command.argv, &command.env);
  if (result < 0) return result;
  l->prepared = true;
  if (!l->closed) {
    settle_stdio(l);
    // Closed, not only close-on-exec: what is closed cannot be reached through /proc while execve runs either.
    close_descriptors(l);
  }
  SYS(close_range, CONTROL_FD, CONTROL_FD, CLOSE_RANGE_CLOEXEC);
  place_kept(l);
  reset_process(l);
  announce_exec(l);
  return 0;
}

int step_exec(struct launch *l, struct cursor *c) {
  int result = prepare_exec(l, c);
  if (result < 0) return result;
  const char *name = command.argv.at[0];
  long error = has_slash(name) ? SYS(execve, name, command.argv.at, command.env.at)
                               : for_program(name, search_path(&command.env), &command.argv, &command.env);
  return failed(l, "execve", error);
}

int step_exec_fd(struct launch *l, struct cursor *c) {
  int fd = take_fd(l, c);
  struct strings argv;
  struct strings env;
  int result = take_command(c, &argv, &env);
  if (result < 0) return result;
  settle_stdio(l);
  // It may be there already, which dup3(2) refuses.
  long moved = fd == TABLE_FD ? fd : SYS(dup3, fd, TABLE_FD, 0);
  if (moved < 0) return failed(l, "dup3", moved);
  SYS(close_range, TABLE_FD + 1, CLOSE_TO_END, 0);
  SYS(close_range, CONTROL_FD, TABLE_FD, CLOSE_RANGE_CLOEXEC);
  // A program of the project that holds namespaces needs no descriptor at all.
  if (l->header.host == HOST_SPAWN) SYS(close_range, 0, 2, 0);
  reset_process(l);
  announce_exec(l);
  long error = SYS(execveat, TABLE_FD, "", argv.at, env.at, AT_EMPTY_PATH);
  return failed(l, "execveat", error);
}
