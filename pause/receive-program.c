// How a program comes: over the control socket, and with it its descriptors (unix(7), SCM_RIGHTS). A process that was
// started before there was anything to launch waits here.
#include "launch.h"

#define MAX_PASSED 253U         // SCM_MAX_FD
#define CONTROL_TRUNCATED 0x8U  // MSG_CTRUNC
#define PROT_READ_WRITE 3
#define MAP_PRIVATE_ANONYMOUS 0x22

struct passed {
  struct control_header header;
  int descriptors[MAX_PASSED + 1];
};

// Each gets the lowest number that is free (open(2)), in the order they were sent: so they make the table.
static int count_passed(const struct passed *passed, size_t length, uint32_t *count) {
  if (length < sizeof passed->header) return 0;
  if (passed->header.type != SCM_RIGHTS_TYPE) return -EBADMSG;
  size_t more = (passed->header.length - sizeof passed->header) / sizeof *passed->descriptors;
  for (size_t i = 0; i < more; i++) {
    if (passed->descriptors[i] != TABLE_FD + (int)(*count)++) return -EBADMSG;
  }
  return 0;
}

static long receive_part(uint8_t *to, size_t size, uint32_t *count) {
  struct passed passed;
  struct iovec part = {to, size};
  struct message_header message = {
      .parts = &part, .part_count = 1, .control = &passed, .control_length = sizeof passed};
  long got;
  do {
    got = SYS(recvmsg, CONTROL_FD, &message, 0);
  } while (got == -EINTR);
  if (got < 0) return got;
  if ((message.flags & CONTROL_TRUNCATED) != 0) return -EBADMSG;
  int result = count_passed(&passed, message.control_length, count);
  return result < 0 ? result : got;
}

static int receive_whole(uint8_t *to, size_t size, uint32_t *count) {
  for (size_t have = 0; have < size;) {
    long got = receive_part(to + have, size - have, count);
    if (got < 0) return (int)got;
    if (got == 0) return -EBADMSG;
    have += (size_t)got;
  }
  return 0;
}

int receive_program(struct launch *l) {
  uint32_t count = 0;
  uint8_t *header = (uint8_t *)&l->header;
  long got = receive_part(header, sizeof l->header, &count);
  // The daemon has ended, or launches nothing more.
  if (got == 0) exit_process(0);
  if (got < 0) return (int)got;
  int result = receive_whole(header + got, sizeof l->header - (size_t)got, &count);
  if (result == 0) result = check_header(&l->header);
  if (result < 0) return result;
  long memory = SYS(mmap, 0, l->header.length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
  if (memory < 0 && memory > -4096) return (int)memory;
  uint8_t *program = (uint8_t *)memory;
  memcpy(program, header, sizeof l->header);
  result = receive_whole(program + sizeof l->header, l->header.length - sizeof l->header, &count);
  if (result < 0) return result;
  l->program = program;
  return count == l->header.table_count ? 0 : -EBADMSG;
}
