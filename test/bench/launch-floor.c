// The least that a launch can cost: makes namespaces and mounts with the plain calls, runs a program, reaps it. No
// cgroup, no limits, no log, no check of any path: nobody should run a container like this.
//
// launch-floor STEPS FLAGS ROOTFS PROGRAM [ARGUMENT...]: launches once for each line it reads, and prints the microseconds.
// FLAGS are CLONE_NEW* bits. STEPS is a file with lines of words, with a tab between them:
//   mount TYPE TARGET FLAGS DATA     bind SOURCE TARGET     mknod PATH MODE DEVICE     symlink TARGET PATH
//   mask PATH                        readonly PATH          hostname NAME
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_STEPS 128
#define MAX_WORDS 6
#define STACK_BYTES 65536

struct step {
  const char *words[MAX_WORDS];
};

static struct step steps[MAX_STEPS];
static int step_count;
static const char *rootfs;
static char *const *command;
static char stack[STACK_BYTES] __attribute__((aligned(16)));

static _Noreturn void fail(const char *what, const char *object) {
  fprintf(stderr, "launch-floor: %s %s: %s\n", what, object, strerror(errno));
  _exit(1);
}

static void need(int result, const char *what, const char *object) {
  if (result < 0) fail(what, object);
}

static void make_directory(const char *path) {
  if (mkdir(path, 0755) < 0 && errno != EEXIST) fail("mkdir", path);
}

// Paths are relative: the rootfs is the working directory.
static void bind_read_only(const char *path) {
  if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0) {
    // What the kernel does not have needs no protection.
    if (errno == ENOENT) return;
    fail("bind", path);
  }
  need(mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), "remount", path);
}

static void mask(const char *path) {
  struct stat found;
  if (stat(path, &found) < 0) return;
  if (S_ISDIR(found.st_mode)) {
    need(mount("tmpfs", path, "tmpfs", MS_RDONLY, "nr_blocks=1,nr_inodes=1"), "mount on", path);
  } else {
    need(mount("/dev/null", path, NULL, MS_BIND, NULL), "bind on", path);
  }
}

static void run_step(const struct step *step) {
  const char *const *words = step->words;
  if (strcmp(words[0], "mount") == 0) {
    make_directory(words[2]);
    need(mount(words[1], words[2], words[1], strtoul(words[3], NULL, 10), words[4]), "mount on", words[2]);
  } else if (strcmp(words[0], "bind") == 0) {
    need(mount(words[1], words[2], NULL, MS_BIND | MS_REC, NULL), "bind on", words[2]);
  } else if (strcmp(words[0], "mknod") == 0) {
    need(mknod(words[1], (mode_t)strtoul(words[2], NULL, 10), strtoull(words[3], NULL, 10)), "mknod", words[1]);
  } else if (strcmp(words[0], "symlink") == 0) {
    need(symlink(words[1], words[2]), "symlink", words[2]);
  } else if (strcmp(words[0], "mask") == 0) {
    mask(words[1]);
  } else if (strcmp(words[0], "readonly") == 0) {
    bind_read_only(words[1]);
  } else if (strcmp(words[0], "hostname") == 0) {
    need(sethostname(words[1], strlen(words[1])), "sethostname", words[1]);
  } else {
    errno = EINVAL;
    fail("step", words[0]);
  }
}

static int launch(void *unused) {
  (void)unused;
  setsid();
  need(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL), "make slave", "/");
  need(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL), "bind", rootfs);
  need(chdir(rootfs), "chdir", rootfs);
  for (int i = 0; i < step_count; i++) run_step(&steps[i]);
  need((int)syscall(SYS_pivot_root, ".", "."), "pivot_root", rootfs);
  need(umount2(".", MNT_DETACH), "umount", "/");
  need(chdir("/"), "chdir", "/");
  execve(command[0], command, (char *const[]){NULL});
  fail("execve", command[0]);
}

static void read_steps(const char *path) {
  static char text[65536];
  FILE *file = fopen(path, "r");
  if (file == NULL) fail("open", path);
  size_t size = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[size] = '\0';
  char *rest = text;
  for (char *line = strsep(&rest, "\n"); line != NULL && *line != '\0'; line = strsep(&rest, "\n")) {
    if (step_count == MAX_STEPS) {
      errno = E2BIG;
      fail("read", "steps");
    }
    struct step *step = &steps[step_count++];
    for (int i = 0; i < MAX_WORDS && line != NULL; i++) step->words[i] = strsep(&line, "\t");
  }
}

static long now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int main(int argc, char **argv) {
  if (argc < 5) {
    fputs("usage: launch-floor STEPS FLAGS ROOTFS PROGRAM [ARGUMENT...]\n", stderr);
    return 2;
  }
  read_steps(argv[1]);
  rootfs = argv[3];
  command = argv + 4;
  int flags = (int)strtol(argv[2], NULL, 10);
  for (int mark = getchar(); mark != EOF; mark = getchar()) {
    int status = 0;
    long start = now_us();
    // Without copying this process's memory, as posix_spawn does it: the child has the stack for itself.
    int pid = clone(launch, stack + STACK_BYTES, flags | CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
    need(pid, "clone", command[0]);
    need(waitpid(pid, &status, 0), "waitpid", command[0]);
    long end = now_us();
    if (status != 0) {
      fprintf(stderr, "launch-floor: %s ended with wait status %d\n", command[0], status);
      return 1;
    }
    printf("%ld\n", end - start);
    fflush(stdout);
  }
  return 0;
}
