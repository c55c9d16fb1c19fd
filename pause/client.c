#include "client.h"

#define DONT_NEED 4  // MADV_DONTNEED

void client_open(struct client *c, int fd) {
  c->fd = fd;
  c->attached = 0;
  c->header_have = 0;
  c->head = 0;
  c->used = 0;
}

void client_close(struct client *c) {
  close_fd(c->fd);
  client_open(c, -1);
  // The pages go back: a monitor stays small after a burst of attach output.
  SYS(madvise, c->ring, RING_SIZE, DONT_NEED);
}

uint32_t client_space(const struct client *c) {
  uint32_t space = RING_SIZE - c->used;
  uint32_t header = (uint32_t)sizeof(struct frame_header);
  return space > header ? space - header : 0;
}

static void ring_append(struct client *c, const void *bytes, uint32_t length) {
  uint32_t tail = (c->head + c->used) % RING_SIZE;
  uint32_t first = length < RING_SIZE - tail ? length : RING_SIZE - tail;
  memcpy(c->ring + tail, bytes, first);
  memcpy(c->ring, (const uint8_t *)bytes + first, length - first);
  c->used += length;
}

// sendmsg(2) of both parts; what it took, or -errno.
static long send_frame(int fd, struct frame_header *header, const void *payload) {
  struct iovec parts[2] = {
      {.iov_base = header, .iov_len = sizeof *header},
      {.iov_base = (void *)(uintptr_t)payload, .iov_len = header->length},
  };
  struct message_header message = {.parts = parts, .part_count = 2};
  for (;;) {
    long result = SYS(sendmsg, fd, &message, MSG_DONTWAIT_FLAG | MSG_NOSIGNAL_FLAG);
    if (result != -EINTR) return result;
  }
}

bool client_put(struct client *c, uint8_t type, const void *payload, uint32_t length) {
  if (c->fd < 0 || RING_SIZE - c->used < sizeof(struct frame_header) || client_space(c) < length) return false;
  struct frame_header header = {.type = type, .length = length};
  uint32_t sent = 0;
  if (c->used == 0) {
    c->head = 0;
    c->progress_ns = clock_ns(1);
    // Straight from where it is: most frames never need the ring.
    long result = send_frame(c->fd, &header, payload);
    if (result < 0 && result != -EAGAIN) return false;
    if (result > 0) sent = (uint32_t)result;
  }
  uint32_t of_header = sent < sizeof header ? sent : (uint32_t)sizeof header;
  ring_append(c, (const uint8_t *)&header + of_header, (uint32_t)sizeof header - of_header);
  sent -= of_header;
  ring_append(c, (const uint8_t *)payload + sent, length - sent);
  return client_flush(c);
}

bool client_flush(struct client *c) {
  while (c->used > 0) {
    uint32_t piece = c->used < RING_SIZE - c->head ? c->used : RING_SIZE - c->head;
    long sent = SYS(sendto, c->fd, c->ring + c->head, piece, MSG_DONTWAIT_FLAG | MSG_NOSIGNAL_FLAG, 0, 0);
    if (sent == -EINTR) continue;
    if (sent == -EAGAIN) return true;
    if (sent <= 0) return false;
    c->head = (c->head + (uint32_t)sent) % RING_SIZE;
    c->used -= (uint32_t)sent;
    c->progress_ns = clock_ns(1);
  }
  return true;
}

static bool length_fits(const struct frame_header *header) {
  switch (header->type) {
    case FRAME_START:
    case FRAME_REOPEN_LOG:
    case FRAME_STDIN_EOF:
    case FRAME_KILL:
    case FRAME_SYNCED:
      return header->length == 0;
    case FRAME_ATTACH:
      return header->length == 4;
    case FRAME_RESIZE:
      return header->length == 8;
    case FRAME_STDIN:
      return header->length <= FRAME_MAX_PAYLOAD;
    default:
      return false;
  }
}

static long receive(const struct client *c, void *to, size_t size) {
  for (;;) {
    long result = SYS(recvfrom, c->fd, to, size, MSG_DONTWAIT_FLAG, 0, 0);
    if (result != -EINTR) return result == 0 ? -EPIPE : result;
  }
}

static enum client_event read_header(struct client *c) {
  size_t missing = sizeof c->header - c->header_have;
  long got = receive(c, (uint8_t *)&c->header + c->header_have, missing);
  if (got < 0) return got == -EAGAIN ? CLIENT_NOTHING : CLIENT_GONE;
  c->header_have += (uint32_t)got;
  if ((size_t)got < missing) return CLIENT_NOTHING;
  const uint8_t *zero = c->header.zero;
  if (zero[0] != 0 || zero[1] != 0 || zero[2] != 0 || !length_fits(&c->header)) return CLIENT_GONE;
  c->remaining = c->header.length;
  c->numbers_have = 0;
  return CLIENT_FRAME;
}

enum client_event client_read(struct client *c) {
  if (c->header_have < sizeof c->header) {
    enum client_event event = read_header(c);
    if (event != CLIENT_FRAME) return event;
  }
  if (c->header.type == FRAME_STDIN && c->remaining > 0) return CLIENT_INPUT;
  if (c->remaining > 0) {
    long got = receive(c, (uint8_t *)c->numbers + c->numbers_have, c->remaining);
    if (got < 0) return got == -EAGAIN ? CLIENT_NOTHING : CLIENT_GONE;
    c->numbers_have += (uint32_t)got;
    c->remaining -= (uint32_t)got;
    if (c->remaining > 0) return CLIENT_NOTHING;
  }
  c->header_have = 0;
  return c->header.type == FRAME_STDIN ? CLIENT_NOTHING : CLIENT_FRAME;
}

bool input_take(struct input *input, struct client *from) {
  size_t size = from->remaining < input->size ? from->remaining : input->size;
  long got = receive(from, input->bytes, size);
  if (got < 0) return got == -EAGAIN;
  from->remaining -= (uint32_t)got;
  if (from->remaining == 0) from->header_have = 0;
  // Input for a program that closed its end, or has none, is dropped as a terminal would.
  input->at = 0;
  input->used = input->fd < 0 || input->closing ? 0 : (uint32_t)got;
  input_flush(input);
  return true;
}

void input_flush(struct input *input) {
  while (input->used > 0) {
    long written = write_fd(input->fd, input->bytes + input->at, input->used);
    if (written == -EAGAIN) return;
    if (written <= 0) {
      input->used = 0;
      if (!input->is_pty) input_close(input);
      return;
    }
    input->at += (uint32_t)written;
    input->used -= (uint32_t)written;
  }
  if (input->closing) input_close(input);
}

void input_close(struct input *input) {
  // A terminal has no end of input of its own: hanging it up would end the program.
  if (!input->is_pty) close_fd(input->fd);
  input->fd = -1;
  input->used = 0;
}
