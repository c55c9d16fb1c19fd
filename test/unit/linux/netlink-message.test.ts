import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { CricketError } from "../../../src/base/errors.ts";
import {
  attribute,
  decodeAnswer,
  decodeAttributes,
  decodeMessages,
  encodeRequest,
  nestedAttribute,
  stringAttribute,
  stringOf,
  u32Attribute,
  u32Of,
} from "../../../src/linux/netlink-message.ts";
import { decodeAddress, decodeLink, decodeRoute } from "../../../src/linux/netlink-route.ts";

test("`decodeAttributes()` gives back what `attribute()` wrote", () => {
  const bytes = fc.uint8Array({ maxLength: 300 });
  const attributes = fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 0x3fff }), bytes), {
    selector: ([type]) => type,
    maxLength: 20,
  });
  fc.assert(
    fc.property(attributes, (wanted) => {
      const decoded = decodeAttributes(
        Buffer.concat(wanted.map(([type, payload]) => attribute(type, payload))),
      );
      assert.deepEqual(
        [...decoded].map(([type, payload]) => [type, [...payload]]),
        wanted.map(([type, payload]) => [type, [...payload]]),
      );
    }),
  );
});

test("`attribute()` refuses a payload whose length does not fit 16 bits (CVE-2021-43784)", () => {
  assert.equal(attribute(1, Buffer.alloc(65_531)).length, 65_536);
  assert.throws(() => attribute(1, Buffer.alloc(65_532)), /65532 bytes are too long/);
  assert.throws(() => nestedAttribute(1, attribute(2, Buffer.alloc(65_531))), CricketError);
});

test("`stringAttribute()` refuses a NUL, which would cut the string short", () => {
  assert.throws(() => stringAttribute(3, "eth0\0x"), CricketError);
});

test("`stringOf()` and `u32Of()` read what was written and nothing else", () => {
  const decoded = decodeAttributes(Buffer.concat([stringAttribute(1, "eth0"), u32Attribute(2, 0xffffffff)]));
  assert.deepEqual([stringOf(decoded.get(1)), u32Of(decoded.get(2))], ["eth0", 0xffffffff]);
  assert.deepEqual(
    [stringOf(undefined), u32Of(undefined), u32Of(decoded.get(1))],
    [undefined, undefined, undefined],
  );
});

test("`decodeMessages()` splits a batch as `encodeRequest()` wrote it", () => {
  const request = { type: 16, flags: 4, body: Buffer.from("12345"), doing: "test" };
  const bytes = Buffer.concat([encodeRequest(request, 7), encodeRequest(request, 8)]);
  assert.deepEqual(
    decodeMessages(bytes).map(({ type, flags, sequence, body }) => [type, flags, sequence, body.toString()]),
    [
      [16, 5, 7, "12345"],
      [16, 5, 8, "12345"],
    ],
  );
});

test("`decodeMessages()`, `decodeAttributes()` and the decoders refuse bad lengths and never crash or hang", () => {
  const decoders = [decodeMessages, decodeAttributes, link, address, route, answer];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(...decoders), (bytes, decode) => {
      try {
        decode(Buffer.from(bytes));
      } catch (error) {
        assert.ok(error instanceof CricketError, String(error));
      }
    }),
    { numRuns: 3000 },
  );
  function link(body: Buffer): void {
    decodeLink({ type: 16, flags: 0, sequence: 1, body });
  }
  function address(body: Buffer): void {
    decodeAddress({ type: 20, flags: 0, sequence: 1, body });
  }
  function route(body: Buffer): void {
    decodeRoute({ type: 24, flags: 0, sequence: 1, body });
  }
  function answer(body: Buffer): void {
    decodeAnswer({ type: 2, flags: 0x300, sequence: 1, body });
  }
});

test("`decodeAnswer()` reads errno and the kernel's text, capped or with the request repeated", () => {
  const text = stringAttribute(1, "no such master");
  const head = Buffer.alloc(20);
  head.writeInt32LE(-22, 0);
  head.writeUInt32LE(24, 4);
  const capped = { type: 2, flags: 0x300, sequence: 1, body: Buffer.concat([head, text]) };
  const whole = { ...capped, flags: 0x200, body: Buffer.concat([head, Buffer.alloc(8), text]) };
  const expected = { errno: 22, text: "no such master" };
  assert.deepEqual([decodeAnswer(capped), decodeAnswer(whole)], [expected, expected]);
  assert.deepEqual(decodeAnswer({ ...capped, flags: 0, body: Buffer.alloc(20) }), { errno: 0, text: "" });
});
