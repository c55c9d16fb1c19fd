#include "log.h"

#define NANOSECONDS 1000000000
#define SECONDS_A_DAY 86400
#define PREFIX_DATE_LENGTH 20  // "2006-01-02T15:04:05."
#define PROT_READ_WRITE 3
#define MAP_PRIVATE_ANONYMOUS 0x22
#define LOG_MODE 0640

static int open_file(const char *path) {
  // NONBLOCK and the check: whoever may write to the log directory must not stop the monitor with a FIFO, nor send the
  // log elsewhere with a link.
  long fd = SYS(openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                LOG_MODE);
  if (fd < 0) return (int)fd;
  struct statx stat;
  long result = SYS(statx, fd, "", AT_EMPTY_PATH, STATX_TYPE, &stat);
  if (result == 0 && (stat.stx_mode & S_IFMT) != S_IFREG) result = -EINVAL;
  if (result == 0) return (int)fd;
  close_fd((int)fd);
  return (int)result;
}

int log_open(struct log *log, const char *path, uint32_t limit) {
  log->path = path;
  log->limit = limit;
  log->fd = open_file(path);
  if (log->fd < 0) return log->fd;
  long memory = SYS(mmap, 0, 2UL * limit, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
  if (memory < 0 && memory > -4096) return (int)memory;
  log->streams[0].pending = (uint8_t *)memory;
  log->streams[1].pending = log->streams[0].pending + limit;
  return 0;
}

int log_reopen(struct log *log) {
  if (log->path == NULL) return 0;
  int fd = open_file(log->path);
  if (fd < 0) return fd;
  close_fd(log->fd);
  log->fd = fd;
  log->torn = false;
  return 0;
}

static void put_digits(char *to, uint32_t value, int digits) {
  for (int i = digits - 1; i >= 0; i--) {
    to[i] = (char)('0' + value % 10);
    value /= 10;
  }
}

// The Gregorian date of a day count since 1970, by 400-year eras that begin on 1 March.
static void put_date(char *to, int64_t days) {
  days += 719468;
  int64_t era = days / 146097;
  uint32_t day_of_era = (uint32_t)(days - era * 146097);
  uint32_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  uint32_t month_from_march = (5 * day_of_year + 2) / 153;
  uint32_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
  uint32_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  uint32_t year = year_of_era + (uint32_t)era * 400 + (month <= 2 ? 1 : 0);
  put_digits(to, year, 4);
  put_digits(to + 5, month, 2);
  put_digits(to + 8, day, 2);
}

static void set_prefix(struct log *log) {
  int64_t now = clock_ns(0);
  int64_t second = now / NANOSECONDS;
  if (second != log->second) {
    uint32_t in_day = (uint32_t)(second % SECONDS_A_DAY);
    text_copy(log->prefix, sizeof log->prefix, "0000-00-00T00:00:00.000000000Z stdout F ");
    put_date(log->prefix, second / SECONDS_A_DAY);
    put_digits(log->prefix + 11, in_day / 3600, 2);
    put_digits(log->prefix + 14, in_day / 60 % 60, 2);
    put_digits(log->prefix + 17, in_day % 60, 2);
    log->second = second;
  }
  put_digits(log->prefix + PREFIX_DATE_LENGTH, (uint32_t)(now % NANOSECONDS), 9);
}

static void write_all(struct log *log, struct iovec *parts, size_t count) {
  size_t at = 0;
  bool wrote = false;
  while (at < count) {
    long written = SYS(writev, log->fd, parts + at, count - at);
    if (written == -EINTR) continue;
    // A full disk loses lines; it must neither stop nor end the container. Part of a line may be out: the next one
    // then begins with a newline, so that only this one is damaged.
    if (written <= 0) {
      log->torn = log->torn || wrote;
      return;
    }
    wrote = true;
    while (at < count && (size_t)written >= parts[at].iov_len) written -= (long)parts[at++].iov_len;
    if (at == count) break;
    parts[at].iov_base = (uint8_t *)parts[at].iov_base + written;
    parts[at].iov_len -= (size_t)written;
  }
  log->torn = false;
}

static void write_line(struct log *log, int stream, const uint8_t *bytes, size_t size, char tag) {
  struct log_stream *s = &log->streams[stream];
  static char newline[] = "\n";
  memcpy(log->prefix + 31, stream == LOG_STDOUT ? "stdout" : "stderr", 6);
  log->prefix[38] = tag;
  union {
    const uint8_t *in;
    uint8_t *out;
  } constness = {.in = bytes};
  struct iovec parts[] = {
      {newline, log->torn ? 1 : 0}, {log->prefix, 40}, {s->pending, s->used}, {constness.out, size}, {newline, 1}};
  write_all(log, parts, sizeof parts / sizeof *parts);
  s->used = 0;
}

static size_t line_length(const uint8_t *bytes, size_t size) {
  size_t length = 0;
  while (length < size && bytes[length] != '\n') length++;
  return length;
}

void log_write(struct log *log, int stream, const uint8_t *bytes, size_t size) {
  struct log_stream *s = &log->streams[stream];
  if (log->path == NULL || log->fd < 0) return;
  set_prefix(log);
  while (size > 0) {
    size_t length = line_length(bytes, size);
    size_t room = log->limit - s->used;
    if (length > room) {
      write_line(log, stream, bytes, room, 'P');
      bytes += room;
      size -= room;
    } else if (length < size) {
      write_line(log, stream, bytes, length, 'F');
      bytes += length + 1;
      size -= length + 1;
    } else {
      memcpy(s->pending + s->used, bytes, length);
      s->used += (uint32_t)length;
      size = 0;
    }
  }
}

void log_finish(struct log *log) {
  if (log->path == NULL || log->fd < 0) return;
  set_prefix(log);
  // P although nothing follows: the kubelet adds a newline after F, and a termination message taken from the log is to be
  // what the program wrote (Kubernetes conformance).
  for (int stream = 0; stream < 2; stream++) {
    if (log->streams[stream].used > 0) write_line(log, stream, NULL, 0, 'P');
  }
}
