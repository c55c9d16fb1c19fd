// Runs inside a container of the tests and does what its first argument says.
//   report [PATH...]      what it sees, as one line of JSON
//   exit CODE             ends with that code
//   raise SIGNAL          ends by that signal
//   print STREAM TEXT...  writes each text to 1 or 2, as it is
//   lines STREAM N SIZE   writes N lines of SIZE bytes
//   flood STREAM BYTES    writes that many bytes without a newline
//   cat                   copies stdin to stdout, then says "end of input"
//   sleep SECONDS         says "sleeping", then sleeps
//   tree DEPTH            a chain of processes, every second one in a session of its own; says their pids, all sleep
//   background SECONDS    leaves a child behind that keeps stdout, and ends at once
//   winsize               says the terminal's size, and again at each change
//   memory MIB            takes and touches that much memory
//   call ABI NUMBER...    makes system calls and says what became of them
//   signals               says each signal it gets, and ends with SIGQUIT
#include "probe.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define MIB (1024UL * 1024UL)

static void write_all(int fd, const char *bytes, size_t size) {
  while (size > 0) {
    ssize_t written = write(fd, bytes, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) exit(70);
    bytes += written;
    size -= (size_t)written;
  }
}

static int print(char **arguments) {
  int fd = atoi(arguments[0]);
  for (char **text = arguments + 1; *text != NULL; text++) write_all(fd, *text, strlen(*text));
  return 0;
}

static int lines(char **arguments) {
  int fd = atoi(arguments[0]);
  long count = atol(arguments[1]);
  size_t size = (size_t)atol(arguments[2]);
  char *line = malloc(size + 1);
  memset(line, 'x', size);
  line[size] = '\n';
  for (long i = 0; i < count; i++) write_all(fd, line, size + 1);
  free(line);
  return 0;
}

static int flood(char **arguments) {
  static char block[65536];
  int fd = atoi(arguments[0]);
  size_t left = (size_t)atol(arguments[1]);
  memset(block, 'y', sizeof block);
  while (left > 0) {
    size_t size = left < sizeof block ? left : sizeof block;
    write_all(fd, block, size);
    left -= size;
  }
  return 0;
}

static int cat(void) {
  char block[4096];
  for (;;) {
    ssize_t size = read(0, block, sizeof block);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;
    write_all(1, block, (size_t)size);
  }
  write_all(1, "end of input\n", 13);
  return 0;
}

static void sleep_for(double seconds) {
  struct timespec time = {(time_t)seconds, (long)((seconds - (double)(long)seconds) * 1e9)};
  while (nanosleep(&time, &time) != 0 && errno == EINTR) {
  }
}

static void tree(int depth) {
  char text[32];
  for (int i = 0; i < depth; i++) {
    pid_t pid = fork();
    if (pid != 0) {
      if (i % 3 == 2) _exit(0);  // an orphan below
      break;
    }
    if (i % 2 == 0) setsid();
  }
  write_all(1, text, (size_t)snprintf(text, sizeof text, "%d\n", getpid()));
  for (;;) pause();
}

static int background(double seconds) {
  if (fork() == 0) {
    sleep_for(seconds);
    _exit(0);
  }
  write_all(1, "parent ends\n", 12);
  return 5;
}

static void ignore(int signal) { (void)signal; }

static void interrupted(int signal) { _exit(128 + signal); }

static void winsize(void) {
  struct sigaction action = {.sa_handler = ignore};
  struct sigaction interrupt = {.sa_handler = interrupted};
  sigaction(SIGWINCH, &action, NULL);
  // As process 1 it would not get a signal it does not handle.
  sigaction(SIGINT, &interrupt, NULL);
  for (;;) {
    struct winsize size = {0};
    ioctl(0, TIOCGWINSZ, &size);
    printf("%d %d\n", size.ws_row, size.ws_col);
    fflush(stdout);
    pause();
  }
}

static int take_memory(size_t mib) {
  char *memory = malloc(mib * MIB);
  if (memory == NULL) return 71;
  for (size_t at = 0; at < mib * MIB; at += 4096) memory[at] = 1;
  printf("%zu\n", mib);
  return memory[0] - 1;
}

static volatile sig_atomic_t last_signal;

static void note(int signal) { last_signal = signal; }

static int signals(void) {
  struct sigaction action = {.sa_handler = note};
  for (int i = 1; i < 32; i++) sigaction(i, &action, NULL);
  write_all(1, "ready\n", 6);
  while (last_signal != SIGQUIT) {
    sigset_t none;
    sigemptyset(&none);
    sigsuspend(&none);
    printf("signal %d\n", (int)last_signal);
    fflush(stdout);
  }
  return 0;
}

static int run(const char *verb, char **rest) {
  if (strcmp(verb, "print") == 0) return print(rest);
  if (strcmp(verb, "lines") == 0) return lines(rest);
  if (strcmp(verb, "flood") == 0) return flood(rest);
  if (strcmp(verb, "cat") == 0) return cat();
  if (strcmp(verb, "winsize") == 0) winsize();
  if (strcmp(verb, "signals") == 0) return signals();
  if (strcmp(verb, "roots") == 0) return roots();
  if (rest[0] == NULL) return 64;
  if (strcmp(verb, "call") == 0) return calls(rest);
  if (strcmp(verb, "exit") == 0) return atoi(rest[0]);
  if (strcmp(verb, "raise") == 0) return raise(atoi(rest[0]));
  if (strcmp(verb, "tree") == 0) tree(atoi(rest[0]));
  if (strcmp(verb, "background") == 0) return background(atof(rest[0]));
  if (strcmp(verb, "memory") == 0) return take_memory((size_t)atol(rest[0]));
  if (strcmp(verb, "sleep") != 0) return 64;
  write_all(1, "sleeping\n", 9);
  sleep_for(atof(rest[0]));
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 2) return 64;
  if (strcmp(argv[1], "report") == 0) return report(argc, argv, argv + 2);
  return run(argv[1], argv + 2);
}
