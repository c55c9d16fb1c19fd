// The CRI log of one container: `<RFC 3339 time> <stdout|stderr> <P|F> <content>`, one write a line.
#ifndef CRICKET_LOG_H
#define CRICKET_LOG_H

#include "sys.h"

#define LOG_STDOUT 0
#define LOG_STDERR 1

struct log_stream {
  uint8_t *pending;  // the beginning of a line whose end has not come yet
  uint32_t used;
};

struct log {
  const char *path;  // NULL: no log is kept
  int fd;
  uint32_t limit;  // content bytes of one line; longer ones are split and tagged P
  bool torn;       // the last write stopped in the middle of a line
  struct log_stream streams[2];
  int64_t second;  // for which `prefix` holds the date
  char prefix[48];
};

// Opens the file and takes memory for pending lines. 0 or -errno.
int log_open(struct log *log, const char *path, uint32_t limit);
// Opens the path anew after a rotation; on failure the old file stays in use. 0 or -errno.
int log_reopen(struct log *log);
void log_write(struct log *log, int stream, const uint8_t *bytes, size_t size);
// Writes lines that never got their newline.
void log_finish(struct log *log);

#endif
