// sd_notify(3): tells systemd when the daemon is ready. A datagram to a unix socket, which node:dgram cannot send.
import { close } from "./files.ts";
import { check, libc } from "./libc.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;
const sunPathOffset = 2;
/** sizeof(sockaddr_un.sun_path) */
const sunPathLength = 108;

const cSocket = libc.func("int socket(int domain, int type, int protocol)");
const cSendto = libc.func(
  "intptr_t sendto(int fd, const void *data, size_t length, int flags, const void *address, uint32_t addressLength)",
);

/**
 * Sends `state` ("READY=1", "STOPPING=1", "STATUS=...") to the socket named by NOTIFY_SOCKET. False where there is
 * none, that is when nobody supervises the daemon. Throws SyscallError when the supervisor cannot be reached.
 */
export function notifySupervisor(
  state: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): boolean {
  const address = notifyAddress(env["NOTIFY_SOCKET"]);
  if (address === undefined) return false;
  const fd = check(cSocket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) as number, "socket", "AF_UNIX");
  try {
    const data = Buffer.from(state);
    const sent = Number(cSendto(fd, data, data.length, MSG_NOSIGNAL, address, address.length));
    check(sent, "sendto", env["NOTIFY_SOCKET"]);
    return true;
  } finally {
    close(fd);
  }
}

/** How often sd_watchdog_enabled(3) wants to hear of this process: twice in its time. Undefined: never. */
export function watchdogIntervalMs(
  env: Readonly<Record<string, string | undefined>>,
  pid: number,
): number | undefined {
  const { WATCHDOG_USEC: time = "", WATCHDOG_PID: whose = "" } = env;
  if (!/^[1-9]\d{0,15}$/.test(time) || (whose !== "" && whose !== String(pid))) return undefined;
  return Math.max(1, Math.min(Math.floor(Number(time) / 2000), 2 ** 31 - 1));
}

/** struct sockaddr_un; "@name" is an abstract socket, whose address begins with a NUL and has no end mark. */
function notifyAddress(path: string | undefined): Buffer | undefined {
  if (path === undefined || !/^[@/]./.test(path)) return undefined;
  const name = Buffer.from(path);
  if (name.length >= sunPathLength) return undefined;
  const abstract = path.startsWith("@");
  if (abstract) name[0] = 0;
  const bytes = Buffer.alloc(sunPathOffset + name.length + (abstract ? 0 : 1));
  bytes.writeUInt16LE(AF_UNIX, 0);
  name.copy(bytes, sunPathOffset);
  return bytes;
}
