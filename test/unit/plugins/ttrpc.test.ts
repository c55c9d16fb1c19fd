import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { v1 } from "../../../cri-api/ttrpc/v1/api.js";
import { CricketError } from "../../../src/base/errors.ts";
import { TtrpcClient } from "../../../src/plugins/ttrpc/client.ts";
import { encodeFrame, FrameReader, frameType, maxMessageBytes } from "../../../src/plugins/ttrpc/frame.ts";
import { encodePayloads, Multiplexer, PayloadReader } from "../../../src/plugins/ttrpc/multiplexer.ts";
import { TtrpcServer } from "../../../src/plugins/ttrpc/server.ts";
import { duplexPair } from "../streaming/duplex-pair.ts";

const chop = (bytes: Buffer, sizes: readonly number[]): Buffer[] => {
  const chunks: Buffer[] = [];
  let at = 0;
  for (let index = 0; at < bytes.length; index++) {
    const size = sizes.length === 0 ? bytes.length : sizes[index % sizes.length]!;
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return chunks;
};

const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 20 });
const bounded = { numRuns: 300, interruptAfterTimeLimit: 2000 };

test("`FrameReader` finds the frames however they are chopped", () => {
  const frame = fc.record(
    {
      streamId: fc.nat(),
      type: fc.integer({ min: 0, max: 255 }),
      message: fc.uint8Array({ maxLength: 200 }),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 8 }), sizes, (frames, cuts) => {
      const bytes = Buffer.concat(
        frames.map(({ streamId, type, message }) => encodeFrame(streamId, type, message)),
      );
      const reader = new FrameReader();
      const found = chop(bytes, cuts).flatMap((chunk) => reader.push(chunk));
      assert.deepEqual(
        found.map(({ streamId, type, message }) => ({ streamId, type, message: Uint8Array.from(message) })),
        frames,
      );
    }),
    bounded,
  );
});

test("what goes through a multiplexer comes out whole, on its connection", () => {
  const entry = fc.record({ connection: fc.nat(), size: fc.integer({ min: 1, max: 20_000 }) });
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 6 }), sizes, (entries, cuts) => {
      const bytes = Buffer.concat(
        entries.flatMap(({ connection, size }) => encodePayloads(connection, Buffer.alloc(size, connection))),
      );
      const reader = new PayloadReader();
      const found = new Map<number, number>();
      for (const { connection, payload } of chop(
        bytes,
        cuts.map((size) => size * 50),
      ).flatMap((chunk) => reader.push(chunk)))
        found.set(connection, (found.get(connection) ?? 0) + payload.length);
      const expected = new Map<number, number>();
      for (const { connection, size } of entries)
        expected.set(connection, (expected.get(connection) ?? 0) + size);
      assert.deepEqual(found, expected);
    }),
    bounded,
  );
});

test("random bytes are frames, or an error, and never anything else", () => {
  const hostile = fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 12 });
  for (const make of [() => new FrameReader(), () => new PayloadReader()])
    fc.assert(
      fc.property(hostile, (chunks) => {
        const reader = make();
        try {
          for (const chunk of chunks) reader.push(Buffer.from(chunk));
        } catch (error) {
          assert.ok(error instanceof CricketError);
        }
      }),
      bounded,
    );
});

test("a server answers random requests with a status, and goes on", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 64 }), async (message) => {
      const sent: Buffer[] = [];
      const server = new TtrpcServer("a.Service", { Echo: async (payload) => payload });
      server.attach({ send: (frame) => void sent.push(frame) });
      server.receive(encodeFrame(1, frameType.request, message));
      const request = v1.Request.encode({
        service: "a.Service",
        method: "Echo",
        payload: Buffer.from("x"),
      }).finish();
      server.receive(encodeFrame(3, frameType.request, request));
      await new Promise((resolve) => setImmediate(resolve));
      const frames = new FrameReader().push(Buffer.concat(sent));
      const [first, second] = frames.toSorted((a, b) => a.streamId - b.streamId);
      assert.notEqual(v1.Response.decode(first!.message).status?.code ?? 0, 0);
      assert.equal(Buffer.from(v1.Response.decode(second!.message).payload).toString(), "x");
    }),
    { numRuns: 100, interruptAfterTimeLimit: 2000 },
  );
});

test("a message beyond the limit is refused on both ways", () => {
  assert.throws(() => encodeFrame(1, 1, new Uint8Array(maxMessageBytes + 1)), /too long/);
  const header = Buffer.from([0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1, 1, 0]);
  assert.throws(() => new FrameReader().push(header), /too long/);
  assert.throws(
    () => new PayloadReader().push(Buffer.from([0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff])),
    /too long/,
  );
});

test("`encodePayloads()` begins a long message with a payload that a Go plugin can look into", () => {
  const lengths = encodePayloads(1, Buffer.alloc(10_000))
    .filter((_piece, index) => index % 2 === 1)
    .map(({ length }) => length);
  assert.deepEqual(lengths, [4096, 5904]);
});

test("a call that is not answered ends at its time-out, and with the connection", async () => {
  const client = new TtrpcClient("a.Service");
  client.attach({ send: () => {} });
  await assert.rejects(client.call("Slow", new Uint8Array(), 5), /no answer to Slow after 5 ms/);
  const pending = client.call("Slow", new Uint8Array(), 10_000);
  client.close(new Error("gone"));
  await assert.rejects(pending, /gone/);
  await assert.rejects(client.call("Later", new Uint8Array(), 10_000), /gone/);
});

test("two multiplexers call each other on one socket", async () => {
  const [one, two] = duplexPair();
  const end = (socket: typeof one, [serving, calling]: [number, number], name: string) => {
    const mux = new Multiplexer(socket, (reason) => client.close(reason));
    const server = new TtrpcServer(name, {
      Size: async (payload) => Buffer.from(String(payload.length)),
      Fail: async () => Promise.reject(new CricketError("not-found", "nothing there")),
    });
    const client = new TtrpcClient(name);
    server.attach(mux.open(serving, (bytes) => server.receive(bytes)));
    client.attach(mux.open(calling, (bytes) => client.receive(bytes)));
    mux.start();
    return { client, mux };
  };
  const first = end(one, [1, 2], "svc");
  const second = end(two, [2, 1], "svc");
  const answers = await Promise.all(
    [first, second].flatMap(({ client }) =>
      [0, 1, 5000, 300_000].map(async (size) =>
        Buffer.from(await client.call("Size", new Uint8Array(size), 5000)).toString(),
      ),
    ),
  );
  assert.deepEqual(answers, ["0", "1", "5000", "300000", "0", "1", "5000", "300000"]);
  await assert.rejects(first.client.call("Fail", new Uint8Array(), 5000), {
    code: "not-found",
    message: "nothing there",
  });
  await assert.rejects(first.client.call("None", new Uint8Array(), 5000), { code: "unimplemented" });
  const cut = first.client.call("Size", new Uint8Array(1), 5000);
  second.mux.close(new Error("test"));
  await assert.rejects(cut);
});

test("a side that does not read is cut off, and its memory is bounded", async () => {
  const [here, there] = duplexPair();
  let reason: Error | undefined;
  const mux = new Multiplexer(here, (error) => (reason = error));
  const { send } = mux.open(1, () => {});
  const message = Buffer.alloc(maxMessageBytes);
  for (let sent = 0; sent < 8 && reason === undefined; sent++) send(message);
  assert.match(String(reason), /does not read/);
  assert.ok(here.destroyed);
  there.destroy();
});
