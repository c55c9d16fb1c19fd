// `probe call ABI NUMBER...`: makes system calls without arguments and says what became of each: "ok", an errno's name,
// or "SIGSYS". ABI is "native", "x32" or "i386".
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "probe.h"

#define X32_BIT 0x40000000L

static sigjmp_buf before_call;

static void caught(int signal) { siglongjmp(before_call, signal); }

static long call_i386(long number) {
#if defined(__x86_64__)
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(0), "c"(0), "d"(0), "S"(0), "D"(0) : "memory");
  return (int)result;
#else
  (void)number;
  return -ENOSYS;
#endif
}

static long call(const char *abi, long number) {
  if (strcmp(abi, "i386") == 0) return call_i386(number);
  long result = syscall(strcmp(abi, "x32") == 0 ? number | X32_BIT : number, -1L, -1L, -1L, -1L, -1L, -1L);
  return result < 0 ? -errno : result;
}

static void try_call(const char *abi, long number) {
  int signal = sigsetjmp(before_call, 1);
  if (signal != 0) {
    printf("SIG%s\n", sigabbrev_np(signal));
    return;
  }
  long result = call(abi, number);
  printf("%s\n", result < 0 ? strerrorname_np((int)-result) : "ok");
}

int calls(char **arguments) {
  struct sigaction action = {.sa_handler = caught, .sa_flags = SA_NODEFER};
  sigaction(SIGSYS, &action, NULL);
  sigaction(SIGSEGV, &action, NULL);
  for (char **number = arguments + 1; *number != NULL; number++) {
    try_call(arguments[0], atol(*number));
    fflush(stdout);
  }
  return 0;
}
