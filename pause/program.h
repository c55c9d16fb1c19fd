// The wire format between the daemon and the static programs: the launch program, the first that comes over a control
// socket, and the frames that follow. All numbers are little-endian, as on both supported architectures. The other side is
// src/linux/encode-program.ts and src/linux/frames.ts; a unit test compares the constants.
#ifndef CRICKET_PROGRAM_H
#define CRICKET_PROGRAM_H

#include <stdint.h>

#define PROGRAM_MAGIC 0x50524b43U  // "CKRP"
#define PROGRAM_VERSION 2U
#define PROGRAM_MAX_LENGTH (8U << 20)
#define PROGRAM_MAX_STEPS 4096U
#define PROGRAM_MAX_DESCRIPTORS 256U
#define PROGRAM_MAX_MADE 256U
#define NO_DESCRIPTOR 0xffffffffU
#define NO_STEP 0xffffffffU
#define MADE_FIRST 0x10000U

// Where things are: behind stdio the control socket, then the descriptor table.
#define CONTROL_FD 3
#define TABLE_FD 4

enum program_host { HOST_SPAWN = 1, HOST_MONITOR = 2, HOST_EXEC = 3, HOST_DETACHED = 4 };

// The options of the host follow the header, then the steps.
struct program_header {
  uint32_t magic;
  uint32_t version;
  uint32_t length;  // of the whole program, this header included
  uint32_t host;
  uint32_t step_count;
  uint32_t table_count;
  uint32_t host_descriptors;  // how many entries of the table, its first ones, belong to the host and not to the steps
  uint32_t channel;           // table index of the socket that takes descriptors for the daemon, or NO_DESCRIPTOR
  uint32_t options_length;
};

// Each step: this record, then `length` bytes. In them a string is its length (u32), its bytes and a NUL; a blob is
// its length and its bytes; a descriptor is an index into the table, or MADE_FIRST and the number, from 0, of an
// OP_OPEN_MOUNT or OP_MAKE_USER_NAMESPACE before it, which makes one.
struct step_header {
  uint16_t op;
  uint16_t flags;
  uint32_t length;
};

#define STEP_OPTIONAL 1U

enum step_op {
  OP_FORK = 1,
  OP_JOIN_NAMESPACES = 2,
  OP_UNSHARE = 3,
  OP_NEW_SESSION = 4,
  OP_NEW_KEYRING = 5,
  OP_PARENT_DEATH_SIGNAL = 6,
  OP_JOIN_CGROUP = 7,
  OP_RLIMIT = 8,
  OP_WRITE_PROC = 9,
  OP_SETHOSTNAME = 10,
  OP_SETDOMAINNAME = 11,
  OP_SEND_SOCKET = 12,
  OP_SET_PROPAGATION = 13,
  OP_ATTACH_ROOTFS = 14,
  OP_MOUNT_FS = 15,
  OP_MOUNT_TREE = 16,
  OP_SET_MOUNT_ATTRIBUTES = 17,
  OP_MKDIR_IN_ROOT = 18,
  OP_MKNOD_IN_ROOT = 19,
  OP_SYMLINK_IN_ROOT = 20,
  OP_MASK_PATH = 21,
  OP_READONLY_PATH = 22,
  OP_OPEN_PTY = 23,
  OP_PIVOT_ROOT = 24,
  OP_UMASK = 25,
  OP_PERSONALITY = 26,
  OP_SCHEDULER = 27,
  OP_IO_PRIORITY = 28,
  OP_CPU_AFFINITY = 29,
  OP_MEMORY_POLICY = 30,
  OP_APPARMOR_EXEC = 31,
  OP_SELINUX_EXEC = 32,
  OP_SET_GROUPS = 33,
  OP_SET_IDS = 34,
  OP_CAPABILITIES = 35,
  OP_NO_NEW_PRIVS = 36,
  OP_SECCOMP = 37,
  OP_CHDIR = 38,
  OP_WAIT_GATE = 39,
  OP_EXEC = 40,
  OP_EXEC_FD = 41,
  OP_SYNC = 42,
  OP_RUN_HOOK = 43,
  OP_CHANGE_ROOT = 44,
  OP_OPEN_MOUNT = 45,
  OP_MAKE_USER_NAMESPACE = 46,
  OP_HOST_DIRECTORY = 47,
  OP_OWN_STDIO = 48,
  OP_SET_LABEL = 49,
  OP_FIND_PROGRAM = 50,
  OP_LOOPBACK_UP = 51,
  OP_MOVE_ROOT = 52,
  OP_COUNT = 53,
};

// What a chdir step does beside changing the directory.
#define CHDIR_CREATE 1U
#define CHDIR_DEFER 2U  // a refusal is left to the next chdir step
#define CHDIR_RETRY 4U  // nothing, if the one before succeeded

enum create_target { CREATE_DIRECTORY = 0, CREATE_FILE = 1, CREATE_AUTO = 2, CREATE_NEVER = 3 };
enum mount_source { SOURCE_FD = 0, SOURCE_HOST_PATH = 1, SOURCE_ROOT_PATH = 2 };
enum copy_up { COPY_UP_CONTENT = 1, COPY_UP_MODE = 2, COPY_UP_OWNER = 4 };
enum fs_option { FS_OPTION_FLAG = 0, FS_OPTION_STRING = 1, FS_OPTION_FD = 2 };

// monitor options: containerDir, oomEvents, killCgroup (descriptors), flags, maxLogLineBytes, attachStallMs, logPath,
// a count and that many descriptors which the program keeps as 3, 4, ....
// exec options: killCgroup, directory (descriptors), flags, timeoutMs, adoptTimeoutMs, maxOutputBytes (u64, 0: no limit).
// detached options: stdin, stdout, stderr, gate (descriptors, each may be NO_DESCRIPTOR), a count, that many descriptors
// which the program keeps as 3, 4, ...; gate and kept ones follow each other in the table.
#define MONITOR_STDIN 1U
#define MONITOR_STDIN_ONCE 2U
#define EXEC_STDIN 1U
#define EXEC_STREAMING 2U
// Of both: the program is another OCI runtime, which makes the process and ends (adopt.c). Its pid is then in the file
// "pid" of the host's directory; with a terminal the master comes over "console.sock" there.
#define HOST_ADOPTS 4U
#define HOST_CONSOLE 8U

#define MAX_LOG_LINE_BYTES (1U << 20)

// Frames: this header, then `length` bytes.
struct frame_header {
  uint8_t type;
  uint8_t zero[3];
  uint32_t length;
};

#define FRAME_MAX_PAYLOAD 65536U

enum frame_type {
  // to the daemon and to attach clients
  FRAME_WARNING = 1,    // step, errno (u32), then text: what was being done
  FRAME_FAILED = 2,     // the same
  FRAME_FORKED = 3,     // pid (u32); its pidfd is in the descriptor channel (spawn)
  FRAME_EXECUTING = 4,  // the last word before execve (spawn)
  FRAME_HELLO = 5,      // struct frame_hello
  FRAME_STARTED = 6,    // errno, step (u32), then text; errno 0: execve succeeded
  FRAME_EXITED = 7,     // struct frame_exited
  FRAME_STDOUT = 8,
  FRAME_STDERR = 9,
  FRAME_REOPENED = 10,  // errno (u32)
  FRAME_RESIZED = 11,   // errno (u32)
  FRAME_ATTACHED = 12,  // errno (u32)
  FRAME_SYNC = 13,      // detached: waits for the container's state, a length (u32) and its bytes, without a header;
                        // monitor: pid (u32), waits for FRAME_SYNCED or FRAME_KILL
  FRAME_LISTENER = 14,  // nothing, or pid (u32) from a host: a notify descriptor is in the descriptor channel
  // between the child and its host, over a socketpair of their own
  FRAME_REFORKED = 16,  // pid (u32), pidfd as SCM_RIGHTS
  FRAME_PTY = 17,       // the master as SCM_RIGHTS
  FRAME_AT_GATE = 18,
  // from the daemon and from attach clients
  FRAME_START = 32,
  FRAME_REOPEN_LOG = 33,
  FRAME_RESIZE = 34,  // rows, columns (u32)
  FRAME_ATTACH = 35,  // flags (u32)
  FRAME_STDIN = 36,
  FRAME_STDIN_EOF = 37,
  FRAME_KILL = 38,    // monitor: only while the container is being set up
  FRAME_SYNCED = 39,  // the runtime's hooks have run; the container's state is in its directory
};

// The one byte that comes with a descriptor in the channel.
enum handed_over { HANDED_PIDFD = 1, HANDED_SOCKET = 2, HANDED_LISTENER = 3, HANDED_PTY = 4 };

#define ATTACH_STDIN 1U
#define ATTACH_STDOUT 2U
#define ATTACH_STDERR 4U
#define ATTACH_WAITS 8U  // the container waits for this client as long as it takes, as a program does for its pipe

#define HELLO_STARTED 1U
#define HELLO_TTY 2U
#define HELLO_STDIN 4U

struct frame_hello {
  uint32_t pid;  // of the container's init, in the pid namespace of the host
  uint32_t flags;
  uint64_t start_time;  // field 22 of /proc/<pid>/stat
};

#define EXITED_TIMED_OUT 1U

struct frame_exited {
  uint32_t exit_code;  // 128 + signal when a signal ended it
  uint32_t signal;
  uint32_t flags;
  uint32_t zero;
  int64_t finished_at_ns;
  uint64_t oom_kills;
};

#endif
