import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  formatReference,
  isShortName,
  parseReference,
  repositoryOf,
  tryParseReference,
} from "../../../src/image/reference.ts";

const digest = `sha256:${"a1".repeat(32)}`;

describe("parseReference()", () => {
  const complete: [string, string][] = [
    ["busybox", "docker.io/library/busybox:latest"],
    ["busybox:1.36", "docker.io/library/busybox:1.36"],
    ["user/app", "docker.io/user/app:latest"],
    ["docker.io/busybox", "docker.io/library/busybox:latest"],
    ["index.docker.io/busybox", "docker.io/library/busybox:latest"],
    ["docker.io/user/app:v2", "docker.io/user/app:v2"],
    ["localhost/app", "localhost/app:latest"],
    ["localhost:5000/app", "localhost:5000/app:latest"],
    ["127.0.0.1:5000/a/b/c:x", "127.0.0.1:5000/a/b/c:x"],
    ["[::1]:5000/app", "[::1]:5000/app:latest"],
    ["registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"],
    ["Registry/app", "Registry/app:latest"],
    ["my__app/a-b.c_d", "docker.io/my__app/a-b.c_d:latest"],
    ["a/b---c", "docker.io/a/b---c:latest"],
    [`busybox@${digest}`, `docker.io/library/busybox@${digest}`],
    [`quay.io/x/y:tag@${digest}`, `quay.io/x/y:tag@${digest}`],
    ["example.com/a:_x.Y-1", "example.com/a:_x.Y-1"],
  ];
  for (const [text, full] of complete)
    test(`completes ${text}`, () => assert.equal(formatReference(parseReference(text)), full));

  const refused = [
    "",
    ":latest",
    "busybox:",
    "busybox@",
    "busybox@sha256:abc",
    `busybox@sha512:${"a".repeat(128)}`,
    `busybox@sha256:${"A".repeat(64)}`,
    "Busybox",
    "user/App",
    "https://docker.io/busybox",
    "docker://busybox",
    "a//b",
    "/a",
    "a/",
    "a/../b",
    "../etc/passwd",
    "a/./b",
    "-a",
    "a_-b",
    "a___b",
    "example.com:port/a",
    "example.com:123456/a",
    "-example.com/a",
    "exa mple.com/a",
    "a b",
    "a\n",
    "a?b",
    "a#b",
    "a%2f",
    "user@example.com/a",
    "busybox:.x",
    `busybox:${"t".repeat(129)}`,
    `example.com/${"a".repeat(250)}`,
    "f".repeat(64),
    `busybox@${digest}@${digest}`,
  ];
  for (const text of refused)
    test(`rejects ${JSON.stringify(text.slice(0, 40))}`, () =>
      assert.throws(() => parseReference(text), { code: "invalid-argument" }));

  test("quotes no more than a part of a long reference, on one line", () => {
    assert.throws(
      () => parseReference(`a\n${"x".repeat(10_000)}`),
      (error: Error) => error.message.length < 400 && !error.message.includes("\n"),
    );
  });

  test("throws nothing but invalid-argument, whatever the text", () => {
    const text = fc.oneof(
      fc.string(),
      fc.string({
        unit: fc.constantFrom("a", "B", "0", ".", "-", "_", "/", ":", "@", "sha256:", "[", "]", digest),
      }),
    );
    fc.assert(
      fc.property(text, (given) => {
        try {
          const reference = parseReference(given);
          assert.deepEqual(parseReference(formatReference(reference)), reference);
          assert.match(repositoryOf(reference), /^[A-Za-z0-9.:[\]_/-]+$/);
          assert.doesNotMatch(reference.path, /(^|\/)\.\.?(\/|$)/);
        } catch (error) {
          assert.equal((error as { code?: string }).code, "invalid-argument");
        }
      }),
      { numRuns: 3000 },
    );
  });

  test("is the inverse of formatReference()", () => {
    const part = fc.stringMatching(/^[a-z0-9]{1,8}$/);
    const fields = {
      domain: fc.constantFrom("docker.io", "quay.io", "localhost:5000", "10.0.0.1"),
      path: fc.array(part, { minLength: 2, maxLength: 4 }).map((parts) => parts.join("/")),
      tag: fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}$/),
    };
    const arbitrary = fc.record(fields, { noNullPrototype: true });
    fc.assert(
      fc.property(arbitrary, (given) => assert.deepEqual(parseReference(formatReference(given)), given)),
    );
  });
});

test("tryParseReference() gives undefined where parseReference() throws", () => {
  assert.equal(tryParseReference("A B"), undefined);
  assert.equal(tryParseReference("a")?.path, "library/a");
});

test("isShortName() is true where no registry is named", () => {
  const texts = [
    "busybox",
    "busybox:1",
    "user/app",
    `busybox@${digest}`,
    "localhost/a",
    "a.b/c",
    "a:1/c",
    "docker.io/a",
  ];
  assert.deepEqual(texts.map(isShortName), [true, true, true, true, false, false, false, false]);
});
