// The socket at which plugins connect.
import { lstatSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { StagedSocket } from "../../linux/staged-socket.ts";

/**
 * Only root reaches it. Nothing of a connection is read before somebody listens to its data.
 * @throws CricketError failed-precondition where another daemon listens
 */
export async function listenForPlugins(
  path: string,
  onSocket: (socket: Socket) => void,
): Promise<{ close(): void }> {
  const staged = await StagedSocket.prepare(path);
  const server = createServer((socket) => {
    // One that breaks before it is looked at must not end the daemon.
    socket.on("error", () => {});
    onSocket(socket);
  });
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(staged.path, () => {
        server.off("error", reject);
        resolve();
      });
    });
    staged.publish();
  } catch (error) {
    staged.discard();
    server.close();
    throw error;
  }
  // A failing accept (no descriptors left) is no reason to end.
  server.on("error", () => {});
  const { ino } = lstatSync(path);
  return {
    close: () => {
      server.close();
      // Unless another daemon has put its own there meanwhile.
      if (lstatSync(path, { throwIfNoEntry: false })?.ino === ino) rmSync(path, { force: true });
    },
  };
}
