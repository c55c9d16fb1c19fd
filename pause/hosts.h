// The programs that stay behind a launch: the monitor of a container and the relay of an exec.
#ifndef CRICKET_HOSTS_H
#define CRICKET_HOSTS_H

#include "client.h"
#include "launch.h"

#define CHUNK_SIZE 16384U

_Noreturn void spawn_host(struct launch *l);
_Noreturn void detached_host(struct launch *l);
_Noreturn void exec_host(struct launch *l);
_Noreturn void monitor_host(struct launch *l);

struct stdio_pipes {
  int input;      // the writing end of the program's stdin, or -1
  int output[2];  // the reading ends of its stdout and stderr, or -1
};

// Makes the status socket and the stdio pipes (none but stdin's for a pty). The child's ends are in `l`.
int prepare_child(struct launch *l, bool want_input, struct stdio_pipes *pipes);
// Reads how many and which descriptors the program keeps as 3, 4, ...
void take_kept(struct launch *l);
// Closes the child's ends and the part of the table that belongs to the steps.
void release_child_ends(struct launch *l);

// A message of the child: header, then what `report` sends; `fd` is the descriptor that came with it or -1.
struct child_message {
  struct frame_header header;
  uint32_t numbers[2];
  char text[DETAIL_SIZE];
  int fd;
};

// 1: a message; 0: nothing there; -EPIPE: the child's end is closed.
int read_child_message(int status_fd, struct child_message *message);

// Makes a socket in the working directory that listens under `name`, 0600. The descriptor, or -errno. A name alone:
// sun_path has room for 108 bytes, paths may be longer.
int listen_here(const char *name);

// A process that another OCI runtime makes and leaves to this host.
struct adoption {
  int directory;  // -1: the host makes its process itself
  int console;    // listens for the runtime, then is its connection; -1: no terminal is to come
  bool connected;
  bool done;
};

struct adopted {
  int pid;
  int pidfd;
};

// Before the runtime is run, whose working directory becomes `directory` with the host's.
int adoption_begin(struct adoption *a, int directory, bool console);
// The master of the terminal; -EAGAIN: not yet.
int adoption_console(struct adoption *a);
// After the runtime has ended well.
int adoption_finish(struct adoption *a, struct adopted *process);
// Why there is nothing to adopt, from the status of the runtime.
void runtime_failure(struct child_message *message, int status);

// Orphans of the process come to its host where they have no process 1 of their own (PR_SET_CHILD_SUBREAPER): nobody else
// would wait for them. A descriptor that is readable when a child has ended, to be made after the launch, or -1.
int watch_children(void);
// Reaps all but `own`, whose status is somebody's business, and what has ended behind it.
void reap_orphans(int watch, int own);

void fill_exited(struct frame_exited *exited, int status);
// Sends SIGKILL to `pid`, its session and all their descendants, until none is left alive.
void kill_tree(const struct launch *l, int pid);

#endif
