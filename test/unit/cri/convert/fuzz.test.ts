// Whatever a client sends: a converter yields a config or an invalid-argument, never another error.
import assert from "node:assert/strict";
import { test } from "node:test";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import protobuf from "protobufjs";
import { CricketError } from "../../../../src/base/errors.ts";
import { parseExact, stringifyExact } from "../../../../src/base/json.ts";
import { containerConfigFromWire } from "../../../../src/cri/convert/container-config.ts";
import { filterContainers, filterSandboxes } from "../../../../src/cri/convert/filter.ts";
import { resourcesFromWire, resourcesToWire } from "../../../../src/cri/convert/resources.ts";
import { sandboxConfigFromWire } from "../../../../src/cri/convert/sandbox-config.ts";
import { v1, type MessageType } from "../../../../cri-api/runtime/v1/api.js";

const source = readFileSync(new URL("../../../../cri-api/runtime/v1/api.proto", import.meta.url), "utf8");
const { root } = protobuf.parse(source);
root.resolveAll();

const texts = fc.oneof(
  fc.string(),
  fc.constantFrom(
    "",
    "/",
    "/a",
    "a/b",
    "../x",
    "127.0.0.1",
    "\0",
    "__proto__",
    "NET_ADMIN",
    "0-3",
    "localhost//x",
  ),
);
const numbers = fc.oneof(fc.constantFrom(0, 1, 2, 3, -1), fc.integer());
const longs = fc
  .oneof(fc.constantFrom(0n, 1n, -1n, 1000n, 100_000n), fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n))
  .map((value) => ({
    low: Number(BigInt.asIntN(32, value)),
    high: Number(BigInt.asIntN(32, value >> 32n)),
    unsigned: false,
  }));

function scalar(type: string): fc.Arbitrary<unknown> {
  if (type === "string") return texts;
  if (type === "bool") return fc.boolean();
  if (type === "bytes") return fc.uint8Array({ maxLength: 8 });
  if (type.endsWith("int64")) return longs;
  if (type === "uint32") return numbers.map((value) => value >>> 0);
  return numbers;
}

function field(definition: protobuf.Field, depth: number): fc.Arbitrary<unknown> {
  const { resolvedType } = definition;
  const value =
    resolvedType instanceof protobuf.Type ? message(resolvedType, depth + 1) : scalar(definition.type);
  if (definition.map) return fc.dictionary(texts, value, { maxKeys: 3 });
  return definition.repeated ? fc.array(value, { maxLength: 3 }) : value;
}

function message(type: protobuf.Type, depth = 0): fc.Arbitrary<object> {
  if (depth > 6) return fc.constant({});
  const fields = Object.fromEntries(type.fieldsArray.map((entry) => [entry.name, field(entry, depth)]));
  return fc.record(fields, { requiredKeys: [] });
}

// One wrong field hides those that are looked at later, so only some fields of each message are arbitrary.
function few(arbitrary: fc.Arbitrary<object>, base: object): fc.Arbitrary<object> {
  return fc.tuple(arbitrary, fc.infiniteStream(fc.nat(3))).map(([sent, choice]) => {
    const chosen = Object.entries(sent).filter(() => choice.next().value === 0);
    return { ...base, ...Object.fromEntries(chosen) };
  });
}

/** Encodes by reflection, decodes with the generated code, converts. `base`: fields a message needs. */
function fuzz<T>(
  name: string,
  decoder: MessageType<never, T>,
  convert: (wire: T) => unknown,
  base: object = {},
): void {
  const type = root.lookupType(`runtime.v1.${name}`);
  fc.assert(
    fc.property(few(message(type), base), (sent) => {
      const wire = decoder.decode(type.encode(type.fromObject(sent)).finish());
      assertRefusesOrConverts(() => convert(wire));
    }),
    { numRuns: 400 },
  );
}

function assertRefusesOrConverts(convert: () => unknown): void {
  let converted: unknown;
  try {
    converted = convert();
  } catch (error) {
    assert.ok(error instanceof CricketError, String(error));
    assert.equal(error.code, "invalid-argument");
    assert.ok(error.message.length > 0);
    return;
  }
  // What is accepted ends up in a record, and must come back from it as it was.
  const record = stringifyExact(converted);
  assert.equal(stringifyExact(parseExact(record)), record);
}

test("`sandboxConfigFromWire()` survives any message", () => {
  const base = { metadata: { name: "n", uid: "u", namespace: "ns" } };
  fuzz("PodSandboxConfig", v1.PodSandboxConfig, (wire) => sandboxConfigFromWire(wire, "config"), base);
});

test("`containerConfigFromWire()` survives any message", () => {
  const base = { metadata: { name: "n" }, image: { image: "busybox" } };
  fuzz("ContainerConfig", v1.ContainerConfig, (wire) => containerConfigFromWire(wire, "config"), base);
});

test("filters survive any message", () => {
  fuzz("PodSandboxFilter", v1.PodSandboxFilter, (wire) => filterSandboxes([], wire, "filter"));
  fuzz("ContainerFilter", v1.ContainerFilter, (wire) => filterContainers([], wire, "filter"));
});

test("`resourcesToWire()` is the inverse of `resourcesFromWire()` for what it accepts", () => {
  fuzz("LinuxContainerResources", v1.LinuxContainerResources, (wire) => {
    const resources = resourcesFromWire(wire, "linux");
    const again = v1.LinuxContainerResources.encode(resourcesToWire(resources)).finish();
    assert.deepEqual(resourcesFromWire(v1.LinuxContainerResources.decode(again), "linux"), resources);
    return resources;
  });
});

test("decoding random bytes ends in a message or an Error", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      let wire: v1.PodSandboxConfig;
      try {
        wire = v1.PodSandboxConfig.decode(bytes);
      } catch (error) {
        assert.ok(error instanceof Error);
        return;
      }
      assertRefusesOrConverts(() => sandboxConfigFromWire(wire, "config"));
    }),
  );
});
