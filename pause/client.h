// One connection that speaks frames: the daemon's control socket or an attach client. Output waits in a ring of fixed
// size; input is taken frame by frame, with standard input passed on in pieces and never stored whole.
#ifndef CRICKET_CLIENT_H
#define CRICKET_CLIENT_H

#include "program.h"
#include "sys.h"

#define RING_SIZE 65536U

struct client {
  int fd;             // -1: the slot is free
  uint32_t attached;  // ATTACH_*
  struct frame_header header;
  uint32_t header_have;
  uint32_t remaining;  // bytes of the payload still to come
  uint32_t numbers[2];
  uint32_t numbers_have;
  uint32_t head;
  uint32_t used;
  int64_t progress_ns;  // when the ring last moved, or began to fill (CLOCK_MONOTONIC)
  uint8_t *ring;        // RING_SIZE bytes, apart from this record: an idle monitor must not touch them
};

enum client_event { CLIENT_NOTHING, CLIENT_FRAME, CLIENT_INPUT, CLIENT_GONE };

// `ring` must be set already.
void client_open(struct client *c, int fd);
void client_close(struct client *c);
uint32_t client_space(const struct client *c);
// Queues one frame and sends what the socket takes. False: no room, or the client is gone.
bool client_put(struct client *c, uint8_t type, const void *payload, uint32_t length);
// Sends what is queued as far as it goes. False: the client is gone.
bool client_flush(struct client *c);
// Reads what is there. CLIENT_FRAME: `header.type` with its numbers; CLIENT_INPUT: `remaining` bytes of standard input.
enum client_event client_read(struct client *c);

// The writing end of a program's standard input: a pipe, or the master of its pty.
struct input {
  int fd;
  bool is_pty;
  bool closing;  // close once everything is written
  uint32_t at;
  uint32_t used;
  uint32_t size;
  uint8_t *bytes;  // `size` of them
};

// Takes bytes of a client that is at CLIENT_INPUT. False: the client is gone.
bool input_take(struct input *input, struct client *from);
void input_flush(struct input *input);
void input_close(struct input *input);

#endif
