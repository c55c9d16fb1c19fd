// The other end of `--console-socket`.
import { createServer, type Socket } from "node:net";
import { DescriptorChannel } from "../../src/linux/sockets.ts";

/** The descriptor that the first connection brings; its socket is never read by Node, which would drop it. */
export function receiveTerminal(path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer({ pauseOnConnect: true }, (socket: Socket) => {
      const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
      const channel = new DescriptorChannel(fd);
      const wait = (): void => {
        const [terminal] = channel.takeAll();
        if (terminal === undefined) {
          setTimeout(wait, 5);
          return;
        }
        socket.destroy();
        server.close();
        resolve(terminal.fd);
      };
      wait();
    });
    server.on("error", reject);
    server.listen(path);
  });
}
