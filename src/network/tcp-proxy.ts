// Passes TCP connections to a port of the host on to a pod.
import { connect, createServer, type Server, type Socket } from "node:net";

export interface ProxyTarget {
  address: string;
  port: number;
}

export interface ListenAddress {
  /** "::" with `ipv6Only` false takes IPv4 as well. */
  host: string;
  port: number;
  ipv6Only: boolean;
}

export interface PortProxy {
  close(): Promise<void>;
}

/** Connections of one host port at a time; beyond it new ones are closed at once. */
const maxConnections = 4096;
const connectTimeoutMs = 10_000;
/** Finds peers that vanished without a word. */
const keepAliveMs = 60_000;
/** How long the rest of a stream may stand still once its sender is gone. */
const drainTimeoutMs = 60_000;
/** How long a connection may stand still that one side has ended; conntrack gives such a one two minutes. */
const halfClosedTimeoutMs = 300_000;

/** Resolves when the port is open. Rejects with the errno of listen(2): EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT. */
export async function openTcpProxy(listen: ListenAddress, target: ProxyTarget): Promise<PortProxy> {
  const clients = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (client) => {
    clients.add(client);
    client.on("close", () => clients.delete(client));
    relay(client, target);
  });
  server.maxConnections = maxConnections;
  await listening(server, listen);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        // close() alone waits for the last connection to end by itself.
        for (const client of clients) client.destroy();
      }),
  };
}

function listening(server: Server, listen: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ ...listen, exclusive: true }, () => {
      server.off("error", reject);
      // EMFILE on accept: the kernel keeps the connection, and the server tries again when one has ended.
      server.on("error", () => {});
      resolve();
    });
  });
}

// pipe() stops reading one side while the other does not take more, and passes a half close on.
function relay(client: Socket, target: ProxyTarget): void {
  const pod = connect({ host: target.address, port: target.port, allowHalfOpen: true });
  const timer = setTimeout(() => pod.destroy(), connectTimeoutMs);
  pod.once("connect", () => {
    clearTimeout(timer);
    client.pipe(pod);
    pod.pipe(client);
  });
  for (const side of [client, pod]) {
    side.on("error", () => {});
    side.setKeepAlive(true, keepAliveMs);
  }
  client.on("end", () => pod.setTimeout(halfClosedTimeoutMs, () => pod.destroy()));
  pod.on("end", () => client.setTimeout(halfClosedTimeoutMs, () => client.destroy()));
  client.on("close", () => end(pod, client));
  pod.on("close", () => {
    clearTimeout(timer);
    end(client, pod);
  });
}

// A side that ended in order leaves what it sent to be delivered; one that failed resets the other, so that the
// peer does not take a cut stream for a whole one.
function end(rest: Socket, gone: Socket): void {
  if (gone.errored !== null || !rest.writableEnded) rest.resetAndDestroy();
  else rest.setTimeout(drainTimeoutMs, () => rest.destroy());
}
