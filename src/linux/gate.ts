// The gate of a container that nothing of cricket stays beside: its first process listens on gate.sock in the
// container's directory, and whoever connects and sends the container's state lets it go on.
import { closeSync, openSync, rmSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { join } from "node:path";
import { ControlConnection } from "./control-connection.ts";
import { launchErrorOf, reportOf } from "./describe-step.ts";
import { close, O_CLOEXEC, O_DIRECTORY, O_PATH } from "./files.ts";
import { frameType } from "./frames.ts";
import { check, libc } from "./libc.ts";
import { CricketError, errnoOf, failedPrecondition, wrapError } from "../base/errors.ts";

export const gateName = "gate.sock";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const addressBytes = 110;

// int socket(int domain, int type, int protocol); int bind(int, const struct sockaddr *, socklen_t); listen, connect
const cSocket = libc.func("int socket(int domain, int type, int protocol)");
const cBind = libc.func("int bind(int fd, const void *address, uint32_t length)");
const cListen = libc.func("int listen(int fd, int backlog)");
const cConnect = libc.func("int connect(int fd, const void *address, uint32_t length)");

// sun_path has room for 108 bytes with its NUL; longer paths go by way of a descriptor of their directory.
function unixAddress(path: string): Buffer {
  const address = Buffer.alloc(addressBytes);
  address.writeUInt16LE(AF_UNIX, 0);
  const bytes = Buffer.from(path);
  if (bytes.length > addressBytes - 3)
    throw new CricketError("invalid-argument", `socket path ${path} is too long`);
  bytes.copy(address, 2);
  return address;
}

function withDirectory<T>(directory: string, use: (path: string) => T): T {
  const fd = openSync(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
  try {
    return use(`/proc/self/fd/${fd}`);
  } finally {
    closeSync(fd);
  }
}

/** A listening socket `gate.sock` in `directory`; the caller closes it once the helper has it. Throws SyscallError. */
export function listenAtGate(directory: string): number {
  const fd = check(cSocket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) as number, "socket");
  try {
    withDirectory(directory, (path) => {
      const address = unixAddress(`${path}/${gateName}`);
      check(cBind(fd, address, address.length) as number, "bind", `${directory}/${gateName}`);
    });
    check(cListen(fd, 4) as number, "listen", gateName);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** A connected unix stream socket; the caller closes it. Throws SyscallError. */
export function connectUnix(path: string): number {
  const fd = check(cSocket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) as number, "socket");
  try {
    const address = unixAddress(path);
    check(cConnect(fd, address, address.length) as number, "connect", path);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** A length (u32, little-endian) and the bytes. */
export function encodeState(state: string): Buffer {
  const bytes = Buffer.from(state);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/**
 * Lets the container in `directory` go on; resolves when execve has succeeded, and removes the gate. Rejects with
 * LaunchError (the errno of execve), CricketError failed-precondition when nobody waits at the gate.
 */
export async function openGate(directory: string, state: string): Promise<void> {
  const socket = await connectGate(directory);
  await new Promise<void>((resolve, reject) => {
    let failure: Error | undefined;
    let executing = false;
    new ControlConnection(socket, {
      onFrame(frame) {
        if (frame.type === frameType.failed) failure ??= launchErrorOf(undefined, reportOf(frame));
        else if (frame.type === frameType.executing) executing = true;
      },
      onClose(error) {
        const killed = executing
          ? undefined
          : new CricketError("internal", "the container was killed before it ran");
        const reason = failure ?? error ?? killed;
        if (reason === undefined) resolve();
        else reject(reason);
      },
    });
    socket.write(encodeState(state));
  });
  rmSync(join(directory, gateName), { force: true });
}

async function connectGate(directory: string): Promise<Socket> {
  const fd = openSync(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
  try {
    return await new Promise<Socket>((resolve, reject) => {
      const socket = createConnection({ path: `/proc/self/fd/${fd}/${gateName}` });
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.off("error", reject);
        resolve(socket);
      });
    });
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ENOENT" || errno === "ECONNREFUSED") throw failedPrecondition("nobody waits at the gate");
    throw wrapError(`connect to the gate in ${directory}`, error);
  } finally {
    closeSync(fd);
  }
}
