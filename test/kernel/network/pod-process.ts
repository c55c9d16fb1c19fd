// The process inside a pod's network namespace: holds it open, has a route socket for the test to take, and speaks
// TCP and UDP on request. Started by pod-netns.ts with an IPC channel.
import { createSocket, type Socket as DatagramSocket } from "node:dgram";
import { connect, createServer } from "node:net";
import { NETLINK_ROUTE, NetlinkSocket } from "../../../src/linux/netlink-socket.ts";
import type { PodCommand } from "./pod-netns.ts";

const route = NetlinkSocket.open(NETLINK_ROUTE);

const commands: { [K in PodCommand["op"]]: (command: Extract<PodCommand, { op: K }>) => Promise<string> } = {
  serveTcp: ({ port, host }) =>
    new Promise((resolve, reject) => {
      const server = createServer({ allowHalfOpen: true }, (client) => {
        const chunks: Buffer[] = [];
        client.on("error", () => {});
        client.on("data", (chunk) => chunks.push(chunk));
        client.on("end", () => client.end(`${client.remoteAddress} ${Buffer.concat(chunks).toString()}`));
      });
      server.on("error", reject);
      server.listen(port, host, () => resolve("listening"));
    }),
  serveUdp: ({ port }) =>
    new Promise((resolve, reject) => {
      const socket = createSocket("udp4");
      socket.on("error", reject);
      socket.on("message", (datagram, client) =>
        socket.send(`${client.address} ${datagram.toString()}`, client.port, client.address),
      );
      socket.bind(port, () => resolve("bound"));
    }),
  tcp: ({ host, port, text }) => exchangeTcp(host, port, text),
  udp: ({ host, port, text }) => exchangeUdp(host, port, text),
};

/** Sends `text`, half-closes, and returns all that comes back; "error: CODE" where that fails. */
function exchangeTcp(host: string, port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connect({ host, port, timeout: 1500 });
    socket.setEncoding("utf8");
    socket.on("connect", () => socket.end(text));
    socket.on("data", (chunk: string) => (answer += chunk));
    socket.on("end", () => resolve(answer));
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(`error: ${error.code}`));
    socket.on("timeout", () => {
      socket.destroy();
      resolve("error: timeout");
    });
  });
}

function exchangeUdp(host: string, port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket: DatagramSocket = createSocket(host.includes(":") ? "udp6" : "udp4");
    const finish = (answer: string): void => {
      clearTimeout(timer);
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(() => finish("error: timeout"), 1500);
    socket.on("error", (error: NodeJS.ErrnoException) => finish(`error: ${error.code}`));
    socket.on("message", (answer) => finish(answer.toString()));
    socket.send(text, port, host);
  });
}

process.on("message", (message: { id: number; command: PodCommand }) => {
  const run = commands[message.command.op] as (command: PodCommand) => Promise<string>;
  run(message.command).then(
    (answer) => process.send?.({ id: message.id, answer }),
    (error: unknown) => process.send?.({ id: message.id, answer: `error: ${String(error)}` }),
  );
});
process.on("disconnect", () => process.exit(0));
process.send?.({ routeSocket: route.fd });
