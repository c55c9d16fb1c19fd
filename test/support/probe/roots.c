// `probe roots`: what a privileged container can make of its root, a line each. Names are those in the directory that was
// reached; each attempt is a process of its own.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static void print_names(const char *path) {
  struct dirent **entries;
  int count = scandir(path, &entries, NULL, by_name);
  if (count < 0) printf(" %s", strerrorname_np(errno));
  for (int i = 0; i < count; i++) {
    if (entries[i]->d_name[0] != '.') printf(" %s", entries[i]->d_name);
  }
  printf("\n");
}

// The way out of a chroot: a working directory above the root is not stopped by it.
static void climb(void) {
  mkdir("/tmp", 0755);
  if (chroot("/tmp") < 0) printf(" %s\n", strerrorname_np(errno));
  for (int i = 0; i < 64; i++) {
    if (chdir("..") < 0) break;
  }
  if (chroot(".") == 0) print_names("/");
}

// Who takes the root itself away and enters the namespace anew begins at whatever lay below it.
static void uncover(void) {
  int own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
  if (umount2("/", MNT_DETACH) < 0) printf(" umount2 %s", strerrorname_np(errno));
  if (setns(own, CLONE_NEWNS) < 0) printf(" setns %s", strerrorname_np(errno));
  print_names("/");
}

static void unshare_user(void) { printf(" %s\n", unshare(CLONE_NEWUSER) == 0 ? "ok" : strerrorname_np(errno)); }

static void pivot(void) {
  mkdir("/tmp", 0755);
  int done = unshare(CLONE_NEWNS) == 0 && mount("new", "/tmp", "tmpfs", 0, NULL) == 0 && chdir("/tmp") == 0 &&
             syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0;
  printf(" %s\n", done ? "ok" : strerrorname_np(errno));
}

int roots(void) {
  static const struct {
    const char *name;
    void (*attempt)(void);
  } attempts[] = {{"climb", climb}, {"user namespace", unshare_user}, {"pivot", pivot}, {"uncover", uncover}};
  for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
    printf("%s:", attempts[i].name);
    fflush(stdout);
    if (fork() == 0) {
      attempts[i].attempt();
      exit(0);
    }
    wait(NULL);
  }
  return 0;
}
