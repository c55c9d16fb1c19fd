// Hands over the notify descriptor of a seccomp filter. The filter may notify about any call that takes, and nobody
// answers before the descriptor has arrived: sent by the filtered thread itself it would wait for itself. So a second
// thread, made before the filter and not under it, sends it; until then the first makes no system call. A process would
// do as well, but a container's init that does not reap would keep its zombie.
#include <stdatomic.h>

#include "launch.h"

#define STACK_BYTES 16384
#define NO_RESULT 1
// Some tenths of a second: then the other thread is waiting for this CPU, as under SCHED_FIFO.
#define PATIENCE (1U << 27)

static struct {
  const struct launch *l;
  atomic_int listener;  // what seccomp(2) said, or NO_LISTENER
  atomic_int result;
} handing;

#define NO_LISTENER (-0x10000)

static _Alignas(16) uint8_t stack[STACK_BYTES];

static _Noreturn void hand_over_listener(void) {
  int fd;
  while ((fd = atomic_load(&handing.listener)) == NO_LISTENER) SYS(sched_yield, 0);
  int result = 0;
  if (fd >= 0) {
    struct frame_header frame = {.type = FRAME_LISTENER};
    result = hand_over(handing.l, HANDED_LISTENER, fd);
    if (result >= 0) result = (int)send_message(handing.l->status_fd, &frame, sizeof frame, -1);
    // The table is shared: it is closed for both.
    close_fd(fd);
  }
  atomic_store(&handing.result, result < 0 ? result : 0);
  for (;;) SYS(exit, 0);
}

// clone3 with a stack of its own: the thread must never return into a frame of ours, so it begins in assembly.
static long start_thread(void (*begin)(void)) {
  struct clone_args args = {
      .flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
      .stack = (__u64)(uintptr_t)stack,
      .stack_size = STACK_BYTES,
  };
  long result;
#if defined(__x86_64__)
  register void (*to)(void) __asm__("r12") = begin;
  __asm__ volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "call *%%r12\n\t"
      "hlt\n"
      "1:"
      : "=a"(result)
      : "a"((long)__NR_clone3), "D"(&args), "S"(sizeof args), "r"(to)
      : "rcx", "r11", "memory");
#else
  register long x8 __asm__("x8") = __NR_clone3;
  register long x0 __asm__("x0") = (long)&args;
  register long x1 __asm__("x1") = (long)sizeof args;
  register void (*to)(void) __asm__("x19") = begin;
  __asm__ volatile(
      "svc #0\n\t"
      "cbnz x0, 1f\n\t"
      "mov x29, xzr\n\t"
      "blr x19\n\t"
      "brk #0\n"
      "1:"
      : "+r"(x0)
      : "r"(x8), "r"(x1), "r"(to)
      : "memory");
  result = x0;
#endif
  return result < 0 ? result : 0;
}

int prepare_listener(const struct launch *l) {
  handing.l = l;
  atomic_store(&handing.listener, NO_LISTENER);
  atomic_store(&handing.result, NO_RESULT);
  return (int)start_thread(hand_over_listener);
}

int give_listener(int fd) {
  atomic_store(&handing.listener, fd);
  for (uint32_t turns = 0; atomic_load(&handing.result) == NO_RESULT; turns++) {
    if (turns < PATIENCE) continue;
    SYS(sched_yield, 0);
  }
  return atomic_load(&handing.result);
}
