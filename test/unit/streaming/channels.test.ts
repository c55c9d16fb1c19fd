import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parsePort } from "../../../src/streaming/forward-ports.ts";
import { formatStatus, plainStatus, SizeReader } from "../../../src/streaming/remote-command.ts";
import { decodeChannelMessage, encodeChannelMessage } from "../../../src/streaming/websocket-channels.ts";

const options = (encoding: "binary" | "base64", hasCloseMessage = false) => ({
  encoding,
  hasCloseMessage,
  channelCount: 5,
});

test("`decodeChannelMessage()` is the inverse of `encodeChannelMessage()` in both encodings", () => {
  fc.assert(
    fc.property(
      fc.nat(4),
      fc.uint8Array(),
      fc.constantFrom("binary" as const, "base64" as const),
      (channel, bytes, encoding) => {
        const message = Buffer.from(encodeChannelMessage(channel, [bytes], encoding));
        const decoded = decodeChannelMessage(message, options(encoding));
        assert.deepEqual(decoded, { channel, payload: Buffer.from(bytes) });
      },
    ),
  );
});

test("`decodeChannelMessage()` skips empty messages and channels that are not there", () => {
  assert.equal(decodeChannelMessage(Buffer.alloc(0), options("binary")), undefined);
  assert.equal(decodeChannelMessage(Buffer.from([9, 1]), options("binary")), undefined);
  assert.equal(decodeChannelMessage(Buffer.from("/x"), options("base64")), undefined);
  assert.equal(decodeChannelMessage(Buffer.from("9eA=="), options("base64")), undefined);
});

test("`decodeChannelMessage()` knows the close message of v5 only", () => {
  const close = Buffer.from([255, 0]);
  assert.deepEqual(decodeChannelMessage(close, options("binary", true)), { ended: 0 });
  assert.equal(decodeChannelMessage(close, options("binary")), undefined);
  assert.equal(decodeChannelMessage(Buffer.from([255, 77]), options("binary", true)), undefined);
});

test("`decodeChannelMessage()` never throws", () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.constantFrom("binary" as const, "base64" as const), (bytes, encoding) => {
      decodeChannelMessage(Buffer.from(bytes), options(encoding, true));
    }),
  );
});

test("`SizeReader` reads sizes however they are chopped", () => {
  const text = '{"Width":80,"Height":24}\n{"Width":100,"Height":50}';
  for (let cut = 0; cut <= text.length; cut++) {
    const reader = new SizeReader();
    const parts = [text.slice(0, cut), text.slice(cut)];
    assert.deepEqual(
      parts.flatMap((part) => reader.push(Buffer.from(part))),
      [
        { rows: 24, columns: 80 },
        { rows: 50, columns: 100 },
      ],
    );
  }
});

test("`SizeReader` skips garbage and sizes a terminal cannot have, and keeps little of it", () => {
  const reader = new SizeReader();
  const garbage = ["}}}", '{"Width":-1,"Height":1}', '{"Width":70000,"Height":1}', '{"Width":"1"}', "null}"];
  assert.deepEqual(
    garbage.flatMap((text) => reader.push(Buffer.from(text))),
    [],
  );
  assert.deepEqual(reader.push(Buffer.alloc(10_000, "x")), []);
  assert.deepEqual(reader.push(Buffer.from('{"Width":1,"Height":2}')), [{ rows: 2, columns: 1 }]);
});

test("`formatStatus()` gives the exit code where kubectl looks for it", () => {
  const { details, ...status } = JSON.parse(formatStatus({ kind: "command", exitCode: 3 })) as Record<
    string,
    unknown
  >;
  assert.deepEqual(details, { causes: [{ reason: "ExitCode", message: "3" }] });
  assert.equal(status["status"], "Failure");
  assert.equal(status["reason"], "NonZeroExitCode");
  assert.equal((JSON.parse(formatStatus({ kind: "success" })) as { status: string }).status, "Success");
  assert.equal(plainStatus({ kind: "success" }), "");
});

test("`parsePort()` takes 1 to 65535 and nothing else", () => {
  assert.equal(parsePort("80"), 80);
  assert.equal(parsePort("65535"), 65_535);
  for (const text of ["", "0", "65536", "080", "+1", "1e3", "80 ", "-1", "99999999"])
    assert.equal(parsePort(text), undefined, text);
});
