// `report`'s part about network interfaces.
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "probe.h"

static void put_addresses(const struct ifaddrs *list, const char *name) {
  const char *comma = "";
  for (const struct ifaddrs *entry = list; entry != NULL; entry = entry->ifa_next) {
    if (entry->ifa_addr == NULL || strcmp(entry->ifa_name, name) != 0) continue;
    int family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    const void *address = family == AF_INET
                              ? (const void *)&((const struct sockaddr_in *)(const void *)entry->ifa_addr)->sin_addr
                              : (const void *)&((const struct sockaddr_in6 *)(const void *)entry->ifa_addr)->sin6_addr;
    char text[INET6_ADDRSTRLEN];
    printf("%s\"%s\"", comma, inet_ntop(family, address, text, sizeof text));
    comma = ",";
  }
}

static int is_up(const char *name) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  int result = ioctl(fd, SIOCGIFFLAGS, &request);
  close(fd);
  return result == 0 && (request.ifr_flags & IFF_UP) != 0;
}

void put_network(void) {
  struct ifaddrs *addresses = NULL;
  struct if_nameindex *names = if_nameindex();
  getifaddrs(&addresses);
  printf(",\"interfaces\":{");
  for (int i = 0; names != NULL && names[i].if_name != NULL; i++) {
    const char *name = names[i].if_name;
    printf("%s\"%s\":{\"up\":%s,\"addresses\":[", i > 0 ? "," : "", name, is_up(name) ? "true" : "false");
    put_addresses(addresses, name);
    printf("]}");
  }
  putchar('}');
  freeifaddrs(addresses);
  if (names != NULL) if_freenameindex(names);
}
