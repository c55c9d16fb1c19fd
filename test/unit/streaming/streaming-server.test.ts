// Time-outs, TLS and malformed clients of the streaming server, over real sockets.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Duplex, Readable } from "node:stream";
import { connect as connectTls } from "node:tls";
import fc from "fast-check";
import { createWebSocketStream, WebSocket } from "ws";
import { encodeControl, encodeDataHead } from "../../../src/streaming/spdy-frame.ts";
import { HeaderEncoder } from "../../../src/streaming/spdy-headers.ts";
import {
  connectCommand,
  connectSpdy,
  floodInput,
  readAll,
  requestUpgrade,
  runCommand,
  spdyHeaders,
} from "../../daemon/streaming-client.ts";
import { renewedCertificate, renewedKey, testCertificate, testKey } from "../../support/tls-certificate.ts";
import { until } from "../../support/until.ts";
import { closed, connectRaw, startFakeNode, type Program } from "./fake-sessions.ts";

const untilGone: Program = async ({ gone }) => {
  if (!gone.aborted) await new Promise((resolve) => gone.addEventListener("abort", resolve, { once: true }));
  return 0;
};

const hello: Program = async ({ stdout, stderr }) => {
  stdout?.end("hello");
  stderr?.end();
  return Promise.resolve(0);
};

test("a client that connects and says nothing is dropped after the creation time-out", async () => {
  const { server, execUrl } = await startFakeNode(hello, { creationTimeoutMs: 100 });
  await closed(await connectRaw(execUrl(["x"])));
  const halfway = await connectRaw(execUrl(["x"]));
  halfway.write("POST /exec/x HTTP/1.1\r\nHost: ");
  await closed(halfway);
  await server.close();
});

test("a client that opens no streams, or not all, is dropped and its command never run", async () => {
  let runs = 0;
  const counting: Program = () => Promise.resolve(++runs);
  const { server, execUrl, log } = await startFakeNode(counting, { creationTimeoutMs: 100 });
  const { socket } = await requestUpgrade(execUrl(["x"]), spdyHeaders("v4.channel.k8s.io"));
  await closed(socket);
  const { connection } = await connectCommand(execUrl(["x"]), ["stdout"]);
  await aborted(connection.gone);
  assert.equal(runs, 0);
  assert.equal(log.filter((line) => line.includes("opened no streams within 100 ms")).length, 2);
  await server.close();
});

test("port-forward: a connection whose data stream never comes is told so", async () => {
  const { server } = await startFakeNode(hello, { creationTimeoutMs: 100 });
  const url = server.urlOf({ kind: "portforward", sandboxId: "s", ports: [80] });
  const connection = await connectSpdy(url, "portforward.k8s.io");
  const headers = new Map([
    ["streamtype", "error"],
    ["port", "80"],
    ["requestid", "1"],
  ]);
  assert.match(await readAll(connection.openStream(headers)), /data stream .* was never opened/);
  connection.destroy();
  await server.close();
});

test("a session in which nothing moves ends after the idle time-out, and its program is told", async () => {
  let told: () => void = () => {};
  const isTold = new Promise<void>((resolve) => {
    told = resolve;
  });
  const program: Program = async (streams) => untilGone(streams, []).then((code) => (told(), code));
  const { server, execUrl } = await startFakeNode(program, { idleTimeoutMs: 100 });
  const { connection } = await connectCommand(execUrl(["x"]), ["stdout", "stderr"]);
  await Promise.all([isTold, aborted(connection.gone)]);
  await server.close();
});

/** The input of a command, as much as no buffers on the way hold. */
const flood = Buffer.alloc(1 << 20);
const floods: Record<string, (url: string) => Promise<Duplex>> = {
  SPDY: floodInput,
  WebSocket: async (url) => {
    const client = new WebSocket(url.replace("http", "ws"), ["v4.channel.k8s.io"]);
    const stream = createWebSocketStream(client);
    for (let i = 0; i < 32; i++) stream.write(flood.subarray(0, -1));
    return Promise.resolve(stream);
  },
};

for (const [protocol, send] of Object.entries(floods))
  test(`${protocol}: a client that goes while nobody takes its input is noticed`, async (t) => {
    t.mock.timers.enable({ apis: ["setInterval"] });
    let input: Readable | undefined;
    let isOver = false;
    const { server, execUrl } = await startFakeNode(async (streams) => {
      input = streams.stdin;
      await untilGone(streams, []);
      isOver = true;
      return 0;
    });
    const client = await send(execUrl(["x"], { stdin: true }));
    client.on("error", () => {});
    await until("the input stalls", () => (input?.readableLength ?? 0) >= 65_536);
    client.destroy();
    await until("the program is told", () => (t.mock.timers.tick(5_000), isOver));
    await server.close();
  });

test("a client that ends its input gets all output and its status", async () => {
  const program: Program = async ({ stdin, stdout, stderr }) => {
    stdout?.end(await readAll(stdin as never));
    stderr?.end();
    return 0;
  };
  const { server, execUrl } = await startFakeNode(program);
  const outcome = await runCommand(execUrl(["cat"], { stdin: true }), "x".repeat(300_000));
  assert.deepEqual([outcome.stdout.length, outcome.status.status], [300_000, "Success"]);
  await server.close();
});

test("TLS: a renewed certificate is served to the next client, a broken one is not", async () => {
  const directory = mkdtempSync(join(tmpdir(), "cricket-tls-"));
  const [certFile, keyFile] = [join(directory, "cert.pem"), join(directory, "key.pem")];
  const write = (file: string, text: string): void => {
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  };
  write(certFile, testCertificate);
  write(keyFile, testKey);
  const { server, execUrl, log } = await startFakeNode(hello, { tls: { certFile, keyFile } });
  const shown = async (): Promise<string> => {
    const url = execUrl(["x"]);
    const subject = await subjectOf(url);
    assert.equal((await runCommand(url)).stdout, "hello");
    return subject;
  };
  assert.equal(await shown(), "cricket test registry");
  write(certFile, renewedCertificate);
  assert.equal(await shown(), "cricket test registry", "the key does not fit yet");
  assert.match(log.join(""), /certificate not reloaded/);
  write(keyFile, renewedKey);
  assert.equal(await shown(), "cricket test renewed");
  write(certFile, "garbage");
  assert.equal(await shown(), "cricket test renewed");
  await server.close();
  await assert.rejects(startFakeNode(hello, { tls: { certFile, keyFile } }), /cert\.pem/);
  rmSync(directory, { recursive: true });
});

test("frames for streams that are not there, unknown frames and great settings change nothing", async () => {
  const { server, execUrl } = await startFakeNode(hello);
  const { socket } = await requestUpgrade(execUrl(["x"]), spdyHeaders("v4.channel.k8s.io"));
  const encoder = new HeaderEncoder();
  const headersFor = (streamId: number, type: string): Buffer =>
    encodeControl({
      type: 1,
      numbers: [streamId, 0],
      rest: Buffer.concat([Buffer.alloc(2), encoder.encode(new Map([["streamtype", type]]))]),
    });
  socket.write(
    Buffer.concat([
      encodeControl({ type: 4, numbers: [0xffffffff], rest: Buffer.alloc(60_000, 1) }),
      encodeControl({ type: 9, numbers: [77, 1 << 20] }),
      encodeControl({ type: 3, numbers: [99, 1] }),
      encodeControl({ type: 0x7fff }),
      encodeDataHead(55, 4, true),
      Buffer.from("data"),
      encodeControl({ type: 8, numbers: [57], rest: encoder.encode(new Map([["a", "b"]])) }),
      headersFor(1, "error"),
      headersFor(3, "nonsense"),
      headersFor(5, "stdout"),
      headersFor(7, "stdout"),
      headersFor(9, "stderr"),
    ]),
  );
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  assert.match(Buffer.concat(chunks).toString("latin1"), /hello[^]*"Success"/);
  await server.close();
});

test("any order of frames ends or serves its own session, and no other", async () => {
  const { server, execUrl } = await startFakeNode(hello);
  const number = fc.oneof(fc.nat(12), fc.constantFrom(0x7fffffff, 0xffffffff));
  const frame = fc.oneof(
    fc
      .record({
        type: fc.nat(10),
        flags: fc.nat(3),
        numbers: fc.array(number, { maxLength: 3 }),
        rest: fc.uint8Array({ maxLength: 40 }),
      })
      .map(({ rest, ...control }) => encodeControl({ ...control, rest: Buffer.from(rest) })),
    fc
      .tuple(number, fc.uint8Array({ maxLength: 40 }), fc.boolean(), fc.nat(3))
      .map(([id, bytes, fin, more]) =>
        Buffer.concat([encodeDataHead(id & 0x7fffffff, bytes.length + more, fin), bytes]),
      ),
    fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(frame, { maxLength: 8 }), async (frames) => {
      const { socket } = await requestUpgrade(execUrl(["x"]), spdyHeaders("v4.channel.k8s.io"));
      socket.on("error", () => {});
      socket.end(Buffer.concat(frames));
      await closed(socket);
    }),
    { numRuns: 100 },
  );
  assert.equal((await runCommand(execUrl(["x"]))).stdout, "hello");
  await server.close();
});

test("port-forward: a connection that cannot be made holds up no other, whatever its client sends", async () => {
  const echo = createServer((socket) => socket.pipe(socket)).listen(0, "127.0.0.1");
  await once(echo, "listening");
  const { port: echoPort } = echo.address() as AddressInfo;
  const dial = async (_sandboxId: string, port: number): Promise<Socket> => {
    if (port !== echoPort) throw new Error("refused");
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    return once(socket, "connect").then(() => socket);
  };
  const { server } = await startFakeNode(hello, {}, dial);
  const url = server.urlOf({ kind: "portforward", sandboxId: "s", ports: [1, echoPort] });
  const connection = await connectSpdy(url, "portforward.k8s.io");
  const open = (port: number, type: string): Duplex => {
    const headers = { port: String(port), requestid: String(port), streamtype: type };
    return connection.openStream(new Map(Object.entries(headers)));
  };
  const failed = open(1, "error");
  open(1, "data").write(Buffer.alloc(4 << 20));
  assert.match(await readAll(failed), /error forwarding port 1: refused/);
  open(echoPort, "error");
  const data = open(echoPort, "data");
  data.end("hello");
  assert.equal(await readAll(data), "hello");
  connection.destroy();
  await server.close();
  echo.close();
});

test("port-forward: any headers are refused or served, and never end the server", async () => {
  const { server } = await startFakeNode(hello);
  const name = fc.constantFrom("port", "streamtype", "requestid", "x");
  const value = fc.oneof(fc.string({ maxLength: 8 }), fc.constantFrom("data", "error", "80", "1"));
  const headers = fc.array(fc.tuple(name, value), { maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(fc.array(headers, { maxLength: 6 }), async (streams) => {
      const url = server.urlOf({ kind: "portforward", sandboxId: "s", ports: [80] });
      const connection = await connectSpdy(url, "portforward.k8s.io");
      for (const pairs of streams) connection.openStream(new Map(pairs)).resume().end("bytes");
      connection.close();
      await aborted(connection.gone);
    }),
    { numRuns: 50 },
  );
  await server.close();
});

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/** The name in the certificate that is shown there. */
async function subjectOf(url: string): Promise<string> {
  const { port } = new URL(url);
  const socket = connectTls({ host: "127.0.0.1", port: Number(port), rejectUnauthorized: false });
  await new Promise((resolve) => socket.once("secureConnect", resolve));
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return String(CN);
}
