// The executor of launch programs: its state, and what the files that implement the steps share.
#ifndef CRICKET_LAUNCH_H
#define CRICKET_LAUNCH_H

#include "program.h"
#include "sys.h"

#define DETAIL_SIZE 256
// What run_steps returns in the process that ran a `fork` step; the child never returns.
#define RUN_PARENT 1

// A reader of untrusted lengths: every read is checked against the end, and once one fails all later ones do, so a
// step looks at `bad` only once (CVE-2021-43784: a length that is believed becomes somebody else's payload).
struct cursor {
  const uint8_t *at;
  const uint8_t *end;
  bool bad;
};

struct launch {
  const uint8_t *program;
  struct program_header header;
  struct cursor options;
  struct cursor steps;
  uint32_t step;        // index of the step that is being run
  uint32_t fork_count;  // how many `fork` steps the program has
  bool has_pty;
  bool needs_proc;

  int status_fd;   // where failures go: the control socket, or in a child of a monitor or exec host its status socket
  int root_fd;     // all "in root" paths are below it; -1: not yet known
  int proc_fd;     // the host's procfs, opened before any mount of the program
  int null_mount;  // /dev/null once it was used for a mask
  int mask_mount;  // the empty read-only tmpfs once it was attached
  uint32_t depth;  // how many `fork` steps lie behind this process
  bool umask_set;
  bool closed;          // close_range has been done at the gate
  bool prepared;        // prepare_exec has been done
  bool chdir_deferred;  // a chdir step was refused and left it to the next one
  uint32_t null_stdio;  // bit n: descriptor n is still the host's /dev/null
  uint8_t moved[PROGRAM_MAX_DESCRIPTORS / 8];
  int made[PROGRAM_MAX_MADE];  // descriptors that steps made for later steps, in their order
  uint32_t made_count;

  // Set by the host before it runs the steps.
  int child_status;  // the child's end of the status socket
  int host_status;   // the host's end
  int child_stdio[3];
  // Set by `fork` in the parent.
  int child_pid;
  int child_pidfd;

  // A detached program: where it listens at its gate, and what its process keeps open.
  int gate_fd;
  int kept_first;
  uint32_t kept_count;
  const uint8_t *state;  // the container's state as the caller sent it last, for hooks
  uint32_t state_length;

  char detail[DETAIL_SIZE];  // the call that failed, for the report
};

uint32_t take_u32(struct cursor *c);
uint64_t take_u64(struct cursor *c);
const char *take_text(struct cursor *c);
const uint8_t *take_blob(struct cursor *c, uint32_t *length);
// A descriptor of the table, or one that an earlier step made; -1 for NO_DESCRIPTOR.
int take_fd(const struct launch *l, struct cursor *c);
// Keeps a descriptor for later steps; it is closed with the rest of what the program held.
int keep_made(struct launch *l, int fd);
// Moves to the end of the cursor: 0, or -EBADMSG when a read failed or bytes are left.
int take_end(struct cursor *c);

// Waits for the program and checks it; -EBADMSG when any length in it is wrong.
int load_program(struct launch *l);
int receive_program(struct launch *l);
int check_header(const struct program_header *h);
// Runs the steps. Returns RUN_PARENT in the parent of a `fork`; every failure is reported and ends the process.
int run_steps(struct launch *l);

// Notes which call failed; returns `error` so that a step can end with `return failed(...)`.
int failed(struct launch *l, const char *call, long error);
void report(const struct launch *l, uint8_t type, uint32_t step, int error, const char *text);
// Reports what a host could not do and ends the process.
_Noreturn void fail_host(struct launch *l, const char *what, long error);
// Sends a descriptor to the daemon; `kind` is one of enum handed_over.
int hand_over(const struct launch *l, uint8_t kind, int fd);
// A path below the host's /proc, through the descriptor that was opened first of all.
int open_proc(const struct launch *l, const char *path, uint64_t flags);
int write_proc(struct launch *l, const char *path, const char *value);

struct make_target {
  uint32_t mode;
  bool directory;
  bool created;
};

int root_of(struct launch *l);
int open_in_root(struct launch *l, const char *path, uint64_t flags, uint64_t resolve);
// Opens `path` in root (O_PATH) and makes what is missing of it, following dangling links inside the root.
int make_in_root(struct launch *l, const char *path, struct make_target *target);
// The parent directory of `path` in root, made if missing; `*name` is the last component, valid until the next call.
int make_parent_in_root(struct launch *l, const char *path, const char **name);
// Fills a mount from the directory it is about to cover; `what` has bits of enum copy_up.
int copy_up(struct launch *l, int mount, const char *target, uint32_t what);
int write_id_maps(struct launch *l, int pid, const char *uid_map, const char *gid_map);
bool is_filesystem(int fd, long magic);
bool is_device(int fd, uint32_t major, uint32_t minor);

typedef int step_function(struct launch *l, struct cursor *c);

step_function step_fork, step_join_namespaces, step_unshare, step_new_session, step_new_keyring;
step_function step_parent_death_signal, step_join_cgroup, step_rlimit, step_write_proc, step_sethostname;
step_function step_setdomainname, step_send_socket, step_loopback_up;
step_function step_set_propagation, step_attach_rootfs, step_mount_fs, step_mount_tree, step_set_mount_attributes;
step_function step_set_label;
step_function step_mkdir_in_root, step_mknod_in_root, step_symlink_in_root, step_mask_path, step_readonly_path;
step_function step_open_pty, step_pivot_root, step_move_root, step_change_root;
step_function step_open_mount, step_make_user_namespace, step_host_directory;
step_function step_umask, step_personality, step_scheduler, step_io_priority, step_cpu_affinity, step_memory_policy;
step_function step_apparmor_exec, step_selinux_exec, step_set_groups, step_set_ids, step_capabilities;
step_function step_no_new_privs, step_seccomp, step_chdir, step_wait_gate, step_exec, step_exec_fd, step_find_program;
step_function step_sync, step_run_hook, step_own_stdio;

// Takes what the caller sends: a length and the container's state. -EPIPE when the caller has gone.
int take_state(struct launch *l, int socket);
// Waits until the monitor lets this process go on, and takes the state that comes with it. -EPIPE when it has gone.
int await_monitor(struct launch *l);
// The signals and the mask with which a program begins.
void reset_process(const struct launch *l);
// Closes everything but stdio, the control socket, the gate and what the program keeps.
void close_descriptors(const struct launch *l);
// Before and after the filter: the notify descriptor goes to the daemon by way of a thread that is not filtered.
int prepare_listener(const struct launch *l);
int give_listener(int fd);
// The op of the step that comes next, and its payload; 0 at the end.
uint16_t peek_step(const struct launch *l, struct cursor *payload);
// All that an `exec` step does before execve; -EBADMSG.
int prepare_exec(struct launch *l, struct cursor *c);
// Hosts whose parent leaves once it has forked.
static inline bool leaves_child(const struct launch *l) {
  return l->header.host == HOST_SPAWN || l->header.host == HOST_DETACHED;
}

#endif
