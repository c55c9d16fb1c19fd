import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parseReference } from "../../../src/image/reference.ts";
import {
  loadSignaturePolicy,
  parseSignaturePolicy,
  requiredSignatures,
} from "../../../src/image/signature-policy.ts";

const accept = [{ type: "insecureAcceptAnything" }];
const reject = [{ type: "reject" }];

function isAllowed(document: object, reference: string): boolean {
  const policy = parseSignaturePolicy(JSON.stringify(document), "policy.json");
  try {
    requiredSignatures(policy, parseReference(reference));
    return true;
  } catch (error) {
    assert.match((error as Error).message, /^SignatureValidationFailed: /);
    assert.equal((error as { code: string }).code, "unknown");
    return false;
  }
}

describe("requiredSignatures()", () => {
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

  test("refuses what asks for a signature that cannot be checked", () => {
    const log = { type: "sigstoreSigned", keyPath: "/k", rekorPublicKeyPath: "/r" };
    const unsupported = [
      { type: "signedBy", keyType: "GPGKeys" },
      { type: "sigstoreSigned", fulcio: {} },
      log,
    ];
    for (const requirement of unsupported) {
      assert.equal(isAllowed({ default: [requirement] }, "busybox"), false);
      assert.equal(isAllowed({ default: [...accept, requirement] }, "busybox"), false);
    }
  });

  test("gives the signatures that are asked for", () => {
    const keyData = Buffer.from("pem").toString("base64");
    const policy = {
      default: [
        ...accept,
        { type: "sigstoreSigned", keyPath: "/a" },
        { type: "sigstoreSigned", keyDatas: [keyData], signedIdentity: { type: "matchRepository" } },
      ],
    };
    const parsed = parseSignaturePolicy(JSON.stringify(policy), "policy.json");
    assert.deepEqual(requiredSignatures(parsed, parseReference("busybox")), [
      {
        type: "sigstoreSigned",
        keyPaths: ["/a"],
        keyData: [],
        identity: { type: "matchRepoDigestOrExact" },
      },
      {
        type: "sigstoreSigned",
        keyPaths: [],
        keyData: [Buffer.from("pem")],
        identity: { type: "matchRepository" },
      },
    ]);
  });

  test("accepts everything where there is no policy", async () => {
    assert.equal(await loadSignaturePolicy("/nonexistent/policy.json"), undefined);
    requiredSignatures(undefined, parseReference("busybox"));
  });
});

describe("parseSignaturePolicy()", () => {
  const broken: [string, string, RegExp][] = [
    ["no JSON", "{", /policy\.json: not JSON/],
    ["no default", "{}", /policy\.json: default/],
    ["an empty list", '{"default":[]}', /default/],
    ["a signature without a key", '{"default":[{"type":"sigstoreSigned"}]}', /not exactly one of keyPath/],
    [
      "two sources of keys",
      '{"default":[{"type":"sigstoreSigned","keyPath":"a","keyData":"b"}]}',
      /exactly one/,
    ],
    [
      "an empty list of keys",
      '{"default":[{"type":"sigstoreSigned","keyPaths":[]}]}',
      /keyPaths names no key/,
    ],
    ["a key that is no text", '{"default":[{"type":"sigstoreSigned","keyPath":1}]}', /keyPath is not text/],
    ["an unknown key", '{"default":[{"type":"sigstoreSigned","keypath":"a"}]}', /unknown key keypath/],
    [
      "an unknown identity",
      '{"default":[{"type":"sigstoreSigned","keyPath":"a","signedIdentity":{"type":"any"}}]}',
      /signedIdentity\.type is "any"/,
    ],
    [
      "an identity without its name",
      '{"default":[{"type":"sigstoreSigned","keyPath":"a","signedIdentity":{"type":"exactRepository"}}]}',
      /signedIdentity\.dockerRepository/,
    ],
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
