// `probe report [PATH...]`: the process and its surroundings as JSON.
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "probe.h"

extern char **environ;

static void put_string(const char *text) {
  putchar('"');
  for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
    if (*c == '"' || *c == '\\') {
      printf("\\%c", *c);
    } else if (*c < 0x20 || *c >= 0x7f) {
      printf("\\u%04x", *c);
    } else {
      putchar(*c);
    }
  }
  putchar('"');
}

static void put_list(const char *name, char **list) {
  printf(",\"%s\":[", name);
  for (int i = 0; list[i] != NULL; i++) {
    if (i > 0) putchar(',');
    put_string(list[i]);
  }
  putchar(']');
}

static void put_ids(void) {
  uid_t uid[3];
  gid_t gid[3];
  gid_t groups[256];
  getresuid(&uid[0], &uid[1], &uid[2]);
  getresgid(&gid[0], &gid[1], &gid[2]);
  printf(",\"uids\":[%u,%u,%u],\"gids\":[%u,%u,%u],\"groups\":[", uid[0], uid[1], uid[2], gid[0], gid[1], gid[2]);
  int count = getgroups(256, groups);
  for (int i = 0; i < count; i++) printf("%s%u", i > 0 ? "," : "", groups[i]);
  putchar(']');
}

static void put_capabilities(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{0}};
  unsigned long long bounding = 0;
  unsigned long long ambient = 0;
  syscall(SYS_capget, &header, data);
  for (int i = 0; i < 64; i++) {
    if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1) bounding |= 1ULL << i;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, i, 0, 0) == 1) ambient |= 1ULL << i;
  }
  printf(
      ",\"capabilities\":{\"effective\":\"%llx\",\"permitted\":\"%llx\",\"inheritable\":\"%llx\",\"bounding\":\"%llx\","
      "\"ambient\":\"%llx\"}",
      data[0].effective | (unsigned long long)data[1].effective << 32,
      data[0].permitted | (unsigned long long)data[1].permitted << 32,
      data[0].inheritable | (unsigned long long)data[1].inheritable << 32, bounding, ambient);
}

static void put_signals(void) {
  sigset_t blocked;
  sigprocmask(SIG_SETMASK, NULL, &blocked);
  const char *comma = "";
  printf(",\"ignoredSignals\":[");
  for (int i = 1; i < 65; i++) {
    struct sigaction action;
    if (sigaction(i, NULL, &action) == 0 && action.sa_handler == SIG_IGN) {
      printf("%s%d", comma, i);
      comma = ",";
    }
  }
  printf("],\"blockedSignals\":[");
  comma = "";
  for (int i = 1; i < 65; i++) {
    if (sigismember(&blocked, i) == 1) {
      printf("%s%d", comma, i);
      comma = ",";
    }
  }
  int death = 0;
  prctl(PR_GET_PDEATHSIG, &death, 0, 0, 0);
  printf("],\"parentDeathSignal\":%d", death);
}

static void put_descriptors(void) {
  printf(",\"descriptors\":[");
  const char *comma = "";
  for (int fd = 0; fd < 4096; fd++) {
    struct stat s;
    if (fstat(fd, &s) != 0) continue;
    printf(
        "%s{\"fd\":%d,\"type\":\"%o\",\"device\":\"%u:%u\",\"filesystem\":\"%u:%u\",\"inode\":%lu,\"uid\":%u,\"tty\":%"
        "s}",
        comma, fd, s.st_mode & S_IFMT, major(s.st_rdev), minor(s.st_rdev), major(s.st_dev), minor(s.st_dev),
        (unsigned long)s.st_ino, s.st_uid, isatty(fd) ? "true" : "false");
    comma = ",";
  }
  putchar(']');
}

static void put_file(const char *name, const char *path) {
  char text[65536];
  FILE *file = fopen(path, "r");
  size_t size = file == NULL ? 0 : fread(text, 1, sizeof text - 1, file);
  text[size] = '\0';
  printf(",\"%s\":", name);
  if (file == NULL) {
    printf("null");
    return;
  }
  fclose(file);
  put_string(text);
}

static void put_limits(void) {
  printf(",\"limits\":[");
  for (int i = 0; i < 16; i++) {
    struct rlimit limit = {0, 0};
    getrlimit(i, &limit);
    printf("%s[\"%llu\",\"%llu\"]", i > 0 ? "," : "", (unsigned long long)limit.rlim_cur,
           (unsigned long long)limit.rlim_max);
  }
  putchar(']');
}

static void put_scheduling(void) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  sched_getaffinity(0, sizeof cpus, &cpus);
  errno = 0;
  printf(",\"scheduler\":%d,\"nice\":%d,\"ioPriority\":%ld,\"personality\":%u,\"cpus\":[", sched_getscheduler(0),
         getpriority(PRIO_PROCESS, 0), syscall(SYS_ioprio_get, 1, 0), (unsigned)personality(0xffffffff));
  const char *comma = "";
  for (int i = 0; i < CPU_SETSIZE; i++) {
    if (!CPU_ISSET(i, &cpus)) continue;
    printf("%s%d", comma, i);
    comma = ",";
  }
  putchar(']');
}

static void put_memory_policy(void) {
  int mode = -1;
  unsigned long nodes[16] = {0};
  long result = syscall(SYS_get_mempolicy, &mode, nodes, 8 * sizeof nodes, 0, 0);
  printf(",\"memoryPolicy\":{\"error\":%d,\"mode\":%d,\"nodes\":\"%lx\"}", result < 0 ? errno : 0, mode, nodes[0]);
}

static void put_names(void) {
  char cwd[4096];
  struct utsname names;
  uname(&names);
  printf(",\"cwd\":");
  put_string(getcwd(cwd, sizeof cwd) == NULL ? strerror(errno) : cwd);
  printf(",\"hostname\":");
  put_string(names.nodename);
  printf(",\"domainname\":");
  put_string(names.domainname);
  mode_t mask = umask(0);
  umask(mask);
  printf(",\"umask\":\"%o\",\"noNewPrivs\":%d,\"dumpable\":%d", mask, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
         prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
}

// KEYCTL_GET_KEYRING_ID and KEYCTL_DESCRIBE of the session keyring: "42 keyring;0;0;3f1b0000;_ses.x".
static void put_keyring(void) {
  char text[512];
  long id = syscall(SYS_keyctl, 0, -3, 0);
  long size = id < 0 ? -1 : syscall(SYS_keyctl, 6, id, text, sizeof text);
  printf(",\"keyring\":\"%ld %s\"", id, size < 0 ? "" : text);
}

static int can_write(const char *path, const struct stat *s) {
  if (!S_ISDIR(s->st_mode)) {
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0) close(fd);
    return fd >= 0;
  }
  char name[4200];
  snprintf(name, sizeof name, "%s/.probe", path);
  int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (fd < 0) return 0;
  close(fd);
  unlink(name);
  return 1;
}

static void put_content(const char *path, const struct stat *s) {
  char text[1024];
  int fd = S_ISREG(s->st_mode) || S_ISCHR(s->st_mode) ? open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY) : -1;
  ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (size < 0) return;
  text[size] = '\0';
  printf(",\"content\":");
  put_string(text);
}

static void put_path(const char *path) {
  struct stat s;
  char link[4096];
  put_string(path);
  if (lstat(path, &s) != 0) {
    printf(":{\"error\":\"%s\"}", strerrorname_np(errno));
    return;
  }
  printf(":{\"type\":\"%o\",\"mode\":\"%o\",\"uid\":%u,\"gid\":%u,\"device\":\"%u:%u\",\"filesystem\":\"%u:%u\"",
         s.st_mode & S_IFMT, s.st_mode & 07777, s.st_uid, s.st_gid, major(s.st_rdev), minor(s.st_rdev), major(s.st_dev),
         minor(s.st_dev));
  ssize_t length = readlink(path, link, sizeof link - 1);
  if (length >= 0) {
    link[length] = '\0';
    printf(",\"target\":");
    put_string(link);
  }
  printf(",\"writable\":%s", can_write(path, &s) ? "true" : "false");
  put_content(path, &s);
  putchar('}');
}

int report(int argc, char **argv, char **paths) {
  (void)argc;
  printf("{\"pid\":%d,\"ppid\":%d,\"session\":%d,\"group\":%d", getpid(), getppid(), getsid(0), getpgid(0));
  put_list("argv", argv);
  put_list("env", environ);
  put_ids();
  put_capabilities();
  put_signals();
  put_descriptors();
  put_limits();
  put_scheduling();
  put_memory_policy();
  put_network();
  put_names();
  put_keyring();
  put_file("mounts", "/proc/self/mountinfo");
  put_file("status", "/proc/self/status");
  put_file("cgroup", "/proc/self/cgroup");
  put_file("oomScoreAdj", "/proc/self/oom_score_adj");
  printf(",\"paths\":{");
  for (int i = 0; paths[i] != NULL; i++) {
    if (i > 0) putchar(',');
    put_path(paths[i]);
  }
  printf("}}\n");
  return 0;
}
