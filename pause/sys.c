// What a C library would give: the entry point, four memory functions the compiler itself calls, decimal numbers, and
// the calls that are more than one instruction.
#include "sys.h"

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n xor %ebp,%ebp\n mov %rsp,%rdi\n and $-16,%rsp\n call program_main\n hlt\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n mov x29,#0\n mov x30,#0\n mov x0,sp\n bl program_main\n");
#endif

// The Makefile compiles this file so that these loops are not turned into calls of themselves.
void *memcpy(void *restrict to, const void *restrict from, size_t size) {
#if defined(__x86_64__)
  void *at = to;
  __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(size) : : "memory");
#else
  uint8_t *at = to;
  const uint8_t *source = from;
  for (; size >= 8; size -= 8, at += 8, source += 8) __builtin_memcpy(at, source, 8);
  while (size-- > 0) *at++ = *source++;
#endif
  return to;
}

void *memset(void *to, int value, size_t size) {
  uint8_t *at = to;
  while (size-- > 0) *at++ = (uint8_t)value;
  return to;
}

int memcmp(const void *a, const void *b, size_t size) {
  const uint8_t *left = a;
  const uint8_t *right = b;
  for (; size > 0; size--, left++, right++) {
    if (*left != *right) return *left < *right ? -1 : 1;
  }
  return 0;
}

size_t text_length(const char *text) {
  size_t length = 0;
  while (text[length] != '\0') length++;
  return length;
}

bool text_equal(const char *a, const char *b) {
  while (*a != '\0' && *a == *b) {
    a++;
    b++;
  }
  return *a == *b;
}

size_t text_copy(char *to, size_t size, const char *from) {
  size_t length = 0;
  if (size == 0) return 0;
  while (length + 1 < size && from[length] != '\0') {
    to[length] = from[length];
    length++;
  }
  to[length] = '\0';
  return length;
}

size_t format_decimal(char *to, uint64_t value) {
  char digits[20];
  size_t count = 0;
  do {
    digits[count++] = (char)('0' + value % 10);
    value /= 10;
  } while (value > 0);
  for (size_t i = 0; i < count; i++) to[i] = digits[count - 1 - i];
  return count;
}

uint64_t parse_decimal(const char **at, const char *end) {
  uint64_t value = 0;
  while (*at < end && **at >= '0' && **at <= '9') {
    value = value * 10 + (uint64_t)(**at - '0');
    (*at)++;
  }
  return value;
}

int64_t clock_ns(int clock) {
  struct __kernel_timespec now = {0, 0};
  SYS(clock_gettime, clock, &now);
  return now.tv_sec * 1000000000 + now.tv_nsec;
}

long send_message(int socket, const void *bytes, size_t size, int fd) {
  struct {
    struct control_header header;
    int fd;
    int pad;
  } control = {{sizeof(struct control_header) + sizeof(int), SOL_SOCKET_LEVEL, SCM_RIGHTS_TYPE}, fd, 0};
  union {
    const void *in;
    void *out;
  } constness = {.in = bytes};
  struct iovec part = {constness.out, size};
  struct message_header message = {.parts = &part, .part_count = 1};
  if (fd >= 0) {
    message.control = &control;
    message.control_length = sizeof control;
  }
  for (;;) {
    long result = SYS(sendmsg, socket, &message, MSG_NOSIGNAL_FLAG);
    if (result != -EINTR) return result;
  }
}

long receive_message(int socket, void *to, size_t size, int *fd, int flags) {
  struct {
    struct control_header header;
    int fd;
    int pad;
  } control = {{0, 0, 0}, -1, 0};
  struct iovec part = {to, size};
  struct message_header message = {
      .parts = &part, .part_count = 1, .control = &control, .control_length = sizeof control};
  *fd = -1;
  for (;;) {
    long result = SYS(recvmsg, socket, &message, flags | MSG_CMSG_CLOEXEC_FLAG);
    if (result == -EINTR) continue;
    if (result >= 0 && message.control_length >= sizeof(struct control_header) + sizeof(int) &&
        control.header.level == SOL_SOCKET_LEVEL && control.header.type == SCM_RIGHTS_TYPE) {
      *fd = control.fd;
    }
    return result;
  }
}

long reap_child(int pid, int *status) {
  for (;;) {
    long result = SYS(wait4, pid, status, WNOHANG, 0);
    if (result != -EINTR) return result;
  }
}
