// Passes UDP datagrams to a port of the host on to a pod, and the answers back: one connected socket towards the
// pod for each client address.
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";
import type { ListenAddress, PortProxy, ProxyTarget } from "./tcp-proxy.ts";

export interface UdpProxyLimits {
  /** A client address that is silent in both directions for so long is forgotten. */
  idleTimeoutMs: number;
  /** Client addresses at a time; beyond it the one that was silent longest is forgotten. */
  maxFlows: number;
}

export const defaultUdpLimits: UdpProxyLimits = { idleTimeoutMs: 60_000, maxFlows: 1024 };

// What may wait in a socket that cannot send; more is dropped, as UDP does on a full queue.
const maxQueuedBytes = 1 << 20;

// What may wait for a flow's connect(2), which takes one turn of the event loop.
const maxWaiting = 64;

interface Flow {
  socket: Socket;
  lastUsedMs: number;
  /** Datagrams from before the socket was connected; undefined once it is. */
  waiting: Buffer[] | undefined;
}

/** Resolves when the port is open. Rejects with the errno of bind(2). */
export async function openUdpProxy(
  listen: ListenAddress,
  target: ProxyTarget,
  limits: UdpProxyLimits = defaultUdpLimits,
): Promise<PortProxy> {
  const front = isIPv6(listen.host)
    ? createSocket({ type: "udp6", ipv6Only: listen.ipv6Only })
    : createSocket("udp4");
  const flows = new UdpFlows(front, target, limits);
  front.on("message", (datagram, client) => flows.forward(datagram, client));
  await new Promise<void>((resolve, reject) => {
    front.once("error", reject);
    front.bind({ address: listen.host, port: listen.port, exclusive: true }, () => {
      front.off("error", reject);
      // An ICMP error of one client must not end the proxy for the others.
      front.on("error", () => {});
      resolve();
    });
  });
  return {
    close: () => {
      flows.close();
      return new Promise((resolve) => front.close(() => resolve()));
    },
  };
}

class UdpFlows {
  readonly #front: Socket;
  readonly #target: ProxyTarget;
  readonly #limits: UdpProxyLimits;
  /** In the order of last use: a flow that is used moves to the end. */
  readonly #flows = new Map<string, Flow>();
  readonly #sweep: NodeJS.Timeout;

  constructor(front: Socket, target: ProxyTarget, limits: UdpProxyLimits) {
    this.#front = front;
    this.#target = target;
    this.#limits = limits;
    this.#sweep = setInterval(() => this.#forgetIdle(), Math.max(limits.idleTimeoutMs / 4, 10));
    this.#sweep.unref();
  }

  forward(datagram: Buffer, client: RemoteInfo): void {
    const key = `${client.address} ${client.port}`;
    const flow = this.#flows.get(key) ?? this.#open(key, client);
    this.#touch(key, flow);
    if (flow.waiting === undefined) send(flow, datagram);
    else if (flow.waiting.length < maxWaiting) flow.waiting.push(datagram);
  }

  close(): void {
    clearInterval(this.#sweep);
    for (const [key, flow] of this.#flows) this.#forget(key, flow);
  }

  #open(key: string, client: RemoteInfo): Flow {
    for (const [oldest, idle] of this.#flows) {
      if (this.#flows.size < this.#limits.maxFlows) break;
      this.#forget(oldest, idle);
    }
    const socket = createSocket(isIPv6(this.#target.address) ? "udp6" : "udp4");
    const flow: Flow = { socket, lastUsedMs: 0, waiting: [] };
    // ECONNREFUSED while the pod's server is not up: the client's next datagram tries again.
    socket.on("error", () => {});
    socket.on("message", (answer, sender) => {
      // The socket is connected, but until connect(2) anyone could have sent to it.
      if (sender.port !== this.#target.port || sender.address !== this.#target.address) return;
      this.#touch(key, flow);
      if (this.#front.getSendQueueSize() > maxQueuedBytes) return;
      this.#front.send(answer, client.port, client.address, () => {});
    });
    socket.connect(this.#target.port, this.#target.address, () => {
      const waiting = flow.waiting ?? [];
      flow.waiting = undefined;
      for (const datagram of waiting) send(flow, datagram);
    });
    return flow;
  }

  #touch(key: string, flow: Flow): void {
    // A flow that was forgotten may still deliver what it had read.
    if (flow.lastUsedMs === -1) return;
    flow.lastUsedMs = performance.now();
    this.#flows.delete(key);
    this.#flows.set(key, flow);
  }

  #forget(key: string, flow: Flow): void {
    this.#flows.delete(key);
    flow.lastUsedMs = -1;
    flow.socket.close();
  }

  #forgetIdle(): void {
    const limit = performance.now() - this.#limits.idleTimeoutMs;
    for (const [key, flow] of this.#flows) {
      if (flow.lastUsedMs > limit) return;
      this.#forget(key, flow);
    }
  }
}

function send(flow: Flow, datagram: Buffer): void {
  if (flow.socket.getSendQueueSize() <= maxQueuedBytes) flow.socket.send(datagram, () => {});
}
