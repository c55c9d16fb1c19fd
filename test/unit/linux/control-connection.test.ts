import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { ControlConnection } from "../../../src/linux/control-connection.ts";
import { encodeNumbers, FrameReader, frameType, type Frame } from "../../../src/linux/frames.ts";
import { until } from "../../support/until.ts";

/** A connection, and the socket of the other side, which nobody reads yet. */
async function connectPair(t: TestContext): Promise<{ socket: Socket; other: Socket }> {
  const server = createServer({ pauseOnConnect: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const [[other]] = (await Promise.all([once(server, "connection"), once(socket, "connect")])) as [
    [Socket],
    unknown[],
  ];
  t.after(() => {
    for (const end of [socket, other]) end.destroy();
    server.close();
  });
  return { socket, other };
}

test("`sendLatest()` keeps no more than the last frame for a side that does not read, and sends that", async (t) => {
  const { socket, other } = await connectPair(t);
  const connection = new ControlConnection(socket, { onFrame: () => {}, onClose: () => {} });
  // Until the buffers of the kernel are full.
  while (socket.writableLength < 4 << 20) connection.send(frameType.stdin, Buffer.alloc(65_536));
  const waitingBytes = socket.writableLength;
  for (let rows = 1; rows <= 100_000; rows++) {
    connection.sendLatest(frameType.resize, encodeNumbers(rows, 1));
    if (rows % 1000 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(socket.writableLength <= waitingBytes + 64, `${socket.writableLength} bytes wait`);
  const reader = new FrameReader();
  const sizes: number[] = [];
  other.on("data", (chunk: Buffer) => {
    const isSize = ({ type }: Frame): boolean => type === frameType.resize;
    for (const { payload } of reader.push(chunk).filter(isSize)) sizes.push(payload.readUInt32LE(0));
  });
  other.resume();
  await until("the last size arrives", () => sizes.at(-1) === 100_000);
  assert.ok(sizes.length <= 4, `${sizes.length} sizes`);
});

test("`sendLatest()` on a connection that is gone does nothing, and neither throws nor spins", async (t) => {
  const { socket } = await connectPair(t);
  const connection = new ControlConnection(socket, { onFrame: () => {}, onClose: () => {} });
  connection.sendLatest(frameType.resize, encodeNumbers(1, 1));
  connection.close();
  for (let rows = 2; rows < 100; rows++) connection.sendLatest(frameType.resize, encodeNumbers(rows, 1));
  await once(socket, "close");
  connection.sendLatest(frameType.resize, encodeNumbers(1, 1));
});
