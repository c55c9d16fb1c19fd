// The demo's web server: answers every request with a page about the machine it finds itself on, and logs one line
// a request. PID 1 of its container, static, without threads.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { PORT = 8080, REQUEST_SIZE = 4096 };

// PID 1 gets no default action for signals: without a handler the container could only be killed.
static void leave(int signal) {
  (void)signal;
  _exit(0);
}

static int listen_on(unsigned short port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  int reuse = 1;
  int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (server < 0) return -1;
  if (setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse) != 0) return -1;
  if (bind(server, (struct sockaddr *)&address, sizeof address) != 0) return -1;
  return listen(server, 16) == 0 ? server : -1;
}

static void write_all(int fd, const char *bytes, size_t size) {
  while (size > 0) {
    ssize_t written = write(fd, bytes, size);
    if (written <= 0) return;
    bytes += written;
    size -= (size_t)written;
  }
}

static void answer(int client, unsigned long number) {
  char request[REQUEST_SIZE];
  char body[512];
  char head[128];
  struct utsname host;
  ssize_t size = read(client, request, sizeof request - 1);
  if (size <= 0) return;
  request[size] = '\0';
  request[strcspn(request, "\r\n")] = '\0';
  printf("request %lu: %s\n", number, request);
  uname(&host);
  int body_size = snprintf(body, sizeof body, "hello from %s: pid %d, uid %d, request %lu\n", host.nodename,
                           (int)getpid(), (int)getuid(), number);
  int head_size = snprintf(
      head, sizeof head,
      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", body_size);
  write_all(client, head, (size_t)head_size);
  write_all(client, body, (size_t)body_size);
}

int main(void) {
  // A log line must be out when its request has been answered, not when a buffer is full.
  setvbuf(stdout, NULL, _IOLBF, 0);
  signal(SIGTERM, leave);
  signal(SIGPIPE, SIG_IGN);
  int server = listen_on(PORT);
  if (server < 0) {
    perror("listen");
    return 1;
  }
  printf("listening on port %d\n", PORT);
  for (unsigned long number = 1;; number++) {
    int client = accept4(server, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0) continue;
    answer(client, number);
    close(client);
  }
}
