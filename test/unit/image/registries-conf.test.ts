import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { describe, test } from "node:test";
import { formatReference, parseReference } from "../../../src/image/reference.ts";
import {
  candidateReferences,
  emptyRegistriesConf,
  isInsecureHost,
  loadRegistriesConf,
  mergeRegistriesConf,
  pullEndpoints,
  type RegistriesConf,
} from "../../../src/image/registries-conf.ts";

const digest = `sha256:${"0".repeat(64)}`;

function conf(...texts: string[]): RegistriesConf {
  const merged = emptyRegistriesConf();
  for (const text of texts) mergeRegistriesConf(merged, text, "registries.conf");
  return merged;
}

function endpoints(parsed: RegistriesConf, reference: string): string[] {
  return pullEndpoints(parsed, parseReference(reference)).map(
    ({ host, repository, insecure }) => `${host}/${repository}${insecure ? " insecure" : ""}`,
  );
}

describe("pullEndpoints()", () => {
  test("asks Docker Hub where it really is", () => {
    assert.deepEqual(endpoints(conf(), "busybox"), ["registry-1.docker.io/library/busybox"]);
    assert.deepEqual(endpoints(conf(), "quay.io/a/b"), ["quay.io/a/b"]);
  });

  test("allows plain http only where the file says insecure", () => {
    const parsed = conf(`[[registry]]\nlocation = "127.0.0.1:5000"\ninsecure = true`);
    assert.deepEqual(endpoints(parsed, "127.0.0.1:5000/a"), ["127.0.0.1:5000/a insecure"]);
    assert.deepEqual(endpoints(parsed, "127.0.0.1:5001/a"), ["127.0.0.1:5001/a"]);
    assert.deepEqual(endpoints(conf(), "localhost:5000/a"), ["localhost:5000/a"]);
    assert.equal(isInsecureHost(parsed, "127.0.0.1:5000"), true);
    assert.equal(isInsecureHost(parsed, "127.0.0.1:50"), false);
  });

  test("rewrites the prefix to the location", () => {
    const parsed = conf(`[[registry]]\nprefix = "example.com/foo"\nlocation = "internal.net:8443/bar"`);
    assert.deepEqual(endpoints(parsed, "example.com/foo/app"), ["internal.net:8443/bar/app"]);
    assert.deepEqual(endpoints(parsed, "example.com/foobar/app"), ["example.com/foobar/app"]);
  });

  test("takes the longest prefix", () => {
    const parsed = conf(`
      [[registry]]
      location = "example.com"
      [[registry]]
      prefix = "example.com/a/b"
      location = "two.example.net"
      [[registry]]
      prefix = "example.com/a"
      location = "one.example.net"`);
    assert.deepEqual(endpoints(parsed, "example.com/a/b/c"), ["two.example.net/c"]);
    assert.deepEqual(endpoints(parsed, "example.com/a/x"), ["one.example.net/x"]);
    assert.deepEqual(endpoints(parsed, "example.com/z"), ["example.com/z"]);
  });

  test("matches subdomains of a wildcard, and not the domain itself", () => {
    const parsed = conf(`
      [[registry]]
      prefix = "*.example.com"
      insecure = true
      [[registry.mirror]]
      location = "mirror.net/cache"`);
    assert.deepEqual(endpoints(parsed, "a.b.example.com/x"), [
      "mirror.net/cache/x",
      "a.b.example.com/x insecure",
    ]);
    assert.deepEqual(endpoints(parsed, "a.example.com:5000/x")[1], "a.example.com:5000/x insecure");
    assert.deepEqual(endpoints(parsed, "example.com/x"), ["example.com/x"]);
    assert.deepEqual(endpoints(parsed, "badexample.com/x"), ["badexample.com/x"]);
  });

  test("puts mirrors first, in their order, by the kind of pull they serve", () => {
    const parsed = conf(`
      [[registry]]
      prefix = "docker.io"
      location = "docker.io"
      [[registry.mirror]]
      location = "m1.net"
      insecure = true
      [[registry.mirror]]
      location = "m2.net/hub"
      pull-from-mirror = "digest-only"
      [[registry.mirror]]
      location = "m3.net"
      pull-from-mirror = "tag-only"`);
    const own = "registry-1.docker.io/library/busybox";
    assert.deepEqual(endpoints(parsed, "busybox"), [
      "m1.net/library/busybox insecure",
      "m3.net/library/busybox",
      own,
    ]);
    assert.deepEqual(endpoints(parsed, `busybox@${digest}`), [
      "m1.net/library/busybox insecure",
      "m2.net/hub/library/busybox",
      own,
    ]);
  });

  test("honours mirror-by-digest-only", () => {
    const parsed = conf(`
      [[registry]]
      location = "a.io"
      mirror-by-digest-only = true
      [[registry.mirror]]
      location = "m.io"`);
    assert.deepEqual(endpoints(parsed, "a.io/x:1"), ["a.io/x"]);
    assert.deepEqual(endpoints(parsed, `a.io/x@${digest}`), ["m.io/x", "a.io/x"]);
  });

  test("refuses a blocked registry with its name", () => {
    const parsed = conf(`[[registry]]\nlocation = "evil.io"\nblocked = true`);
    assert.throws(() => endpoints(parsed, "evil.io/x"), {
      code: "permission-denied",
      message: /evil\.io is blocked/,
    });
    assert.deepEqual(endpoints(parsed, "evil.io.net/x"), ["evil.io.net/x"]);
  });

  test("refuses a location that makes no repository", () => {
    const parsed = conf(`[[registry]]\nprefix = "a.io"\nlocation = "b.io/../../c"`);
    assert.throws(() => endpoints(parsed, "a.io/x"), { code: "invalid-argument" });
  });
});

describe("candidateReferences()", () => {
  const names = (parsed: RegistriesConf, text: string): string[] =>
    candidateReferences(parsed, text).map(formatReference);

  test("means docker.io by a short name unless the file says otherwise", () => {
    assert.deepEqual(names(conf(), "busybox"), ["docker.io/library/busybox:latest"]);
    const parsed = conf(`unqualified-search-registries = ["quay.io", "docker.io"]`);
    assert.deepEqual(names(parsed, "busybox:1"), ["quay.io/busybox:1", "docker.io/library/busybox:1"]);
    assert.deepEqual(names(parsed, "a.io/busybox:1"), ["a.io/busybox:1"]);
  });

  test("follows aliases, which later files can take back", () => {
    const first = `[aliases]\nfedora = "registry.fedoraproject.org/fedora"`;
    assert.deepEqual(names(conf(first), "fedora:40"), ["registry.fedoraproject.org/fedora:40"]);
    assert.deepEqual(names(conf(first), `fedora@${digest}`), [`registry.fedoraproject.org/fedora@${digest}`]);
    assert.deepEqual(names(conf(first, `[aliases]\nfedora = ""`), "fedora"), [
      "docker.io/library/fedora:latest",
    ]);
  });
});

describe("loadRegistriesConf()", () => {
  test("reads the file and then the drop-ins by name, later ones replacing entries", async () => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "cricket-registries-"));
    try {
      const file = path.join(directory, "registries.conf");
      assert.deepEqual(await loadRegistriesConf(file), emptyRegistriesConf());
      fs.writeFileSync(file, `[[registry]]\nlocation = "a.io"\nblocked = true\n`);
      fs.mkdirSync(`${file}.d`);
      fs.writeFileSync(`${file}.d/20.conf`, `[[registry]]\nlocation = "a.io"\ninsecure = true\n`);
      fs.writeFileSync(`${file}.d/10.conf`, `[[registry]]\nlocation = "a.io"\nblocked = true\n`);
      fs.writeFileSync(`${file}.d/ignored.txt`, `not toml at all`);
      const loaded = await loadRegistriesConf(file);
      assert.deepEqual(endpoints(loaded, "a.io/x"), ["a.io/x insecure"]);
    } finally {
      fs.rmSync(directory, { recursive: true });
    }
  });

  test("reads where credentials are looked for", () => {
    assert.deepEqual(conf("").credentialHelpers, ["containers-auth.json"]);
    assert.deepEqual(conf("credential-helpers = []").credentialHelpers, ["containers-auth.json"]);
    assert.deepEqual(conf('credential-helpers = ["ecr-login", "containers-auth.json"]').credentialHelpers, [
      "ecr-login",
      "containers-auth.json",
    ]);
  });

  const broken: [string, string, RegExp][] = [
    ["bad TOML", "[[registry", /registries\.conf: /],
    ["version 1", "[registries.search]\nregistries = []", /registries: the format of version 1/],
    ["no location", "[[registry]]\nblocked = true", /neither prefix nor location/],
    ["a prefix alone", `[[registry]]\nprefix = "a.io"`, /a\.io: location is not set/],
    [
      "a scheme",
      `[[registry]]\nlocation = "https://a.io"`,
      /registry\.location https:\/\/a\.io: must not have a scheme/,
    ],
    ["a wildcard in the middle", `[[registry]]\nprefix = "a.*.io"`, /a wildcard is \*\.domain/],
    [
      "insecure that is text",
      `[[registry]]\nlocation = "a.io"\ninsecure = "yes"`,
      /registry\.insecure is not true/,
    ],
    ["a helper with a path", 'credential-helpers = ["../sh"]', /credential-helpers: "\.\.\/sh"/],
    ["one registry as a table", `[registry]\nlocation = "a.io"`, /registry is not a list of tables/],
    [
      "search registries that are text",
      `unqualified-search-registries = "a"`,
      /unqualified-search-registries/,
    ],
    [
      "a mirror without location",
      `[[registry]]\nlocation="a.io"\n[[registry.mirror]]\ninsecure=true`,
      /mirror\.location/,
    ],
    [
      "an unknown pull-from-mirror",
      `[[registry]]\nlocation="a.io"\n[[registry.mirror]]\nlocation="m.io"\npull-from-mirror="never"`,
      /pull-from-mirror never/,
    ],
  ];
  for (const [what, text, message] of broken)
    test(`names file and key on ${what}`, () =>
      assert.throws(() => conf(text), { code: "invalid-argument", message }));
});
