// A process that is started before there is anything to launch: to start it takes as long as a good part of a launch. It
// waits for one message on its control socket, whose descriptors are its program and table, and from then on it is what
// posix_spawn would have made.
#include "hosts.h"

#define MAX_PASSED 253U         // SCM_MAX_FD
#define CONTROL_TRUNCATED 0x8U  // MSG_CTRUNC

static int receive_launch(void) {
  struct {
    struct control_header header;
    int descriptors[MAX_PASSED + 1];
  } passed;
  char mark;
  struct iovec part = {&mark, 1};
  struct message_header message = {
      .parts = &part, .part_count = 1, .control = &passed, .control_length = sizeof passed};
  long got;
  do {
    got = SYS(recvmsg, CONTROL_FD, &message, 0);
  } while (got == -EINTR);
  if (got < 0) return (int)got;
  // The daemon has ended, or launches nothing more.
  if (got == 0) exit_process(0);
  if (message.control_length < sizeof passed.header || passed.header.type != SCM_RIGHTS_TYPE ||
      (message.flags & CONTROL_TRUNCATED) != 0) {
    return -EBADMSG;
  }
  size_t count = (passed.header.length - sizeof passed.header) / sizeof *passed.descriptors;
  // Each gets the lowest number that is free (unix(7), open(2)), in the order they were sent: the first becomes
  // PROGRAM_FD, and the table begins behind it.
  for (size_t i = 0; i < count; i++) {
    if (passed.descriptors[i] != PROGRAM_FD + (int)i) return -EBADMSG;
  }
  return 0;
}

void await_launch(struct launch *l) {
  SYS(munmap, l->program, l->header.length);
  SYS(prctl, PR_SET_NAME, "cricket-spare", 0, 0, 0);
  int result = receive_launch();
  if (result < 0) fail_host(l, "receive the program", result);
  SYS(prctl, PR_SET_NAME, "cricket-init", 0, 0, 0);
}
