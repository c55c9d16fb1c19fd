// What a process inside the demo's container sees: its names, its processes, its addresses, its root.
#include <arpa/inet.h>
#include <dirent.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

static void print_processes(void) {
  DIR *directory = opendir("/proc");
  if (directory == NULL) return;
  printf("processes:");
  for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
    if (atoi(entry->d_name) > 0) printf(" %s", entry->d_name);
  }
  printf("\n");
  closedir(directory);
}

static void print_addresses(void) {
  struct ifaddrs *list;
  if (getifaddrs(&list) != 0) return;
  for (struct ifaddrs *at = list; at != NULL; at = at->ifa_next) {
    char text[INET_ADDRSTRLEN];
    if (at->ifa_addr == NULL || at->ifa_addr->sa_family != AF_INET) continue;
    struct sockaddr_in *address = (struct sockaddr_in *)(void *)at->ifa_addr;
    printf("address: %s %s\n", at->ifa_name, inet_ntop(AF_INET, &address->sin_addr, text, sizeof text));
  }
  freeifaddrs(list);
}

int main(void) {
  struct utsname host;
  uname(&host);
  printf("hostname: %s, pid %d, uid %d\n", host.nodename, (int)getpid(), (int)getuid());
  print_processes();
  print_addresses();
  return 0;
}
