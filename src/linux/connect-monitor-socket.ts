// Connects to monitor.sock in a container's directory. sun_path has room for 108 bytes, so the address goes by way of a
// descriptor of the directory.
import { closeSync, openSync } from "node:fs";
import { type Socket, createConnection } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { errnoOf } from "../base/errors.ts";
import { O_CLOEXEC, O_DIRECTORY, O_PATH } from "./files.ts";

const retryMs = 10;
const retries = 500;

/** Rejects with the errno error of node:net: ENOENT or ECONNREFUSED when no monitor is there. */
export async function connectMonitorSocket(containerDir: string): Promise<Socket> {
  const directory = openSync(containerDir, O_PATH | O_DIRECTORY | O_CLOEXEC);
  const path = `/proc/self/fd/${directory}/monitor.sock`;
  try {
    // unix(7): the queue is full, as when many attach at once to a monitor that waits for a processor.
    for (let attempt = 0; attempt < retries; attempt++) {
      const socket = await connect(path).catch(unlessBusy);
      if (socket !== undefined) return socket;
      await delay(retryMs);
    }
    return await connect(path);
  } finally {
    closeSync(directory);
  }
}

function unlessBusy(error: unknown): undefined {
  if (errnoOf(error) !== "EAGAIN") throw error;
}

function connect(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ path });
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(socket);
    });
  });
}
