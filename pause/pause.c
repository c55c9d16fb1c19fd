// The first process of a sandbox: holds the pod's namespaces, reaps what is orphaned to it as PID 1 of a shared pid
// namespace, and exits on SIGTERM or SIGINT. No C library: a pod costs the few pages of this program.
#include <asm/unistd.h>
#include <linux/prctl.h>

#define SIGINT_NUMBER 2
#define SIGTERM_NUMBER 15
#define SIGCHLD_NUMBER 17
#define SIG_BLOCK_HOW 0
#define WNOHANG_OPTION 1
#define MASK_OF(signal) (1UL << ((signal)-1))

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n xor %ebp,%ebp\n and $-16,%rsp\n call pause_main\n hlt\n");

static long call(long number, long a, long b, long c, long d) {
  long result;
  register long r10 __asm__("r10") = d;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
  return result;
}
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n mov x29,#0\n mov x30,#0\n bl pause_main\n");

static long call(long number, long a, long b, long c, long d) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  return x0;
}
#else
#error "pause.c has no system call for this architecture"
#endif

void pause_main(void);

void pause_main(void) {
  unsigned long name = 0x6573756170UL;  // "pause"; a string would cost a page of its own
  unsigned long mask = MASK_OF(SIGINT_NUMBER) | MASK_OF(SIGTERM_NUMBER) | MASK_OF(SIGCHLD_NUMBER);
  // As PID 1 a signal without a handler is dropped by the kernel; blocked ones stay pending for rt_sigtimedwait, so
  // that no handler is needed and no wake-up is lost between reaping and waiting.
  call(__NR_rt_sigprocmask, SIG_BLOCK_HOW, (long)&mask, 0, sizeof mask);
  // What ps shows: the kernel would name it after the descriptor it was started from.
  call(__NR_prctl, PR_SET_NAME, (long)&name, 0, 0);
  // Containers may share this pid namespace: they get no look into this process (ptrace, /proc/1/fd).
  call(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0);
  for (;;) {
    long signal = call(__NR_rt_sigtimedwait, (long)&mask, 0, 0, sizeof mask);
    if (signal == SIGINT_NUMBER || signal == SIGTERM_NUMBER) break;
    while (call(__NR_wait4, -1, 0, WNOHANG_OPTION, 0) > 0) {
    }
  }
  for (;;) call(__NR_exit_group, 0, 0, 0, 0);
}
