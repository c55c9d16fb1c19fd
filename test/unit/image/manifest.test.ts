import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  choosePlatform,
  hostPlatform,
  parseManifest,
  type Index,
  type Platform,
} from "../../../src/image/manifest.ts";

const digest = `sha256:${"1".repeat(64)}`;
const oci = {
  manifest: "application/vnd.oci.image.manifest.v1+json",
  index: "application/vnd.oci.image.index.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar+gzip",
};
const docker = {
  manifest: "application/vnd.docker.distribution.manifest.v2+json",
  index: "application/vnd.docker.distribution.manifest.list.v2+json",
  config: "application/vnd.docker.container.image.v1+json",
  layer: "application/vnd.docker.image.rootfs.diff.tar.gzip",
};

const descriptor = (mediaType: string, size = 5): object => ({ mediaType, digest, size });

function manifestOf(types = oci, change: object = {}): object {
  return {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: descriptor(types.config),
    layers: [descriptor(types.layer)],
    ...change,
  };
}

const parse = (document: unknown, contentType = ""): ReturnType<typeof parseManifest> =>
  parseManifest(Buffer.from(JSON.stringify(document)), contentType);

const refuses = (document: unknown, message: RegExp, contentType = ""): void =>
  assert.throws(() => parse(document, contentType), { code: "failed-precondition", message });

describe("parseManifest()", () => {
  test("reads OCI and Docker manifests", () => {
    for (const types of [oci, docker])
      assert.deepEqual(parse(manifestOf(types), types.manifest), {
        kind: "manifest",
        config: { mediaType: types.config, digest, sizeBytes: 5 },
        layers: [{ mediaType: types.layer, digest, sizeBytes: 5, compression: "gzip" }],
        annotations: {},
      });
  });

  test("reads indexes", () => {
    const manifests = [
      { ...descriptor(oci.manifest), platform: { os: "linux", architecture: "arm64", variant: "v8" } },
    ];
    assert.deepEqual(parse({ schemaVersion: 2, manifests }, `${oci.index}; charset=utf-8`), {
      kind: "index",
      entries: [
        {
          mediaType: oci.manifest,
          digest,
          sizeBytes: 5,
          platform: { os: "linux", architecture: "arm64", variant: "v8" },
        },
      ],
    });
  });

  test("does without mediaType where the content type says it, and without both", () => {
    assert.equal(parse(manifestOf(oci, { mediaType: undefined }), oci.manifest).kind, "manifest");
    assert.equal(parse(manifestOf(oci, { mediaType: undefined }), "application/json").kind, "manifest");
    assert.equal(parse({ schemaVersion: 2, manifests: [] }).kind, "index");
  });

  test("knows how each layer is compressed", () => {
    const types = ["+gzip", "+zstd", ""].map((suffix) => `application/vnd.oci.image.layer.v1.tar${suffix}`);
    const parsed = parse(manifestOf(oci, { layers: types.map((type) => descriptor(type)) }));
    assert.deepEqual(parsed.kind === "manifest" ? parsed.layers.map((layer) => layer.compression) : [], [
      "gzip",
      "zstd",
      "none",
    ]);
  });

  // GHSA-5j5w-g665-5m35, CVE-2021-41190: one document, two meanings.
  test("refuses a document that is a manifest and an index", () => {
    for (const mediaType of [oci.manifest, oci.index, undefined]) {
      refuses(manifestOf(oci, { mediaType, manifests: [] }), /ambiguous/);
      refuses({ schemaVersion: 2, mediaType, manifests: [], layers: [] }, /ambiguous/);
    }
  });

  test("refuses keys in another case, which other decoders would read", () => {
    refuses(manifestOf(oci, { Manifests: [] }), /another case/);
    refuses(manifestOf(oci, { LAYERS: [] }), /another case/);
    refuses(manifestOf(oci, { MediaType: oci.index }), /another case/);
  });

  test("refuses a content type that contradicts the document", () => {
    refuses(manifestOf(), /calls it .*index.*calls itself .*manifest/, oci.index);
    refuses(manifestOf(docker), /calls itself/, oci.manifest);
    refuses(manifestOf(oci, { mediaType: undefined }), /does not fit the content/, oci.index);
    refuses({ schemaVersion: 2, manifests: [] }, /does not fit the content/, oci.manifest);
  });

  test("refuses schema 1 with a way out", () => {
    const type = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    refuses({ schemaVersion: 1, fsLayers: [] }, /schema 1 is not supported/, type);
    refuses({ schemaVersion: 1, fsLayers: [] }, /schema 1 is not supported/);
  });

  const broken: [string, object, RegExp][] = [
    ["another schema version", { schemaVersion: 3 }, /schemaVersion/],
    [
      "an artifact",
      { config: descriptor("application/vnd.cncf.helm.config.v1+json") },
      /not an image that can be run/,
    ],
    ["no config", { config: undefined }, /config is/],
    ["no layers", { layers: undefined }, /layers is .*not a list/],
    ["a layer without digest", { layers: [{ mediaType: oci.layer, size: 1 }] }, /layers\[0\]\.digest/],
    ["sha512", { layers: [{ ...descriptor(oci.layer), digest: `sha512:${"1".repeat(128)}` }] }, /sha256/],
    ["a negative size", { layers: [descriptor(oci.layer, -1)] }, /layers\[0\]\.size/],
    ["a size beyond 2^53", { layers: [descriptor(oci.layer, 2 ** 60)] }, /layers\[0\]\.size/],
    ["a size that is text", { layers: [{ ...descriptor(oci.layer), size: "5" }] }, /layers\[0\]\.size/],
    ["an unknown layer type", { layers: [descriptor("text/plain")] }, /not a known layer type/],
    ["an encrypted layer", { layers: [descriptor(`${oci.layer}+encrypted`)] }, /encrypted/],
    ["too many layers", { layers: Array.from({ length: 501 }, () => descriptor(oci.layer)) }, /501 layers/],
    ["annotations that are no text", { annotations: { a: 1 } }, /annotations\["a"\]/],
    // CVE-2020-15157: its URLs would be fetched, credentials and all.
    [
      "a foreign layer",
      {
        layers: [
          {
            ...descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
            urls: ["http://evil/"],
          },
        ],
      },
      /foreign layer/,
    ],
    [
      "a non-distributable layer",
      { layers: [descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")] },
      /foreign layer/,
    ],
  ];
  for (const [what, change, message] of broken)
    test(`refuses ${what}`, () => refuses(manifestOf(oci, change), message));

  test("refuses what is not JSON in UTF-8", () => {
    for (const bytes of [Buffer.from("{"), Buffer.from([0xff, 0xfe]), Buffer.from("[]"), Buffer.from("null")])
      assert.throws(() => parseManifest(bytes, ""), { code: "failed-precondition" });
  });

  test("throws nothing but failed-precondition, whatever the JSON", () => {
    const value = fc.jsonValue();
    const document = fc.oneof(
      value,
      fc.record({
        schemaVersion: fc.constant(2),
        mediaType: fc.constantFrom(oci.manifest, oci.index),
        config: value,
        layers: value,
      }),
      fc.record({ schemaVersion: fc.constant(2), manifests: fc.array(value) }),
    );
    fc.assert(
      fc.property(document, fc.constantFrom("", oci.manifest, oci.index, "text/html"), (given, type) => {
        try {
          parse(given, type);
        } catch (error) {
          assert.equal((error as { code?: string }).code, "failed-precondition");
        }
      }),
    );
  });
});

describe("choosePlatform()", () => {
  const entry = (platform: Partial<Platform> | undefined, mark: number): Index["entries"][number] => ({
    mediaType: oci.manifest,
    digest,
    sizeBytes: mark,
    platform:
      platform === undefined ? undefined : { os: "linux", architecture: "arm", variant: "", ...platform },
  });
  const choose = (entries: Index["entries"], wanted: Platform): number | undefined =>
    choosePlatform({ kind: "index", entries }, wanted)?.sizeBytes;
  const arm = { os: "linux", architecture: "arm", variant: "v7" };

  test("takes the exact variant, then none given, then an older one", () => {
    assert.equal(choose([entry({ variant: "v6" }, 1), entry({}, 2), entry({ variant: "v7" }, 3)], arm), 3);
    assert.equal(choose([entry({ variant: "v6" }, 1), entry({}, 2)], arm), 2);
    assert.equal(choose([entry({ variant: "v6" }, 1), entry({ variant: "v8" }, 2)], arm), 1);
    assert.equal(choose([entry({ variant: "v5" }, 1), entry({ variant: "v6" }, 2)], arm), 2);
    assert.equal(choose([entry({ variant: "odd" }, 1)], arm), undefined);
    assert.equal(choose([entry({ variant: "v8" }, 2)], arm), undefined);
  });

  test("passes over other systems, attestations and entries without platform", () => {
    const entries = [
      entry({ os: "windows" }, 1),
      entry({ os: "unknown", architecture: "unknown" }, 2),
      entry(undefined, 3),
      entry({ architecture: "amd64" }, 4),
    ];
    assert.equal(choose(entries, arm), undefined);
    assert.equal(choose(entries, { os: "linux", architecture: "amd64", variant: "" }), 4);
    assert.equal(choose([entry(undefined, 3)], arm), 3);
  });

  test("takes the first of equals, and amd64 v1 but no later level", () => {
    const amd64 = hostPlatform("x64");
    assert.equal(
      choose([entry({ architecture: "amd64" }, 1), entry({ architecture: "amd64" }, 2)], amd64),
      1,
    );
    assert.equal(choose([entry({ architecture: "amd64", variant: "v3" }, 1)], amd64), undefined);
    assert.equal(choose([entry({ architecture: "amd64", variant: "v1" }, 1)], amd64), 1);
    assert.equal(choose([entry({ architecture: "arm64" }, 1)], hostPlatform("arm64")), 1);
  });
});
