import assert from "node:assert/strict";
import { createSocket, type Socket as DatagramSocket } from "node:dgram";
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import test, { type TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { openTcpProxy, type ListenAddress, type PortProxy } from "../../../src/network/tcp-proxy.ts";
import { openUdpProxy, type UdpProxyLimits } from "../../../src/network/udp-proxy.ts";

const loopback = "127.0.0.1";

async function tcpTarget(t: TestContext, serve: (client: Socket) => void): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true }, (client) => {
    client.on("error", () => {});
    serve(client);
  });
  server.listen(0, loopback);
  await once(server, "listening");
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, loopback);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

const listenOn = (port: number): ListenAddress => ({ host: loopback, port, ipv6Only: true });

async function tcpProxy(t: TestContext, targetPort: number): Promise<{ port: number; proxy: PortProxy }> {
  const port = await freePort();
  const proxy = await openTcpProxy(listenOn(port), { address: loopback, port: targetPort });
  t.after(() => proxy.close());
  return { port, proxy };
}

/** All that the socket receives up to its end; leaves the other direction open. */
function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  return new Promise((resolve, reject) => {
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.on("end", () => resolve(Buffer.concat(chunks)));
    socket.on("error", reject);
  });
}

test("`openTcpProxy()` passes both directions and half closes on", async (t) => {
  const target = await tcpTarget(t, (client) => {
    void readAll(client).then((request) => client.end(`got ${request.toString()}`));
  });
  const { port } = await tcpProxy(t, target);
  const client = connect({ port, host: loopback, allowHalfOpen: true });
  client.end("hello");
  assert.equal((await readAll(client)).toString(), "got hello");
});

test("`openTcpProxy()` delivers all of a large answer to a slow reader", async (t) => {
  const size = 64 << 20;
  let sent = 0;
  const target = await tcpTarget(t, (client) => {
    client.end(Buffer.alloc(size, "x"), () => (sent = size));
  });
  const { port } = await tcpProxy(t, target);
  const client = connect({ port, host: loopback, allowHalfOpen: true });
  await once(client, "connect");
  await delay(50);
  // Back-pressure: what was not read cannot have left the target, save for what socket buffers hold.
  assert.equal(sent, 0);
  client.end();
  assert.equal((await readAll(client)).length, size);
});

test("`openTcpProxy()` resets the client when the pod refuses", async (t) => {
  const { port } = await tcpProxy(t, await freePort());
  const client = connect({ port, host: loopback });
  const [error] = (await once(client, "error")) as [NodeJS.ErrnoException];
  assert.equal(error.code, "ECONNRESET");
});

test("`openTcpProxy()` resets the client when the pod breaks off", async (t) => {
  const target = await tcpTarget(t, (client) => client.write("part", () => client.resetAndDestroy()));
  const { port } = await tcpProxy(t, target);
  const client = connect({ port, host: loopback });
  await assert.rejects(readAll(client), { code: "ECONNRESET" });
});

test("`openTcpProxy()` closes the pod's side when the client goes away", async (t) => {
  let closed: (() => void) | undefined;
  const podSide = new Promise<void>((resolve) => (closed = resolve));
  const target = await tcpTarget(t, (client) => {
    client.on("close", () => closed?.());
    client.on("data", (data) => client.write(data));
  });
  const { port } = await tcpProxy(t, target);
  const client = connect({ port, host: loopback });
  client.write("x");
  await once(client, "data");
  client.resetAndDestroy();
  await podSide;
});

test("`openTcpProxy()` rejects with EADDRINUSE where the port is taken", async (t) => {
  const taken = await tcpTarget(t, () => {});
  await assert.rejects(openTcpProxy(listenOn(taken), { address: loopback, port: 1 }), { code: "EADDRINUSE" });
});

test("`close()` of a TCP proxy ends connections and frees the port", async (t) => {
  const target = await tcpTarget(t, (client) => client.resume());
  const { port, proxy } = await tcpProxy(t, target);
  const client = connect({ port, host: loopback });
  await once(client, "connect");
  const closed = once(client, "close");
  client.on("error", () => {});
  await proxy.close();
  await closed;
  const again = await openTcpProxy(listenOn(port), { address: loopback, port: target });
  await again.close();
});

async function udpSocket(t: TestContext): Promise<DatagramSocket> {
  const socket = createSocket("udp4");
  socket.bind(0, loopback);
  await once(socket, "listening");
  t.after(() => socket.close());
  return socket;
}

async function udpProxy(t: TestContext, target: DatagramSocket, limits?: UdpProxyLimits): Promise<number> {
  const probe = createSocket("udp4").bind(0, loopback);
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  const address = { address: loopback, port: target.address().port };
  const proxy = await openUdpProxy(listenOn(port), address, limits);
  t.after(() => proxy.close());
  return port;
}

async function ask(client: DatagramSocket, port: number, text: string): Promise<string> {
  client.send(text, port, loopback);
  const [answer] = (await once(client, "message")) as [Buffer];
  return answer.toString();
}

/** Answers with its own count of the client addresses it has seen. */
function countClients(target: DatagramSocket): Set<number> {
  const clients = new Set<number>();
  target.on("message", (datagram, client) => {
    clients.add(client.port);
    target.send(`${datagram.toString()} ${clients.size}`, client.port, client.address);
  });
  return clients;
}

test("`openUdpProxy()` keeps one flow per client and returns its answers to it", async (t) => {
  const target = await udpSocket(t);
  countClients(target);
  const port = await udpProxy(t, target);
  const [one, two] = [await udpSocket(t), await udpSocket(t)];
  assert.deepEqual(
    [
      await ask(one, port, "a"),
      await ask(one, port, "b"),
      await ask(two, port, "c"),
      await ask(one, port, "d"),
    ],
    ["a 1", "b 1", "c 2", "d 2"],
  );
});

test("`openUdpProxy()` forgets a silent flow and serves the client again", async (t) => {
  const target = await udpSocket(t);
  countClients(target);
  const port = await udpProxy(t, target, { idleTimeoutMs: 40, maxFlows: 10 });
  const client = await udpSocket(t);
  assert.equal(await ask(client, port, "a"), "a 1");
  await delay(150);
  assert.equal(await ask(client, port, "b"), "b 2");
});

test("`openUdpProxy()` drops the oldest flow where there are too many", async (t) => {
  const target = await udpSocket(t);
  const seen = countClients(target);
  const port = await udpProxy(t, target, { idleTimeoutMs: 60_000, maxFlows: 2 });
  const clients = [await udpSocket(t), await udpSocket(t), await udpSocket(t)];
  for (const client of clients) await ask(client, port, "x");
  await ask(clients[2] as DatagramSocket, port, "x");
  assert.equal(seen.size, 3);
  await ask(clients[0] as DatagramSocket, port, "x");
  assert.equal(seen.size, 4);
});

test("`openUdpProxy()` survives a pod that does not listen yet", async (t) => {
  const target = await udpSocket(t);
  const { port: targetPort } = target.address();
  const port = await freePort();
  const proxy = await openUdpProxy(listenOn(port), { address: loopback, port: targetPort === port ? 1 : 9 });
  t.after(() => proxy.close());
  const client = await udpSocket(t);
  for (let count = 0; count < 3; count++) {
    client.send("x", port, loopback);
    await delay(5);
  }
});
