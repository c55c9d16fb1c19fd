// The wire format, against bytes taken from the specification and against itself.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  decodeMessage,
  encodeMessage,
  type DBusMessage,
} from "../../../../src/linux/systemd/dbus-message.ts";
import { decodeValues } from "../../../../src/linux/systemd/dbus-reader.ts";
import {
  parseSignature,
  type DBusType,
  type DBusValue,
} from "../../../../src/linux/systemd/dbus-signature.ts";
import { encodeValues } from "../../../../src/linux/systemd/dbus-writer.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

test("`encodeValues()` aligns and counts as the specification shows it", () => {
  // "Marshaling": the strings "foo", "+" and "bar"; an array of one 64-bit integer.
  assert.equal(
    hex(encodeValues("sss", ["foo", "+", "bar"])),
    "03000000666f6f00010000002b00000003000000" + "62617200",
  );
  assert.equal(hex(encodeValues("ax", [[5n]])), "08000000" + "00000000" + "0500000000000000");
  assert.equal(hex(encodeValues("ax", [[]])), "00000000" + "00000000");
  assert.equal(hex(encodeValues("v", [{ signature: "u", value: 7 }])), "01750000" + "07000000");
  assert.equal(hex(encodeValues("ay", [new Uint8Array([1, 2])])), "02000000" + "0102");
  assert.equal(hex(encodeValues("b", [true])), "01000000");
});

test("`parseSignature()` takes complete types alone", () => {
  assert.equal(parseSignature("ssa(sv)a(sa(sv))").length, 4);
  assert.deepEqual(parseSignature("a{sv}"), [
    { code: "a", element: { code: "(", members: [{ code: "s" }, { code: "v" }] } },
  ]);
  for (const text of [
    "a",
    "(",
    "()",
    "(s",
    "z",
    "{sv}",
    "a{s}",
    "a{vs}",
    "a{sv",
    "s)",
    `${"a".repeat(70)}s`,
    "s".repeat(256),
  ])
    assert.throws(() => parseSignature(text), /d-bus/, text);
});

test("`encodeValues()` refuses values that are not of their type", () => {
  const wrong: [string, DBusValue[]][] = [
    ["s", [1]],
    ["s", ["a\0b"]],
    ["u", [-1]],
    ["u", [1.5]],
    ["u", [1n]],
    ["t", [1]],
    ["t", [-1n]],
    ["y", [256]],
    ["b", [1]],
    ["as", ["a"]],
    ["(ss)", [["a"]]],
    ["v", ["a"]],
    ["v", [{ signature: "ss", value: "a" }]],
    ["ss", ["a"]],
  ];
  for (const [signature, values] of wrong)
    assert.throws(() => encodeValues(signature, values), /d-bus/, `${signature} ${typeof values[0]}`);
});

// Signatures with values for them.
const basic: Record<string, fc.Arbitrary<DBusValue>> = {
  y: fc.integer({ min: 0, max: 255 }),
  b: fc.boolean(),
  n: fc.integer({ min: -32_768, max: 32_767 }),
  q: fc.integer({ min: 0, max: 65_535 }),
  i: fc.integer(),
  u: fc.integer({ min: 0, max: 0xffffffff }),
  x: fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }),
  t: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  d: fc.double({ noNaN: true }),
  s: fc.string({ unit: "grapheme", maxLength: 300 }).filter((text) => !text.includes("\0")),
  o: fc.constantFrom("/", "/org/freedesktop/systemd1"),
  g: fc.constantFrom("", "s", "a{sv}"),
};
const code = fc.constantFrom(...Object.keys(basic), "v");
const signature: fc.Arbitrary<string> = fc.letrec<{ type: string }>((tie) => ({
  type: fc.oneof(
    { maxDepth: 4, depthSize: "small" },
    code,
    tie("type").map((type) => `a${type}`),
    fc.array(tie("type"), { minLength: 1, maxLength: 3 }).map((types) => `(${types.join("")})`),
    fc.tuple(fc.constantFrom("s", "u"), tie("type")).map(([key, type]) => `a{${key}${type}}`),
  ),
})).type;

function valueOf(type: DBusType): fc.Arbitrary<DBusValue> {
  if (type.code === "v")
    return fc.constantFrom({ signature: "s", value: "x" }, { signature: "t", value: 7n });
  if (type.code === "(") return fc.tuple(...type.members.map(valueOf));
  if (type.code !== "a") return basic[type.code] ?? fc.constant("");
  if (type.element.code === "y") return fc.uint8Array({ maxLength: 9 }).map((bytes) => Buffer.from(bytes));
  return fc.array(valueOf(type.element), { maxLength: 4 });
}

const typedValues = fc
  .array(signature, { maxLength: 4 })
  .filter((types) => types.join("").length <= 200)
  .chain((types) => {
    const text = types.join("");
    return fc.tuple(fc.constant(text), fc.tuple(...parseSignature(text).map(valueOf)));
  });

test("`decodeValues()` is the inverse of `encodeValues()`", () => {
  fc.assert(
    fc.property(typedValues, ([text, values]) => {
      assert.deepEqual(decodeValues(text, encodeValues(text, values), true), values);
    }),
    { numRuns: 500 },
  );
});

test("messages come out of a stream as they went in, whole or in pieces", () => {
  const call: DBusMessage = {
    type: "call",
    serial: 9,
    path: "/a",
    interface: "b.c",
    member: "D",
    destination: "e.f",
  };
  fc.assert(
    fc.property(typedValues, fc.nat(), ([text, values], cut) => {
      const message = { ...call, ...(text === "" ? {} : { signature: text }), body: values };
      const bytes = encodeMessage(message);
      const rest = Buffer.from("l");
      assert.deepEqual(decodeMessage(Buffer.concat([bytes, rest])), { message, length: bytes.length });
      assert.equal(decodeMessage(bytes.subarray(0, cut % bytes.length)), undefined);
    }),
  );
});

test("a message in the other byte order is read as well", () => {
  // A signal of a big-endian machine: no fields but path "/", interface "a.b", member "C"; body "u" 258.
  const fields = [
    "01016f0000000001" + "2f00" + "000000000000",
    "0201730000000003" + "612e6200" + "00000000",
    "0301730000000001" + "4300" + "000000000000",
    "0801670001750000",
  ].join("");
  const header = `42040001${"00000004"}${"00000005"}${(fields.length / 2 - 1).toString(16).padStart(8, "0")}`;
  const bytes = Buffer.from(`${header}${fields}00000102`, "hex");
  assert.deepEqual(decodeMessage(bytes)?.message, {
    type: "signal",
    serial: 5,
    path: "/",
    interface: "a.b",
    member: "C",
    signature: "u",
    body: [258],
  });
});

test("hostile bytes are an error of this module or an incomplete message, never anything else", () => {
  const good = encodeMessage({
    type: "return",
    serial: 1,
    replySerial: 1,
    signature: "a(sv)s",
    body: [[], "x"],
  });
  const isHandled = (bytes: Buffer): void => {
    try {
      decodeMessage(bytes);
    } catch (error) {
      assert.match((error as Error).message, /^d-bus: /);
    }
  };
  fc.assert(
    fc.property(fc.nat({ max: good.length - 1 }), fc.nat({ max: 255 }), (at, byte) => {
      const bytes = Buffer.from(good);
      bytes[at] = byte;
      isHandled(bytes);
    }),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 200 }), (bytes) => isHandled(Buffer.from(bytes))),
  );
  // Lengths that would take the reader, or the memory, beyond what is there.
  assert.throws(() => decodeMessage(Buffer.from("6c020001ffffff7f0100000000000000", "hex")), /bytes/);
  const nested = Buffer.from("017600".repeat(40), "hex");
  assert.throws(() => decodeValues("v", nested, true), /variants are nested too deeply/);
});

test("`decodeMessage()` refuses lengths of more than 31 bits", () => {
  for (const length of [0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff]) {
    const bytes = Buffer.from("6c01000100000000010000000000000000", "hex");
    bytes.writeUInt32LE(length, 12);
    assert.throws(() => decodeMessage(bytes), /a message of \d+ bytes/);
  }
});
