// The state of a container's monitor, shared by monitor.c (the loop), monitor-launch.c (what the launching child says)
// and monitor-clients.c (who talks to it).
#ifndef CRICKET_MONITOR_H
#define CRICKET_MONITOR_H

#include "hosts.h"
#include "log.h"

#define MAX_CLIENTS 65  // the daemon's inherited socket and sixty-four more
#define CLIENT_DAEMON 0
#define MONITOR_SOCKET "monitor.sock"

enum monitor_phase { PHASE_SETTING_UP, PHASE_AT_GATE, PHASE_STARTING, PHASE_RUNNING };

struct monitor {
  struct launch *launch;
  int container_dir;
  int oom_fd;
  int oom_parent_fd;  // of the cgroup above, where somebody else may remove the container's own; or -1
  int kill_fd;
  uint32_t flags;
  int64_t stall_ns;  // how long a client may block the container's output without reading anything

  enum monitor_phase phase;
  int starter;  // the client that opened the gate; -1: it has left
  int listen_fd;
  int status_fd;
  int pidfd;
  int children_fd;
  int pid;
  uint64_t start_time;
  struct adoption adoption;
  int pty;
  int output[2];
  struct input input;
  struct log log;
  uint64_t oom_kills_before;
  uint64_t oom_kills;            // the last that could be read
  uint64_t oom_kills_in_parent;  // at the same time
  bool watches_oom;
  bool start_failed;
  bool abandoned;  // the daemon does not wait any more for the runtime that makes the container
  bool has_exited;
  struct frame_exited exited;
  int64_t drain_until_ns;
  uint32_t drain_budget;
  struct client clients[MAX_CLIENTS];
};

// Ends a launch that has not come to its gate: kills the child, tells the daemon why.
_Noreturn void give_up(struct monitor *m, const char *what, long error);
uint64_t read_start_time(const struct launch *l, int pid);
// Reads one message of the launching child and does what it says; its end before any failure is that of the launch.
void read_status(struct monitor *m);
void child_failed(struct monitor *m, const struct child_message *message);
void take_pty(struct monitor *m, int master);
void reach_gate(struct monitor *m);
void accept_client(struct monitor *m);
// Reads one frame, or a piece of standard input, of a client and does what it says.
void serve_client(struct monitor *m, int index);
void drop_client(struct monitor *m, int index);
void say_hello(struct monitor *m, int index);
// Sends a warning or failure of the launch to the daemon, if it is still there.
void send_report(struct monitor *m, uint8_t type, const struct child_message *message);
// Asks the daemon to run the hooks of its own namespaces.
void send_sync(struct monitor *m);
void send_started(struct monitor *m, uint32_t error, uint32_t step, const char *text);
void send_errno(struct monitor *m, int index, uint8_t type, int error);
// Sends a chunk of output to all clients that are attached to it.
void broadcast_output(struct monitor *m, int stream, const uint8_t *bytes, uint32_t size);
// How much output all attached clients have room for.
uint32_t output_room(const struct monitor *m, int stream);
// Drops those who block the container for too long; returns the next deadline (CLOCK_MONOTONIC), or INT64_MAX.
int64_t drop_stalled_clients(struct monitor *m);

// Reads the oom_kill counter of memory.events (cgroup v2) or memory.oom_control (v1). False, and nothing is changed, when
// the cgroup has gone.
bool read_oom_kills(struct monitor *m);
// The kills since the gate was opened, also when the cgroup has gone with its counter.
uint64_t count_oom_kills(struct monitor *m);
void write_exit_file(const struct monitor *m);

#endif
