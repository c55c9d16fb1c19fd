// The kernel's interface without a C library: raw system calls that return -errno, and the few constants the kernel's
// own headers lack. Nothing here allocates, locks or keeps state, so all of it may run between clone and execve.
#ifndef CRICKET_SYS_H
#define CRICKET_SYS_H

#include <asm/errno.h>
#include <asm/ioctls.h>
#include <asm/poll.h>
#include <asm/signal.h>
#include <asm/statfs.h>
#include <asm/termbits.h>
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/stat.h>
#include <linux/time_types.h>
#include <linux/uio.h>
#include <linux/un.h>
#include <linux/wait.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATH_MAX_BYTES 4096
#define AF_UNIX_FAMILY 1
#define SOCK_STREAM_TYPE 1
#define SOCK_SEQPACKET_TYPE 5
#define SOCK_CLOEXEC_FLAG 02000000
#define SOCK_NONBLOCK_FLAG 04000
#define SOL_SOCKET_LEVEL 1
#define SCM_RIGHTS_TYPE 1
#define MSG_DONTWAIT_FLAG 0x40
#define MSG_NOSIGNAL_FLAG 0x4000
#define MSG_CMSG_CLOEXEC_FLAG 0x40000000
#define UMOUNT_DETACH 2
#define CLOSE_TO_END (~0U)

#if defined(__x86_64__)
static inline long sys6(long number, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}
#elif defined(__aarch64__)
static inline long sys6(long number, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}
#else
#error "no system call for this architecture"
#endif

#define SYS_PICK(number, a, b, c, d, e, f, ...) \
  sys6((number), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
// SYS(name, arguments...): a system call by name; its result is -errno on failure.
#define SYS(name, ...) SYS_PICK(__NR_##name, __VA_ARGS__, 0, 0, 0, 0, 0, 0)

struct message_header {
  void *name;
  uint32_t name_length;
  uint32_t pad0;
  struct iovec *parts;
  size_t part_count;
  void *control;
  size_t control_length;
  uint32_t flags;
  uint32_t pad1;
};

struct control_header {
  size_t length;
  int level;
  int type;
};

size_t text_length(const char *text);
bool text_equal(const char *a, const char *b);
// Copies with truncation; the result always ends in NUL. Returns the bytes copied, without the NUL.
size_t text_copy(char *to, size_t size, const char *from);
// Writes the decimal digits, no NUL; returns how many.
size_t format_decimal(char *to, uint64_t value);
// Decimal digits at `*at`, which moves behind them.
uint64_t parse_decimal(const char **at, const char *end);
void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);

static inline void close_fd(int fd) {
  if (fd >= 0) SYS(close, fd);
}

static inline long read_fd(int fd, void *to, size_t size) {
  for (;;) {
    long result = SYS(read, fd, to, size);
    if (result != -EINTR) return result;
  }
}

static inline long write_fd(int fd, const void *from, size_t size) {
  for (;;) {
    long result = SYS(write, fd, from, size);
    if (result != -EINTR) return result;
  }
}

static inline int set_nonblocking(int fd) { return (int)SYS(fcntl, fd, F_SETFL, O_NONBLOCK); }

static inline _Noreturn void exit_process(int status) {
  for (;;) SYS(exit_group, status);
}

int64_t clock_ns(int clock);
// Sends `size` bytes and, when `fd` is not negative, one descriptor. Never raises SIGPIPE.
long send_message(int socket, const void *bytes, size_t size, int fd);
// Receives into `to`; `*fd` becomes the descriptor that came with it, or -1.
long receive_message(int socket, void *to, size_t size, int *fd, int flags);
// wait4 without a hang; 0 while it runs, `pid` once reaped, -errno.
long reap_child(int pid, int *status);

#endif
