import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseChallenges } from "../../../src/image/auth-challenge.ts";

const read = (...lines: string[]): [string, Record<string, string>][] =>
  parseChallenges(lines).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

describe("parseChallenges()", () => {
  test("reads a bearer challenge", () => {
    const line =
      'Bearer realm="https://auth.io/token",service="registry.io",scope="repository:a/b:pull,push"';
    const parameters = {
      realm: "https://auth.io/token",
      service: "registry.io",
      scope: "repository:a/b:pull,push",
    };
    assert.deepEqual(read(line), [["bearer", parameters]]);
  });

  test("reads several challenges in one line and in several", () => {
    const both = [
      ["basic", { realm: "a, b" }],
      ["bearer", { realm: "x", error: "invalid_token" }],
    ];
    assert.deepEqual(read('Basic realm="a, b", BEARER Realm=x , error="invalid_token"'), both);
    assert.deepEqual(read('Basic realm="a, b"', "bearer realm=x,error=invalid_token"), both);
  });

  test("reads schemes without parameters and escaped quotes", () => {
    assert.deepEqual(read('Negotiate, Basic realm="a\\"b"'), [
      ["negotiate", {}],
      ["basic", { realm: 'a"b' }],
    ]);
  });

  test("keeps the first of two parameters with one name", () => {
    assert.deepEqual(read('Bearer realm="https://a/", realm="https://b/"'), [
      ["bearer", { realm: "https://a/" }],
    ]);
  });

  test("throws nothing and ends, whatever the header", () => {
    const piece = fc.constantFrom("Bearer", "Basic", " ", ",", "=", '"', "\\", "realm", "a", "\t");
    fc.assert(fc.property(fc.oneof(fc.string(), fc.string({ unit: piece })), (line) => void read(line)));
    assert.ok(read(`Bearer realm="${"\\\\".repeat(1_000_000)}`).length <= 1);
  });
});
