import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parseReference } from "../../../src/image/reference.ts";
import { matchesIdentity, parseSignedIdentity } from "../../../src/image/signed-identity.ts";

const digest = `sha256:${"a".repeat(64)}`;
const matches = (identity: object | undefined, image: string, signed: string): boolean =>
  matchesIdentity(parseSignedIdentity(identity, "policy.json"), parseReference(image), signed);

describe("matchesIdentity()", () => {
  const remap = { type: "remapIdentity", prefix: "mirror.io/copy", signedPrefix: "quay.io/team" };
  for (const [identity, image, signed, expected] of [
    [undefined, "quay.io/a:1", "quay.io/a:1", true],
    [undefined, "quay.io/a:1", "quay.io/a:2", false],
    [undefined, "quay.io/a:1", "quay.io/a", false],
    [undefined, "quay.io/a:latest", "quay.io/a", false],
    [undefined, `quay.io/a@${digest}`, "quay.io/a:2", true],
    [undefined, `quay.io/a@${digest}`, "quay.io/a", true],
    [undefined, `quay.io/a@${digest}`, "quay.io/b", false],
    [undefined, `quay.io/a:1@${digest}`, "quay.io/a:1", false],
    [undefined, "busybox", "docker.io/library/busybox:latest", true],
    [undefined, "quay.io/a:1", "not a reference", false],
    [undefined, "quay.io/a:1", "", false],
    [{ type: "matchExact" }, "quay.io/a:1", "quay.io/a:1", true],
    [{ type: "matchExact" }, `quay.io/a@${digest}`, "quay.io/a:1", false],
    [{ type: "matchRepository" }, "quay.io/a:1", "quay.io/a", true],
    [{ type: "matchRepository" }, "quay.io/a:1", "quay.io/ab", false],
    [{ type: "exactReference", dockerReference: "a.io/x:1" }, "quay.io/a:1", "a.io/x:1", true],
    [{ type: "exactReference", dockerReference: "a.io/x:1" }, "quay.io/a:1", "quay.io/a:1", false],
    [{ type: "exactRepository", dockerRepository: "a.io/x" }, "quay.io/a:1", "a.io/x:7", true],
    [{ type: "exactRepository", dockerRepository: "a.io/x" }, "quay.io/a:1", "a.io/y:7", false],
    [remap, "mirror.io/copy/a:1", "quay.io/team/a:1", true],
    [remap, "mirror.io/copy/a:1", "mirror.io/copy/a:1", false],
    [remap, "mirror.io/copying/a:1", "mirror.io/copying/a:1", true],
    [remap, `mirror.io/copy/a@${digest}`, "quay.io/team/a:5", true],
  ] as const)
    test(`${JSON.stringify(identity)}: ${image.slice(0, 30)}, signed as ${JSON.stringify(signed)}: ${expected}`, () =>
      assert.equal(matches(identity, image, signed), expected));
});

test("`parseSignedIdentity()` refuses names that are not what the key says", () => {
  for (const identity of [
    null,
    "matchExact",
    { type: "exactReference", dockerReference: "quay.io/a" },
    { type: "exactRepository", dockerRepository: "quay.io/a:1" },
    { type: "remapIdentity", prefix: "a" },
  ])
    assert.throws(() => parseSignedIdentity(identity, "policy.json"), {
      code: "invalid-argument",
      message: /^policy\.json: signedIdentity/,
    });
});
