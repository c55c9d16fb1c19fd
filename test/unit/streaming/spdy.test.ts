// The SPDY codec: frames, header blocks, and two connections that talk to each other.
import assert from "node:assert/strict";
import { duplexPair } from "./duplex-pair.ts";
import { constants, deflateSync, inflateSync } from "node:zlib";
import { describe, test } from "node:test";
import fc from "fast-check";
import { CricketError } from "../../../src/base/errors.ts";
import { SpdyConnection } from "../../../src/streaming/spdy-connection.ts";
import { spdyDictionary } from "../../../src/streaming/spdy-dictionary.ts";
import { encodeControl, encodeDataHead, SpdyFrameReader } from "../../../src/streaming/spdy-frame.ts";
import { HeaderEncoder, HeaderInflater } from "../../../src/streaming/spdy-headers.ts";
import type { SpdyStream } from "../../../src/streaming/spdy-stream.ts";

const malformed = (error: unknown): boolean =>
  error instanceof CricketError && error.code === "invalid-argument";

test("the dictionary has the length and the checksum that SPDY/3 streams name", () => {
  assert.equal(spdyDictionary.length, 1423);
  // Bytes 2 to 5 of a zlib stream with a preset dictionary are its Adler-32 (RFC 1950).
  const stream = deflateSync(Buffer.from("x"), { dictionary: spdyDictionary });
  assert.equal(stream.readUInt32BE(2), 0xe3c6a7c2);
});

describe("header blocks", () => {
  const headers = new Map([
    ["streamtype", "stdin"],
    ["port", "80"],
  ]);

  test("`HeaderEncoder` and `HeaderInflater` are inverses, block after block", async () => {
    const encoder = new HeaderEncoder();
    const inflater = new HeaderInflater();
    for (let round = 0; round < 3; round++)
      assert.deepEqual(await inflater.decode(encoder.encode(headers)), headers);
    inflater.close();
  });

  test("`HeaderInflater` reads what a compressor with the dictionary has written", async () => {
    const plain = inflateSync(new HeaderEncoder().encode(headers), { finishFlush: constants.Z_SYNC_FLUSH });
    const block = deflateSync(plain, { dictionary: spdyDictionary, finishFlush: constants.Z_SYNC_FLUSH });
    assert.deepEqual(await new HeaderInflater().decode(block), headers);
  });

  test("`HeaderInflater` refuses a block that inflates to megabytes", async () => {
    const bomb = deflateSync(Buffer.alloc(8 << 20), { finishFlush: constants.Z_SYNC_FLUSH });
    assert.ok(bomb.length < 65_536);
    await assert.rejects(new HeaderInflater().decode(bomb), malformed);
  });

  test("`HeaderInflater` refuses counts and lengths beyond the block", async () => {
    for (const plain of [
      Buffer.from([0xff, 0xff, 0xff, 0xff]),
      Buffer.from([0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]),
      Buffer.from([0, 0, 0, 1]),
      Buffer.alloc(0),
    ]) {
      const block = deflateSync(plain, { finishFlush: constants.Z_SYNC_FLUSH });
      await assert.rejects(new HeaderInflater().decode(block), malformed);
    }
  });

  test("`HeaderInflater` refuses any garbage with an error and never hangs", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        const inflater = new HeaderInflater();
        const outcome = await inflater.decode(Buffer.from(bytes)).then(() => "decoded", malformed);
        inflater.close();
        assert.notEqual(outcome, false);
      }),
      { numRuns: 200 },
    );
  });
});

describe("SpdyFrameReader", () => {
  const stream = Buffer.concat([
    encodeControl({ type: 6, numbers: [7] }),
    encodeDataHead(1, 5, false),
    Buffer.from("hello"),
    encodeDataHead(1, 0, true),
    encodeControl({ type: 3, numbers: [1, 5] }),
  ]);

  const readAll = (chunks: Buffer[]): { text: string; controls: number[]; fin: boolean } => {
    const reader = new SpdyFrameReader();
    const seen = { text: "", controls: [] as number[], fin: false };
    for (const chunk of chunks)
      for (const frame of reader.read(chunk)) {
        if (frame.kind === "control") seen.controls.push(frame.type);
        else {
          seen.text += frame.payload.toString();
          seen.fin ||= frame.fin;
        }
      }
    return seen;
  };

  test("gives the same frames however the bytes are chopped", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(stream.length), { maxLength: 8 }), (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), stream.length];
        const chunks = at.slice(1).map((end, index) => stream.subarray(at[index], end));
        assert.deepEqual(readAll(chunks), { text: "hello", controls: [6, 3], fin: true });
      }),
    );
  });

  test("passes a DATA frame of 16 MiB on in pieces, never whole", () => {
    const reader = new SpdyFrameReader();
    assert.deepEqual([...reader.read(encodeDataHead(1, 0xffffff, true))], []);
    const [frame] = [...reader.read(Buffer.alloc(1000))];
    assert.equal(frame?.kind === "data" ? frame.payload.length : -1, 1000);
    assert.equal(frame?.kind === "data" && frame.fin, false);
  });

  test("refuses other versions and control frames that are too long", () => {
    const wrong = encodeControl({ type: 6, numbers: [1] });
    wrong.writeUInt16BE(0x8002, 0);
    assert.throws(() => [...new SpdyFrameReader().read(wrong)], malformed);
    const long = Buffer.from([0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff]);
    assert.throws(() => [...new SpdyFrameReader().read(long)], malformed);
  });

  test("throws nothing but CricketError for any bytes", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 10 }), (chunks) => {
        const reader = new SpdyFrameReader();
        try {
          for (const chunk of chunks) for (const _ of reader.read(Buffer.from(chunk)));
        } catch (error) {
          assert.ok(malformed(error), String(error));
        }
      }),
    );
  });
});

describe("SpdyConnection", () => {
  const connectPair = (onStream: (stream: SpdyStream) => boolean) => {
    const [near, far] = duplexPair();
    const server = new SpdyConnection(far, { role: "server", onStream });
    const client = new SpdyConnection(near, { role: "client" });
    return { client, server, near, far };
  };

  test("carries streams in both directions, half-closed one by one", async () => {
    const { client, server } = connectPair((stream) => {
      stream.pipe(stream);
      return true;
    });
    const echoed = async (text: string): Promise<string> => {
      const stream = client.openStream(new Map([["streamtype", "data"]]));
      stream.end(text);
      let back = "";
      for await (const chunk of stream) back += String(chunk);
      return back;
    };
    const long = "x".repeat(1_000_000);
    assert.deepEqual(await Promise.all([echoed("one"), echoed(long), echoed("")]), ["one", long, ""]);
    client.destroy();
    server.destroy();
  });

  test("a stream that is opened when the connection is gone is over at once", async () => {
    const { client, server } = connectPair(() => true);
    client.destroy();
    if (!client.gone.aborted) await new Promise((resolve) => client.gone.addEventListener("abort", resolve));
    const stream = client.openStream(new Map([["streamtype", "error"]]));
    await new Promise((resolve) => stream.once("close", resolve));
    server.destroy();
  });

  test("a stream that is not read holds up the sender and no memory grows", async () => {
    const { client, server } = connectPair(() => true);
    const stream = client.openStream(new Map());
    let taken = 0;
    const chunk = Buffer.alloc(65_536);
    const write = (): void => {
      stream.write(chunk, () => {
        taken += chunk.length;
        if (taken < 64 << 20) write();
      });
    };
    write();
    for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
    assert.ok(taken < 2 << 20, `${taken} bytes were taken`);
    client.destroy();
    server.destroy();
  });

  test("a refused stream is reset, others go on", async () => {
    const { client, server } = connectPair((stream) => {
      if (stream.headers.get("streamtype") !== "good") return false;
      stream.end("yes");
      return true;
    });
    const bad = client.openStream(new Map([["streamtype", "bad"]]));
    const good = client.openStream(new Map([["streamtype", "good"]]));
    await new Promise((resolve) => bad.once("close", resolve));
    let text = "";
    for await (const chunk of good) text += String(chunk);
    assert.equal(text, "yes");
    client.destroy();
    server.destroy();
  });

  test("`close()` delivers everything before the connection ends", async () => {
    const { client, server } = connectPair((stream) => {
      stream.write(Buffer.alloc(300_000, 1));
      server.close();
      return true;
    });
    let size = 0;
    for await (const chunk of client.openStream(new Map())) size += (chunk as Buffer).length;
    assert.equal(size, 300_000);
    client.destroy();
    await aborted(server.gone);
  });

  test("any garbage closes the connection and its streams", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (bytes) => {
        const { server, near, client } = connectPair(() => true);
        near.write(Buffer.from(bytes));
        near.end();
        await aborted(server.gone);
        client.destroy();
      }),
      { numRuns: 100 },
    );
  });
});

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
