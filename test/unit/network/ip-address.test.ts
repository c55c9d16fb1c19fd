import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { hasCode } from "../../../src/base/errors.ts";
import { formatIp, ipBytes, parseIp, tryParseIp } from "../../../src/network/ip-address.ts";

test("`parseIp()` reads the forms of IPv4 and IPv6", () => {
  const read = (text: string): [number, bigint] => {
    const { family, value } = parseIp(text, "ip");
    return [family, value];
  };
  assert.deepEqual(
    [
      "0.0.0.0",
      "10.88.0.1",
      "255.255.255.255",
      "::",
      "::1",
      "fd00:88::2",
      "1:2:3:4:5:6:7:8",
      "::ffff:10.0.0.1",
    ].map(read),
    [
      [4, 0n],
      [4, 0x0a580001n],
      [4, 0xffffffffn],
      [6, 0n],
      [6, 1n],
      [6, 0xfd000088_00000000_00000000_00000002n],
      [6, 0x00010002_00030004_00050006_00070008n],
      [6, 0xffff0a000001n],
    ],
  );
});

test("`formatIp()` writes IPv6 in the canonical form", () => {
  const forms = [
    "2001:0DB8:0:0:1:0:0:1",
    "1:0:0:2:0:0:0:3",
    "0:0:0:0:0:0:0:0",
    "fe80:0:0:0:0:0:0:1",
    "1:2:3:0:5:6:7:8",
  ];
  assert.deepEqual(
    forms.map((form) => formatIp(parseIp(form, "ip"))),
    ["2001:db8::1:0:0:1", "1:0:0:2::3", "::", "fe80::1", "1:2:3:0:5:6:7:8"],
  );
});

test("`parseIp()` refuses what is no plain address and names the field", () => {
  for (const text of [
    "",
    "10.0.0",
    "10.0.0.256",
    "010.0.0.1",
    "fe80::1%eth0",
    ":::",
    "10.0.0.1/8",
    " 10.0.0.1",
    "\0",
  ])
    assert.throws(
      () => parseIp(text, "host_ip"),
      (error) => hasCode(error, "invalid-argument") && (error as Error).message.startsWith("host_ip: "),
    );
});

test("`formatIp()` and `parseIp()` are inverses for every address", () => {
  const families = fc.oneof(
    fc.tuple(fc.constant(4 as const), fc.bigInt(0n, (1n << 32n) - 1n)),
    fc.tuple(fc.constant(6 as const), fc.bigInt(0n, (1n << 128n) - 1n)),
    // Long runs of zero groups are where the canonical form is hard.
    fc.tuple(
      fc.constant(6 as const),
      fc
        .array(fc.constantFrom(0, 1, 0xffff), { minLength: 8, maxLength: 8 })
        .map((groups) => groups.reduce((value, group) => (value << 16n) | BigInt(group), 0n)),
    ),
  );
  fc.assert(
    fc.property(families, ([family, value]) =>
      assert.deepEqual(parseIp(formatIp({ family, value }), "ip"), { family, value }),
    ),
  );
});

test("`formatIp()` agrees with the URL parser on IPv6", () => {
  fc.assert(
    fc.property(fc.bigInt(0n, (1n << 128n) - 1n), (value) => {
      const text = formatIp({ family: 6, value });
      assert.equal(new URL(`http://[${text}]/`).hostname, `[${text}]`);
    }),
  );
});

test("`tryParseIp()` never throws", () => {
  fc.assert(fc.property(fc.string(), (text) => void tryParseIp(text)));
});

test("`ipBytes()` is network byte order", () => {
  assert.deepEqual([...ipBytes(parseIp("10.88.0.1", "ip"))], [10, 88, 0, 1]);
  assert.equal(ipBytes(parseIp("fd00::1", "ip")).toString("hex"), "fd000000000000000000000000000001");
});
