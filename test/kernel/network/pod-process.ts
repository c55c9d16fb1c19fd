// The process inside a pod's network namespace: holds it open, has a route socket for the test to take, and speaks
// TCP and UDP on request. Started by pod-netns.ts with an IPC channel.
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { decodeLink, getLink } from "../../../src/linux/netlink-route.ts";
import { NETLINK_ROUTE, NetlinkSocket } from "../../../src/linux/netlink-socket.ts";
import { exchangeTcp, exchangeUdp } from "./exchange.ts";
import { advertiseRouter } from "./router-advertisement.ts";
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
  udp: ({ host, port, text, sourcePort }) => exchangeUdp(host, port, text, sourcePort),
  advertiseRouter: async ({ times }) => {
    const { index } = decodeLink(await route.get(getLink({ name: "eth0" })));
    for (let count = 0; count < times; count++) {
      advertiseRouter(index);
      await delay(50);
    }
    return "sent";
  },
};

process.on("message", (message: { id: number; command: PodCommand }) => {
  const run = commands[message.command.op] as (command: PodCommand) => Promise<string>;
  run(message.command).then(
    (answer) => process.send?.({ id: message.id, answer }),
    (error: unknown) => process.send?.({ id: message.id, answer: `error: ${String(error)}` }),
  );
});
process.on("disconnect", () => process.exit(0));
process.send?.({ routeSocket: route.fd });
