// Stands where criu does, for tests of all that is around it: speaks its RPC, writes an image at a dump, and at a restore
// makes one process where a real one would put it. The file with ".mode" behind its name says what goes wrong.
#include <fcntl.h>
#include <linux/capability.h>
#include <mntent.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { DUMP = 1, RESTORE = 2, NOTIFY = 6 };

struct span {
  const uint8_t *at, *end;
};

struct field {
  uint64_t number, value;
  struct span bytes;
};

static int session;
static uint8_t request[65536];
static char mode[32];

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static uint64_t varint(struct span *from) {
  uint64_t value = 0;
  for (int shift = 0; from->at < from->end; shift += 7) {
    uint8_t byte = *from->at++;
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return value;
}

// Numbers and bytes are all that is sent.
static int next_field(struct span *from, struct field *field) {
  if (from->at >= from->end) return 0;
  uint64_t key = varint(from);
  *field = (struct field){.number = key >> 3, .value = varint(from)};
  if ((key & 7) != 2) return 1;
  field->bytes = (struct span){from->at, from->at + field->value};
  from->at += field->value;
  return 1;
}

static struct field find(struct span in, uint64_t number) {
  struct field field;
  while (next_field(&in, &field)) {
    if (field.number == number) return field;
  }
  return (struct field){0};
}

static char *text(struct field field) {
  return strndup((const char *)field.bytes.at, (size_t)(field.bytes.end - field.bytes.at));
}

static void answer(uint8_t type, int success, int pid) {
  uint8_t bytes[32] = {0x08, type, 0x10, (uint8_t)success};
  size_t length = 4;
  if (pid > 0) {
    bytes[length++] = 0x22;
    size_t at = length++;
    bytes[length++] = 0x08;
    for (; pid >= 0x80; pid >>= 7) bytes[length++] = (uint8_t)(pid | 0x80);
    bytes[length++] = (uint8_t)pid;
    bytes[at] = (uint8_t)(length - at - 1);
  }
  if (write(session, bytes, length) < 0) fail("answer");
}

// Returns whether the other side is content.
static int notify(const char *script, int pid) {
  uint8_t bytes[64] = {0x08, NOTIFY, 0x10, 1, 0x2a, 0, 0x0a, (uint8_t)strlen(script)};
  size_t length = 8;
  memcpy(bytes + length, script, strlen(script));
  length += strlen(script);
  if (pid > 0) {
    bytes[length++] = 0x10;
    for (; pid >= 0x80; pid >>= 7) bytes[length++] = (uint8_t)(pid | 0x80);
    bytes[length++] = (uint8_t)pid;
  }
  bytes[5] = (uint8_t)(length - 6);
  if (write(session, bytes, length) < 0) exit(1);
  uint8_t reply[64];
  ssize_t got = read(session, reply, sizeof reply);
  if (got <= 0) exit(1);
  return find((struct span){reply, reply + got}, 3).value == 1;
}

static int open_below(struct span options, uint64_t directory, const char *name) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  char path[128];
  if (getsockopt(session, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) fail("peer");
  int fd = (int)find(options, directory).value;
  snprintf(path, sizeof path, "/proc/%d/fd/%d/%s", peer.pid, fd, name);
  return open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
}

static void complain(struct span options, uint8_t type) {
  int log = open_below(options, 17, text(find(options, 10)));
  if (dprintf(log, "(00.1) Error (criu/x.c:1): no luck\n") < 0) fail("log");
  answer(type, 0, 0);
  exit(1);
}

static void dump(struct span options) {
  if (strcmp(mode, "fail") == 0) complain(options, DUMP);
  if (dprintf(open_below(options, 1, "inventory.img"), "image") < 0) fail("image");
  if (!notify("post-dump", 0)) {
    answer(DUMP, 0, 0);
    exit(1);
  }
  answer(DUMP, 1, 0);
}

static void enter_cgroup(const char *controller, const char *path, int pid) {
  FILE *mounts = setmntent("/proc/self/mounts", "r");
  struct mntent *entry;
  char file[4096];
  while (mounts != NULL && (entry = getmntent(mounts)) != NULL) {
    int unified = strcmp(entry->mnt_type, "cgroup2") == 0;
    if (controller == NULL ? !unified : unified || strcmp(entry->mnt_type, "cgroup") != 0) continue;
    if (controller != NULL && hasmntopt(entry, controller) == NULL) continue;
    snprintf(file, sizeof file, "%s%s/cgroup.procs", entry->mnt_dir, path);
    FILE *procs = fopen(file, "w");
    if (procs == NULL) continue;
    fprintf(procs, "%d", pid);
    fclose(procs);
  }
  if (mounts != NULL) endmntent(mounts);
}

static void enter_cgroups(struct span options, int pid) {
  struct field field;
  while (next_field(&options, &field)) {
    if (field.number != 25) continue;
    struct field controller = find(field.bytes, 1);
    enter_cgroup(controller.number == 0 ? NULL : text(controller), text(find(field.bytes, 2)), pid);
  }
}

static void enter_namespaces(struct span options) {
  struct field field;
  while (next_field(&options, &field)) {
    if (field.number == 27 && strstr(text(find(field.bytes, 1)), "NetNS") != NULL) {
      if (setns((int)find(field.bytes, 2).value, CLONE_NEWNET) < 0) fail("setns net");
    } else if (field.number == 39 && setns(open(text(find(field.bytes, 2)), O_RDONLY | O_CLOEXEC), 0) < 0) {
      fail("setns");
    }
  }
}

static void drop_privileges(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct none[2] = {{0}};
  for (int capability = 0; capability < 64; capability++) prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  if (syscall(SYS_capset, &header, none) < 0) fail("capset");
}

static _Noreturn void be_restored(struct span options, int go, int ready) {
  char byte;
  char *root = text(find(options, 13));
  if (read(go, &byte, 1) != 1) exit(1);
  enter_namespaces(options);
  if (unshare(CLONE_NEWCGROUP) < 0) fail("unshare");
  if (chdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0) fail("root");
  setsid();
  if (strcmp(mode, "privileged") != 0) drop_privileges();
  if (write(ready, "r", 1) != 1 || read(go, &byte, 1) != 1) exit(1);
  syscall(SYS_close_range, 3, ~0U, 0);
  char *argv[] = {"sh", "-c", "trap 'echo bye; exit 7' TERM; echo restored; while :; do sleep 0.05; done", NULL};
  char *env[] = {"PATH=/bin", NULL};
  execve("/bin/sh", argv, env);
  fail("execve");
  exit(1);
}

static void restore(struct span options) {
  int go[2], ready[2];
  char byte;
  if (strcmp(mode, "fail") == 0) complain(options, RESTORE);
  if (pipe(go) < 0 || pipe(ready) < 0) fail("pipe");
  // A child of this process's parent, as the RPC asks for with rst_sibling.
  int pid = (int)syscall(SYS_clone, CLONE_PARENT | CLONE_NEWPID | CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0);
  if (pid < 0) fail("clone");
  if (pid == 0) be_restored(options, go[0], ready[1]);
  enter_cgroups(options, pid);
  if (write(go[1], "a", 1) != 1 || read(ready[0], &byte, 1) != 1) fail("child");
  if (strcmp(mode, "die") == 0) raise(SIGKILL);
  if (strcmp(mode, "hang") == 0) pause();
  if (!notify("setup-namespaces", pid) || !notify("post-restore", pid)) {
    kill(pid, SIGKILL);
    answer(RESTORE, 0, 0);
    exit(1);
  }
  notify("pre-resume", 0);
  if (write(go[1], "b", 1) != 1) fail("go");
  answer(RESTORE, 1, pid);
}

int main(int argc, char **argv) {
  char path[4096];
  if (argc > 1 && strcmp(argv[1], "--version") == 0) return puts("Version: 4.0") < 0;
  if (argc < 3 || strcmp(argv[1], "swrk") != 0) return 2;
  signal(SIGPIPE, SIG_IGN);
  session = atoi(argv[2]);
  snprintf(path, sizeof path, "%s.mode", argv[0]);
  FILE *file = fopen(path, "r");
  if (file != NULL && fscanf(file, "%31s", mode) != 1) mode[0] = '\0';
  ssize_t got = read(session, request, sizeof request);
  if (got <= 0) return 1;
  struct span all = {request, request + got};
  struct span options = find(all, 2).bytes;
  if (find(all, 1).value == RESTORE) restore(options);
  if (find(all, 1).value != RESTORE) dump(options);
  return 0;
}
