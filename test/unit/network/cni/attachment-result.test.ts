import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CricketError } from "../../../../src/base/errors.ts";
import { parseResult, podAddresses } from "../../../../src/network/cni/attachment-result.ts";
import { supportedVersions } from "../../../../src/network/cni/cni-version.ts";

const parse = (result: object, version: (typeof supportedVersions)[number] = "1.1.0") =>
  parseResult(JSON.stringify(result), version, "plugin x ADD");

test("`parseResult()` keeps fields it does not know and sets the version that was asked for", () => {
  const result = parse({
    cniVersion: "1.0.0",
    custom: { a: 1 },
    ips: [{ address: "10.0.0.2/24", gateway: "10.0.0.1" }],
  });
  assert.deepEqual(result, {
    cniVersion: "1.1.0",
    custom: { a: 1 },
    ips: [{ address: "10.0.0.2/24", gateway: "10.0.0.1" }],
  });
});

test("`parseResult()` takes a missing or empty version for the one that was asked for", () => {
  for (const cniVersion of [undefined, "", null])
    assert.equal(parseResult(JSON.stringify({ cniVersion }), "0.4.0", "plugin x ADD")["cniVersion"], "0.4.0");
});

test("`parseResult()` converts between the address forms of the versions", () => {
  const old = { cniVersion: "0.4.0", ips: [{ version: "4", address: "10.0.0.2/24" }] };
  assert.deepEqual(parse(old)["ips"], [{ address: "10.0.0.2/24" }]);
  const ips = [{ address: "fd00::2/64" }];
  assert.deepEqual(parse({ cniVersion: "1.0.0", ips }, "0.3.1")["ips"], [
    { version: "6", address: "fd00::2/64" },
  ]);
});

for (const [what, result, message] of [
  ["a version of another shape", { cniVersion: "0.1.0" }, /result is of version "0.1.0"/],
  ["a version that is no text", { cniVersion: 1 }, /cniVersion is not a string/],
  [
    "an address without a prefix",
    { ips: [{ address: "10.0.0.2" }] },
    /ips\[0\].address "10.0.0.2" is no address/,
  ],
  ["too long a prefix", { ips: [{ address: "10.0.0.2/33" }] }, /no address/],
  ["two prefixes", { ips: [{ address: "10.0.0.2/24/8" }] }, /no address/],
  ["an interface that is no number", { ips: [{ address: "10.0.0.2/24", interface: "0" }] }, /not a number/],
  ["interfaces that are no list", { interfaces: 3 }, /interfaces is not a list/],
] as const)
  test(`\`parseResult()\` rejects ${what}`, () => {
    assert.throws(() => parse(result), { code: "internal", message });
    assert.throws(() => parse(result), /^CricketError: plugin x ADD: /);
  });

test("`podAddresses()` takes the pod's addresses, those of its first interface first", () => {
  const result = parse({
    interfaces: [
      { name: "cni0" },
      { name: "eth0", sandbox: "/run/netns/a" },
      { name: "net1", sandbox: "/run/netns/a" },
      { name: "lo", sandbox: "/run/netns/a" },
    ],
    ips: [
      { address: "127.0.0.1/8", interface: 3 },
      { address: "::1/128", interface: 3 },
      { address: "192.168.1.1/24", interface: 2 },
      { address: "10.0.0.1/24", interface: 0 },
      { address: "10.0.0.9/24", interface: 1 },
      { address: "FD00::9/64", interface: 1 },
      { address: "10.0.0.9/24" },
    ],
  });
  assert.deepEqual(podAddresses(result, "eth0"), ["10.0.0.9", "fd00::9", "192.168.1.1"]);
});

test("`podAddresses()` rejects an interface that is not there", () => {
  for (const index of [1, -1])
    assert.throws(() => podAddresses(parse({ ips: [{ address: "10.0.0.1/8", interface: index }] }), "eth0"), {
      message: `the result has no interface ${index}`,
    });
});

test("`parseResult()` and `podAddresses()` throw nothing but their own errors", () => {
  const address = fc.record(
    {
      address: fc.oneof(fc.string(), fc.ipV4Extended(), fc.constant("10.0.0.1/8")),
      interface: fc.jsonValue(),
    },
    { requiredKeys: [] },
  );
  const result = fc.record(
    {
      cniVersion: fc.oneof(fc.constantFrom(...supportedVersions), fc.jsonValue()),
      ips: fc.oneof(fc.array(address), fc.jsonValue()),
      interfaces: fc.oneof(
        fc.array(fc.record({ name: fc.jsonValue(), sandbox: fc.string() })),
        fc.jsonValue(),
      ),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        result.map((value) => JSON.stringify(value)),
      ),
      fc.constantFrom(...supportedVersions),
      (text, version) => {
        try {
          podAddresses(parseResult(text, version, "x"), "eth0");
        } catch (error) {
          assert.ok(error instanceof CricketError && error.code === "internal", String(error));
        }
      },
    ),
    { numRuns: 500 },
  );
});
