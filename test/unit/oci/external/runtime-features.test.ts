import assert from "node:assert/strict";
import { test } from "node:test";
import { noFeatures, parseFeatures } from "../../../../src/oci/external/runtime-features.ts";

test("`parseFeatures()` reads what the document says", () => {
  const document = {
    ociVersionMin: "1.0.0",
    mountOptions: ["ro", "rro"],
    linux: { mountExtensions: { idmap: { enabled: true } } },
    annotations: { "org.opencontainers.runc.checkpoint.enabled": "true" },
  };
  assert.deepEqual(parseFeatures(JSON.stringify(document)), {
    recursiveReadOnlyMounts: true,
    idmappedMounts: true,
    checkpoints: true,
  });
});

test("`parseFeatures()` takes what is not said, or said in another form, for not there", () => {
  for (const text of [
    "",
    "unknown command features",
    "null",
    "[]",
    "7",
    '{"linux":null,"mountOptions":"rro"}',
  ])
    assert.deepEqual(parseFeatures(text), noFeatures);
});
