// Reads a launch program and runs its steps in order; reports the one that fails. The steps themselves are in the files
// that are named for them, in root-paths.c and in detached-host.c.
#include "launch.h"

static step_function *const step_functions[OP_COUNT] = {
    [OP_FORK] = step_fork,
    [OP_JOIN_NAMESPACES] = step_join_namespaces,
    [OP_UNSHARE] = step_unshare,
    [OP_NEW_SESSION] = step_new_session,
    [OP_NEW_KEYRING] = step_new_keyring,
    [OP_PARENT_DEATH_SIGNAL] = step_parent_death_signal,
    [OP_JOIN_CGROUP] = step_join_cgroup,
    [OP_RLIMIT] = step_rlimit,
    [OP_WRITE_PROC] = step_write_proc,
    [OP_SETHOSTNAME] = step_sethostname,
    [OP_SETDOMAINNAME] = step_setdomainname,
    [OP_SEND_SOCKET] = step_send_socket,
    [OP_SET_PROPAGATION] = step_set_propagation,
    [OP_ATTACH_ROOTFS] = step_attach_rootfs,
    [OP_MOUNT_FS] = step_mount_fs,
    [OP_MOUNT_TREE] = step_mount_tree,
    [OP_SET_MOUNT_ATTRIBUTES] = step_set_mount_attributes,
    [OP_MKDIR_IN_ROOT] = step_mkdir_in_root,
    [OP_MKNOD_IN_ROOT] = step_mknod_in_root,
    [OP_SYMLINK_IN_ROOT] = step_symlink_in_root,
    [OP_MASK_PATH] = step_mask_path,
    [OP_READONLY_PATH] = step_readonly_path,
    [OP_OPEN_PTY] = step_open_pty,
    [OP_PIVOT_ROOT] = step_pivot_root,
    [OP_UMASK] = step_umask,
    [OP_PERSONALITY] = step_personality,
    [OP_SCHEDULER] = step_scheduler,
    [OP_IO_PRIORITY] = step_io_priority,
    [OP_CPU_AFFINITY] = step_cpu_affinity,
    [OP_MEMORY_POLICY] = step_memory_policy,
    [OP_APPARMOR_EXEC] = step_apparmor_exec,
    [OP_SELINUX_EXEC] = step_selinux_exec,
    [OP_SET_GROUPS] = step_set_groups,
    [OP_SET_IDS] = step_set_ids,
    [OP_CAPABILITIES] = step_capabilities,
    [OP_NO_NEW_PRIVS] = step_no_new_privs,
    [OP_SECCOMP] = step_seccomp,
    [OP_CHDIR] = step_chdir,
    [OP_WAIT_GATE] = step_wait_gate,
    [OP_EXEC] = step_exec,
    [OP_EXEC_FD] = step_exec_fd,
    [OP_SYNC] = step_sync,
    [OP_RUN_HOOK] = step_run_hook,
    [OP_CHANGE_ROOT] = step_change_root,
    [OP_MOVE_ROOT] = step_move_root,
    [OP_LOOPBACK_UP] = step_loopback_up,
    [OP_OPEN_MOUNT] = step_open_mount,
    [OP_MAKE_USER_NAMESPACE] = step_make_user_namespace,
    [OP_HOST_DIRECTORY] = step_host_directory,
    [OP_OWN_STDIO] = step_own_stdio,
    [OP_SET_LABEL] = step_set_label,
    [OP_FIND_PROGRAM] = step_find_program,
};

static bool take(struct cursor *c, void *to, size_t size) {
  if (c->bad || (size_t)(c->end - c->at) < size) {
    c->bad = true;
    memset(to, 0, size);
    return false;
  }
  memcpy(to, c->at, size);
  c->at += size;
  return true;
}

uint32_t take_u32(struct cursor *c) {
  uint32_t value;
  take(c, &value, sizeof value);
  return value;
}

uint64_t take_u64(struct cursor *c) {
  uint64_t value;
  take(c, &value, sizeof value);
  return value;
}

const uint8_t *take_blob(struct cursor *c, uint32_t *length) {
  *length = take_u32(c);
  if (c->bad || (size_t)(c->end - c->at) < *length) {
    c->bad = true;
    *length = 0;
    return c->end;
  }
  const uint8_t *blob = c->at;
  c->at += *length;
  return blob;
}

const char *take_text(struct cursor *c) {
  uint32_t length;
  const uint8_t *text = take_blob(c, &length);
  uint8_t nul = 1;
  take(c, &nul, 1);
  // The NUL must be where the length says: a shorter string would hide bytes from one of the two readers.
  if (c->bad || nul != 0 || text_length((const char *)text) != length) {
    c->bad = true;
    return "";
  }
  return (const char *)text;
}

int take_fd(const struct launch *l, struct cursor *c) {
  uint32_t index = take_u32(c);
  if (index == NO_DESCRIPTOR) return -1;
  if (index >= MADE_FIRST && index - MADE_FIRST < l->made_count) return l->made[index - MADE_FIRST];
  if (index >= l->header.table_count) {
    c->bad = true;
    return -1;
  }
  return TABLE_FD + (int)index;
}

int keep_made(struct launch *l, int fd) {
  if (fd < 0) return fd;
  if (l->made_count == PROGRAM_MAX_MADE) {
    close_fd(fd);
    return failed(l, "too many descriptors", -EMFILE);
  }
  l->made[l->made_count++] = fd;
  return 0;
}

int take_end(struct cursor *c) { return c->bad || c->at != c->end ? -EBADMSG : 0; }

static bool take_step(struct cursor *c, struct step_header *step, struct cursor *payload) {
  if (!take(c, step, sizeof *step)) return false;
  if ((size_t)(c->end - c->at) < step->length) return false;
  if (step->op >= OP_COUNT || step_functions[step->op] == NULL) return false;
  *payload = (struct cursor){c->at, c->at + step->length, false};
  c->at += step->length;
  return true;
}

// The framing of all steps is checked before the first is run: a program is taken whole or not at all.
static int check_steps(struct launch *l) {
  struct cursor steps = l->steps;
  for (uint32_t i = 0; i < l->header.step_count; i++) {
    struct step_header step;
    struct cursor payload;
    if (!take_step(&steps, &step, &payload)) return -EBADMSG;
    if (step.op == OP_FORK) l->fork_count++;
    if (step.op == OP_OPEN_PTY) l->has_pty = true;
    if (step.op == OP_FORK || step.op == OP_WRITE_PROC || step.op == OP_OPEN_PTY || step.op == OP_APPARMOR_EXEC ||
        step.op == OP_SELINUX_EXEC || step.op == OP_MAKE_USER_NAMESPACE) {
      l->needs_proc = true;
    }
  }
  return steps.at == steps.end ? 0 : -EBADMSG;
}

int check_header(const struct program_header *h) {
  if (h->magic != PROGRAM_MAGIC || h->version != PROGRAM_VERSION) return -EBADMSG;
  if (h->length < sizeof *h || h->length > PROGRAM_MAX_LENGTH) return -EBADMSG;
  if (h->options_length > h->length - sizeof *h) return -EBADMSG;
  if (h->step_count == 0 || h->step_count > PROGRAM_MAX_STEPS) return -EBADMSG;
  if (h->table_count > PROGRAM_MAX_DESCRIPTORS || h->host_descriptors > h->table_count) return -EBADMSG;
  if (h->channel != NO_DESCRIPTOR && h->channel >= h->table_count) return -EBADMSG;
  return 0;
}

int load_program(struct launch *l) {
  int result = receive_program(l);
  if (result < 0) return result;
  const uint8_t *options = l->program + sizeof l->header;
  l->options = (struct cursor){options, options + l->header.options_length, false};
  l->steps = (struct cursor){l->options.end, l->program + l->header.length, false};
  return check_steps(l);
}

uint16_t peek_step(const struct launch *l, struct cursor *payload) {
  struct cursor steps = l->steps;
  struct step_header step = {0};
  return take_step(&steps, &step, payload) ? step.op : 0;
}

int failed(struct launch *l, const char *call, long error) {
  text_copy(l->detail, sizeof l->detail, call);
  return (int)error;
}

void report(const struct launch *l, uint8_t type, uint32_t step, int error, const char *text) {
  struct {
    struct frame_header header;
    uint32_t numbers[2];
    char text[DETAIL_SIZE];
  } frame = {{.type = type}, {step, (uint32_t)error}, ""};
  size_t length = text_copy(frame.text, sizeof frame.text, text);
  frame.header.length = (uint32_t)(sizeof frame.numbers + length);
  if (type == FRAME_STARTED) {
    frame.numbers[0] = (uint32_t)error;
    frame.numbers[1] = step;
  }
  send_message(l->status_fd, &frame, sizeof frame.header + frame.header.length, -1);
}

void fail_host(struct launch *l, const char *what, long error) {
  report(l, FRAME_FAILED, NO_STEP, (int)-error, what);
  exit_process(1);
}

int hand_over(const struct launch *l, uint8_t kind, int fd) {
  if (l->header.channel == NO_DESCRIPTOR) return -EBADF;
  long result = send_message(TABLE_FD + (int)l->header.channel, &kind, 1, fd);
  return result < 0 ? (int)result : 0;
}

int run_steps(struct launch *l) {
  for (; l->step < l->header.step_count; l->step++) {
    struct step_header step;
    struct cursor payload;
    if (!take_step(&l->steps, &step, &payload)) fail_host(l, "read the program", -EBADMSG);
    l->detail[0] = '\0';
    int result = step_functions[step.op](l, &payload);
    if (result == RUN_PARENT) return result;
    if (result >= 0) continue;
    if ((step.flags & STEP_OPTIONAL) == 0) {
      report(l, FRAME_FAILED, l->step, -result, l->detail);
      exit_process(1);
    }
    report(l, FRAME_WARNING, l->step, -result, l->detail);
  }
  fail_host(l, "end of the program without exec", -EINVAL);
}
