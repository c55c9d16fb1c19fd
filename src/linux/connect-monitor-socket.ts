// Connects to monitor.sock in a container's directory. sun_path has room for 108 bytes, so the address goes by way of a
// descriptor of the directory.
import { closeSync, openSync } from "node:fs";
import { type Socket, createConnection } from "node:net";
import { O_CLOEXEC, O_DIRECTORY, O_PATH } from "./files.ts";

/** Rejects with the errno error of node:net: ENOENT or ECONNREFUSED when no monitor is there. */
export function connectMonitorSocket(containerDir: string): Promise<Socket> {
  const directory = openSync(containerDir, O_PATH | O_DIRECTORY | O_CLOEXEC);
  return new Promise<Socket>((resolve, reject) => {
    const socket = createConnection({ path: `/proc/self/fd/${directory}/monitor.sock` });
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(socket);
    });
  }).finally(() => closeSync(directory));
}
