// Steps that change the process itself: scheduling, labels, ids, capabilities, filters.
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/ioprio.h>
#include <linux/sched/types.h>
#include <linux/seccomp.h>

#include "launch.h"

#define CAPABILITY_WORDS 2
#define MAX_CPU_MASK_BYTES 1024U

int step_umask(struct launch *l, struct cursor *c) {
  uint32_t mask = take_u32(c);
  if (take_end(c) < 0) return -EBADMSG;
  SYS(umask, mask);
  l->umask_set = true;
  return 0;
}

int step_personality(struct launch *l, struct cursor *c) {
  uint32_t domain = take_u32(c);
  if (take_end(c) < 0) return -EBADMSG;
  long result = SYS(personality, domain);
  return result < 0 ? failed(l, "personality", result) : 0;
}

int step_scheduler(struct launch *l, struct cursor *c) {
  struct sched_attr attributes = {.size = sizeof attributes};
  attributes.sched_policy = take_u32(c);
  attributes.sched_nice = (int32_t)take_u32(c);
  attributes.sched_priority = take_u32(c);
  attributes.sched_flags = take_u64(c);
  attributes.sched_runtime = take_u64(c);
  attributes.sched_deadline = take_u64(c);
  attributes.sched_period = take_u64(c);
  if (take_end(c) < 0) return -EBADMSG;
  long result = SYS(sched_setattr, 0, &attributes, 0);
  return result < 0 ? failed(l, "sched_setattr", result) : 0;
}

int step_io_priority(struct launch *l, struct cursor *c) {
  uint32_t value = take_u32(c);
  if (take_end(c) < 0) return -EBADMSG;
  long result = SYS(ioprio_set, IOPRIO_WHO_PROCESS, 0, value);
  return result < 0 ? failed(l, "ioprio_set", result) : 0;
}

int step_cpu_affinity(struct launch *l, struct cursor *c) {
  uint32_t length;
  const uint8_t *mask = take_blob(c, &length);
  if (take_end(c) < 0 || length > MAX_CPU_MASK_BYTES) return -EBADMSG;
  long result = SYS(sched_setaffinity, 0, length, mask);
  return result < 0 ? failed(l, "sched_setaffinity", result) : 0;
}

int step_memory_policy(struct launch *l, struct cursor *c) {
  uint32_t mode = take_u32(c);
  uint32_t length;
  const uint8_t *nodes = take_blob(c, &length);
  if (take_end(c) < 0 || length > MAX_CPU_MASK_BYTES || length % sizeof(long) != 0) return -EBADMSG;
  // The kernel reads whole words and counts one bit less than it is told.
  long result = length == 0 ? SYS(set_mempolicy, mode, 0, 0) : SYS(set_mempolicy, mode, nodes, length * 8 + 1);
  return result < 0 ? failed(l, "set_mempolicy", result) : 0;
}

int step_apparmor_exec(struct launch *l, struct cursor *c) {
  const char *profile = take_text(c);
  if (take_end(c) < 0) return -EBADMSG;
  char value[PATH_MAX_BYTES];
  size_t at = text_copy(value, sizeof value, "exec ");
  if (text_length(profile) + at >= sizeof value) return -ENAMETOOLONG;
  text_copy(value + at, sizeof value - at, profile);
  int result = write_proc(l, "thread-self/attr/apparmor/exec", value);
  // Kernels before 5.8 have only the file that all security modules share.
  return result == -ENOENT ? write_proc(l, "thread-self/attr/exec", value) : result;
}

int step_selinux_exec(struct launch *l, struct cursor *c) {
  const char *label = take_text(c);
  if (take_end(c) < 0) return -EBADMSG;
  return write_proc(l, "thread-self/attr/exec", label);
}

int step_set_groups(struct launch *l, struct cursor *c) {
  uint32_t length;
  const uint8_t *groups = take_blob(c, &length);
  if (take_end(c) < 0 || length % sizeof(uint32_t) != 0) return -EBADMSG;
  long result = SYS(setgroups, length / sizeof(uint32_t), groups);
  return result < 0 ? failed(l, "setgroups", result) : 0;
}

// A program that runs as another user must be able to open /dev/stdout, which is a pipe or pty made by root. In a user
// namespace the owner may be unmapped; then it stays as it is.
static void own_stdio(const struct launch *l, uint32_t uid) {
  for (int i = 0; i < 3; i++) {
    if ((l->null_stdio & (1U << i)) == 0) SYS(fchown, i, uid, -1);
  }
}

// Behind a user namespace the owner of the pipes is a stranger, to whom no capability reaches: who opens /dev/stdout
// there must own it, and only the host's root can see to that.
int step_own_stdio(struct launch *l, struct cursor *c) {
  uint32_t uid = take_u32(c);
  if (take_end(c) < 0 || l->depth == 0) return -EBADMSG;
  // Of a detached program they are the caller's own.
  if (l->header.host != HOST_DETACHED) own_stdio(l, uid);
  return 0;
}

int step_set_ids(struct launch *l, struct cursor *c) {
  uint32_t uid = take_u32(c);
  uint32_t gid = take_u32(c);
  if (take_end(c) < 0) return -EBADMSG;
  // -1 is "leave it as it is": root would stay root.
  if (uid == (uint32_t)-1 || gid == (uint32_t)-1) return failed(l, "setresuid", -EINVAL);
  if (uid != 0 && l->header.host != HOST_SPAWN) own_stdio(l, uid);
  long result = SYS(prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0);
  if (result == 0) result = SYS(setresgid, gid, gid, gid);
  if (result < 0) return failed(l, "setresgid", result);
  result = SYS(setresuid, uid, uid, uid);
  return result < 0 ? failed(l, "setresuid", result) : 0;
}

struct capability_sets {
  uint64_t effective;
  uint64_t permitted;
  uint64_t inheritable;
};

static long get_capabilities(struct capability_sets *sets) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[CAPABILITY_WORDS];
  long result = SYS(capget, &header, data);
  sets->effective = data[0].effective | (uint64_t)data[1].effective << 32;
  sets->permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
  sets->inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
  return result;
}

static long set_capabilities(const struct capability_sets *sets) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[CAPABILITY_WORDS] = {
      {(uint32_t)sets->effective, (uint32_t)sets->permitted, (uint32_t)sets->inheritable},
      {(uint32_t)(sets->effective >> 32), (uint32_t)(sets->permitted >> 32), (uint32_t)(sets->inheritable >> 32)},
  };
  return SYS(capset, &header, data);
}

static long drop_bounding(uint64_t keep) {
  for (uint32_t capability = 0; capability < 64; capability++) {
    if ((keep >> capability & 1) != 0) continue;
    long result = SYS(prctl, PR_CAPBSET_DROP, capability, 0, 0, 0);
    if (result == -EINVAL) return 0;  // past the last one this kernel knows
    if (result < 0) return result;
  }
  return 0;
}

static long raise_ambient(uint64_t ambient) {
  long result = SYS(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (uint32_t capability = 0; capability < 64 && result == 0; capability++) {
    if ((ambient >> capability & 1) == 0) continue;
    result = SYS(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
  }
  return result;
}

int step_capabilities(struct launch *l, struct cursor *c) {
  uint64_t bounding = take_u64(c);
  struct capability_sets wanted;
  wanted.effective = take_u64(c);
  wanted.permitted = take_u64(c);
  wanted.inheritable = take_u64(c);
  uint64_t ambient = take_u64(c);
  if (take_end(c) < 0) return -EBADMSG;
  struct capability_sets own;
  long result = get_capabilities(&own);
  if (result < 0) return failed(l, "capget", result);
  // setresuid from root emptied the effective set; dropping from the bounding set needs CAP_SETPCAP in it.
  own.effective = own.permitted;
  result = set_capabilities(&own);
  if (result == 0) result = drop_bounding(bounding);
  if (result < 0) return failed(l, "prctl PR_CAPBSET_DROP", result);
  // What the runtime itself lacks cannot be given: capset would refuse the whole set.
  wanted.permitted &= own.permitted;
  wanted.effective &= wanted.permitted;
  wanted.inheritable &= own.permitted;
  result = set_capabilities(&wanted);
  if (result < 0) return failed(l, "capset", result);
  result = raise_ambient(ambient & wanted.permitted & wanted.inheritable);
  return result < 0 ? failed(l, "prctl PR_CAP_AMBIENT", result) : 0;
}

int step_no_new_privs(struct launch *l, struct cursor *c) {
  if (take_end(c) < 0) return -EBADMSG;
  long result = SYS(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  return result < 0 ? failed(l, "prctl PR_SET_NO_NEW_PRIVS", result) : 0;
}

int step_seccomp(struct launch *l, struct cursor *c) {
  uint32_t flags = take_u32(c);
  bool listener = take_u32(c) != 0;
  uint32_t length;
  const uint8_t *filter = take_blob(c, &length);
  if (take_end(c) < 0 || length % sizeof(struct sock_filter) != 0) return -EBADMSG;
  uint32_t count = length / (uint32_t)sizeof(struct sock_filter);
  if (count == 0 || count > BPF_MAXINSNS) return -EINVAL;
  struct sock_fprog program = {.len = (uint16_t)count, .filter = (struct sock_filter *)(uintptr_t)filter};
  if (!listener) {
    // Nothing but execve is to be done under a filter that comes last, or profiles would have to allow the rest too.
    struct cursor next;
    if (peek_step(l, &next) == OP_EXEC && prepare_exec(l, &next) < 0) return -EBADMSG;
    long result = SYS(seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    return result < 0 ? failed(l, "seccomp", result) : 0;
  }
  // The kernel takes no TSYNC with a listener, and the thread that hands it over must stay out of the filter.
  flags = (flags & ~(uint32_t)SECCOMP_FILTER_FLAG_TSYNC) | SECCOMP_FILTER_FLAG_NEW_LISTENER;
  int result = prepare_listener(l);
  if (result < 0) return failed(l, "clone3", result);
  long fd = SYS(seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
  result = give_listener((int)fd);
  if (fd < 0) return failed(l, "seccomp", fd);
  return result < 0 ? failed(l, "sendmsg", result) : 0;
}
