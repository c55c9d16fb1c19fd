import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parseReference } from "../../../src/image/reference.ts";
import {
  assertAllowed,
  loadSignaturePolicy,
  parseSignaturePolicy,
} from "../../../src/image/signature-policy.ts";

const accept = [{ type: "insecureAcceptAnything" }];
const reject = [{ type: "reject" }];

function isAllowed(document: object, reference: string): boolean {
  const policy = parseSignaturePolicy(JSON.stringify(document), "policy.json");
  try {
    assertAllowed(policy, parseReference(reference));
    return true;
  } catch (error) {
    assert.match((error as Error).message, /^SignatureValidationFailed: /);
    assert.equal((error as { code: string }).code, "unknown");
    return false;
  }
}

describe("assertAllowed()", () => {
  test("takes the most specific scope", () => {
    const docker = {
      "quay.io": accept,
      "quay.io/bad": reject,
      "quay.io/bad/good:1": accept,
      "*.example.com": accept,
      "": reject,
    };
    const policy = { default: accept, transports: { docker } };
    assert.equal(isAllowed(policy, "quay.io/a/b"), true);
    assert.equal(isAllowed(policy, "quay.io/bad/x"), false);
    assert.equal(isAllowed(policy, "quay.io/bad/good:1"), true);
    assert.equal(isAllowed(policy, "quay.io/bad/good:2"), false);
    assert.equal(isAllowed(policy, "quay.io/badly"), true);
    assert.equal(isAllowed(policy, "a.b.example.com/x"), true);
    assert.equal(isAllowed(policy, "example.com/x"), false);
    assert.equal(isAllowed(policy, "docker.io/library/x"), false);
  });

  test("falls back to the default", () => {
    assert.equal(isAllowed({ default: reject }, "busybox"), false);
    assert.equal(isAllowed({ default: accept, transports: {} }, "busybox"), true);
  });

  test("refuses what asks for a signature, because none can be checked", () => {
    for (const type of ["signedBy", "sigstoreSigned"])
      assert.equal(isAllowed({ default: [{ type, keyType: "GPGKeys" }] }, "busybox"), false);
    assert.equal(isAllowed({ default: [...accept, { type: "signedBy" }] }, "busybox"), false);
  });

  test("accepts everything where there is no policy", async () => {
    assert.equal(await loadSignaturePolicy("/nonexistent/policy.json"), undefined);
    assertAllowed(undefined, parseReference("busybox"));
  });
});

describe("parseSignaturePolicy()", () => {
  const broken: [string, string, RegExp][] = [
    ["no JSON", "{", /policy\.json: not JSON/],
    ["no default", "{}", /policy\.json: default/],
    ["an empty list", '{"default":[]}', /default/],
    ["an unknown type", '{"default":[{"type":"maybe"}]}', /unknown requirement "maybe"/],
    [
      "a broken scope",
      '{"default":[{"type":"reject"}],"transports":{"docker":{"a":{}}}}',
      /transports\.docker\["a"\]/,
    ],
  ];
  for (const [what, text, message] of broken)
    test(`names file and key on ${what}`, () =>
      assert.throws(() => parseSignaturePolicy(text, "policy.json"), { code: "invalid-argument", message }));
});
