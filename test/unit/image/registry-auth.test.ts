// Credentials reach the registry they belong to and its token realm, and nobody else: CVE-2020-15157, CVE-2020-1702.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import {
  demand,
  isBlob,
  sendError,
  type FakeRegistry,
  type SeenRequest,
} from "../../support/fake-registry.ts";
import { buildImage, buildLayer } from "../../support/test-image.ts";
import { noAuth, openTestImages } from "../../support/test-images.ts";

const password = "hunter2-päss";
const basic = `Basic ${Buffer.from(`user:${password}`).toString("base64")}`;
const auth = { ...noAuth, username: "user", password };
const onlyImage = async (): Promise<ReturnType<typeof buildImage>> =>
  buildImage([await buildLayer([{ name: "f", content: "x" }])]);

/** Makes `registry` want a token that `realm` sells for the password. */
function sellTokens(registry: FakeRegistry, realm: FakeRegistry, token = "tok-1"): void {
  const where = `http://${realm.address}/token`;
  registry.behave(
    demand(`Bearer ${token}`, `Bearer realm="${where}",service="reg",scope="repository:app:pull"`),
  );
  realm.behave(({ path: asked, headers }, response) => {
    if (asked !== "/token") return false;
    if (headers.authorization === basic) response.end(JSON.stringify({ token, expires_in: 300 }));
    else sendError(response, 401, { code: "UNAUTHORIZED", message: "who are you" });
    return true;
  });
}

const withSecrets = (requests: SeenRequest[]): SeenRequest[] =>
  requests.filter(({ headers, query, body }) => {
    const all = JSON.stringify([headers, [...query], body]);
    return headers.authorization !== undefined || all.includes("hunter2") || all.includes("tok-1");
  });

describe("pull() with credentials", () => {
  test("buys a token for the repository and keeps it for the next pull", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const reference = registry.add("app", "1", await onlyImage());
    sellTokens(registry, registry);
    await images.service.pull({ reference, auth });
    const bought = registry.seen.filter(({ path: asked }) => asked === "/token");
    assert.equal(bought.length, 1);
    assert.deepEqual(Object.fromEntries(bought[0]?.query ?? []), {
      service: "reg",
      scope: "repository:app:pull",
      account: "user",
    });
    await images.service.pull({ reference, auth });
    assert.equal(registry.seen.filter(({ path: asked }) => asked === "/token").length, 1);
  });

  test("buys another token when the kept one is refused", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const reference = registry.add("app", "1", await onlyImage());
    sellTokens(registry, registry, "tok-1");
    await images.service.pull({ reference, auth });
    registry.behave((request) => {
      if (request.headers.authorization === "Bearer tok-1")
        request.headers.authorization = "Bearer withdrawn";
      if (request.headers.authorization === "Bearer tok-2") request.headers.authorization = "Bearer tok-1";
      return false;
    });
    registry.behave(({ path: asked }, response) => {
      if (asked !== "/token") return false;
      response.end(JSON.stringify({ access_token: "tok-2" }));
      return true;
    });
    await images.service.pull({ reference, auth });
  });

  test("waits for a token service that is busy, and tells the kubelet when it stays so", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const reference = registry.add("app", "1", await onlyImage());
    sellTokens(registry, registry);
    let refusals = 2;
    registry.behave(({ path: asked }, response) => {
      if (asked !== "/token" || refusals-- <= 0) return false;
      response.writeHead(refusals === 1 ? 429 : 503).end();
      return true;
    });
    await images.service.pull({ reference, auth });
    refusals = Number.POSITIVE_INFINITY;
    registry.behave(({ headers }) => {
      if (headers.authorization === "Bearer tok-1") headers.authorization = "Bearer withdrawn";
      return false;
    });
    await assert.rejects(images.service.pull({ reference, auth }), {
      message: /^RegistryUnavailable: .*token of 127\.0\.0\.1:\d+: status 503$/,
    });
  });

  test("does not let one caller's token serve another", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const reference = registry.add("app", "1", await onlyImage());
    sellTokens(registry, registry);
    await images.service.pull({ reference, auth });
    const wrong = { ...auth, password: "guess" };
    for (const other of [wrong, undefined])
      await assert.rejects(
        images.service.pull({ reference, ...(other === undefined ? {} : { auth: other }) }),
        {
          code: "permission-denied",
        },
      );
  });

  test("uses basic authentication, from the pair and from its encoded form", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const reference = registry.add("app", "1", await onlyImage());
    registry.behave(demand(basic, 'Basic realm="x"'));
    await images.service.pull({ reference, auth });
    await images.service.pull({ reference, auth: { ...noAuth, auth: basic.slice(6) } });
    await assert.rejects(images.service.pull({ reference }), {
      code: "permission-denied",
      message: /pull of app from 127\.0\.0\.1:\d+ denied: credentials are needed/,
    });
  });

  test("sends a registry token as it is", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const reference = registry.add("app", "1", await onlyImage());
    registry.behave(demand("Bearer given", 'Bearer realm="http://nowhere.invalid/"'));
    await images.service.pull({ reference, auth: { ...noAuth, registryToken: "given" } });
    await assert.rejects(images.service.pull({ reference, auth: { ...noAuth, registryToken: "other" } }), {
      code: "permission-denied",
    });
  });

  test("exchanges an identity token by POST", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const reference = registry.add("app", "1", await onlyImage());
    sellTokens(registry, registry);
    registry.behave(({ path: asked, method, body }, response) => {
      if (asked !== "/token" || method !== "POST") return false;
      const form = Object.fromEntries(new URLSearchParams(body));
      const expected = {
        grant_type: "refresh_token",
        refresh_token: "id&token",
        service: "reg",
        scope: "repository:app:pull",
        client_id: "cricket",
      };
      assert.deepEqual(form, expected);
      response.end(JSON.stringify({ access_token: "tok-1" }));
      return true;
    });
    await images.service.pull({ reference, auth: { ...noAuth, identityToken: "id&token" } });
  });

  test("takes credentials from the auth file, by repository", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const reference = registry.add("app", "1", await onlyImage());
    registry.behave(demand(basic, "Basic"));
    const auths = {
      [registry.address]: { auth: "eDp5" },
      [`${registry.address}/app`]: { auth: basic.slice(6) },
    };
    fs.writeFileSync(path.join(images.root, "auth.json"), JSON.stringify({ auths }));
    await images.service.pull({ reference });
  });
});

describe("pull() keeps credentials to itself:", () => {
  test("a host that a layer is redirected to gets none, and its challenge is not answered", async (t) => {
    const images = await openTestImages(t);
    const [registry, storage] = [await images.registry(), await images.registry()];
    const image = await onlyImage();
    const reference = registry.add("app", "1", image);
    storage.add("app", "1", image);
    sellTokens(registry, registry);
    let isAsking = true;
    storage.behave((_request, response) => {
      if (!isAsking) return false;
      const challenge = { "www-authenticate": `Bearer realm="http://${storage.address}/token"` };
      sendError(response, 401, { code: "UNAUTHORIZED", message: "give me more" }, challenge);
      return true;
    });
    registry.behave((request, response) => {
      if (!isBlob(request) || request.headers.authorization !== "Bearer tok-1") return false;
      response.writeHead(307, { location: `http://${storage.address}${request.path}` });
      response.end();
      return true;
    });
    await assert.rejects(images.service.pull({ reference, auth }), { code: "permission-denied" });
    isAsking = false;
    await images.service.pull({ reference, auth });
    assert.ok(storage.seen.length > 1);
    assert.deepEqual(withSecrets(storage.seen), []);
    assert.deepEqual(
      storage.seen.filter(({ path: asked }) => asked === "/token"),
      [],
    );
  });

  test("a token realm in the clear on another host gets none", async (t) => {
    const images = await openTestImages(t);
    const [registry, thief] = [await images.registry(), await images.registry()];
    const reference = registry.add("app", "1", await onlyImage());
    const port = thief.address.split(":")[1];
    registry.behave(demand("Bearer tok-1", `Bearer realm="http://localhost:${port}/token"`));
    await assert.rejects(images.service.pull({ reference, auth }), {
      code: "permission-denied",
      message: /the token realm http:\/\/localhost:\d+ is not https and not configured as insecure/,
    });
    assert.deepEqual(thief.seen, []);
  });

  for (const realm of ["", "ftp://x/", "http://user:pass@127.0.0.1/", "token", "javascript:alert(1)"])
    test(`the token realm ${JSON.stringify(realm)} gets none`, async (t) => {
      const images = await openTestImages(t);
      const registry = await images.registry();
      const reference = registry.add("app", "1", await onlyImage());
      registry.behave(demand("Bearer tok-1", `Bearer realm="${realm}"`));
      await assert.rejects(images.service.pull({ reference, auth }), { code: "permission-denied" });
      assert.deepEqual(withSecrets(registry.seen), []);
    });

  test("a token realm that redirects gets its own host's credentials only", async (t) => {
    const images = await openTestImages(t);
    const [registry, thief] = [await images.registry(), await images.registry()];
    const reference = registry.add("app", "1", await onlyImage());
    registry.behave(demand("Bearer tok-1", `Bearer realm="http://${registry.address}/token"`));
    registry.behave(({ path: asked }, response) => {
      if (asked !== "/token") return false;
      response.writeHead(307, { location: `http://${thief.address}/token` });
      response.end();
      return true;
    });
    await assert.rejects(images.service.pull({ reference, auth }), { code: "permission-denied" });
    assert.deepEqual(thief.seen, []);
  });

  test("a mirror gets none of the registry's, and its own from the file", async (t) => {
    const images = await openTestImages(t);
    const [mirror, registry] = [await images.registry(), await images.registry()];
    images.configure(
      `[[registry]]\nlocation = "${registry.address}"\ninsecure = true\n` +
        `[[registry.mirror]]\nlocation = "${mirror.address}"\ninsecure = true\n`,
    );
    const reference = registry.add("app", "1", await onlyImage());
    mirror.add("app", "1", await onlyImage());
    registry.behave(demand(basic, "Basic"));
    mirror.behave(demand("Basic bTpt", "Basic"));
    await images.service.pull({ reference, auth });
    assert.deepEqual(withSecrets(mirror.seen), []);
    fs.writeFileSync(
      path.join(images.root, "auth.json"),
      JSON.stringify({ auths: { [mirror.address]: { auth: "bTpt" } } }),
    );
    registry.seen.length = 0;
    await images.service.pull({ reference, auth });
    assert.deepEqual(registry.seen, []);
  });

  test("credentials for another server stay where they are", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const reference = registry.add("app", "1", await onlyImage());
    registry.behave(demand(basic, "Basic"));
    const other = { ...auth, serverAddress: "https://other.example.com/v1/" };
    await assert.rejects(images.service.pull({ reference, auth: other }), {
      message: /credentials are needed/,
    });
    assert.deepEqual(withSecrets(registry.seen), []);
    await images.service.pull({ reference, auth: { ...auth, serverAddress: registry.address } });
  });

  test("errors, logs and records show no secret that the registry repeats", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const reference = registry.add("app", "1", await onlyImage());
    const encoded = basic.slice(6);
    registry.behave(({ path: asked, headers }, response) => {
      if (!asked.startsWith("/v2/app") || headers.authorization === undefined) return false;
      sendError(response, 403, {
        code: "DENIED",
        message: `no entry for user:${password} (${headers.authorization})`,
      });
      return true;
    });
    registry.behave(demand(basic, "Basic"));
    await assert.rejects(images.service.pull({ reference, auth }), (error: Error) => {
      for (let cause: unknown = error; cause instanceof Error; cause = cause.cause)
        assert.ok(!cause.message.includes(password) && !cause.message.includes(encoded), cause.message);
      return error.message.includes("DENIED") && error.message.includes("***");
    });
    registry.behave(({ path: asked, headers }) => {
      if (asked.startsWith("/v2/")) delete headers.authorization;
      return false;
    });
    assert.ok(images.log.every((line) => !line.includes("hunter2") && !line.includes(encoded)));
  });

  test("a token without end is not read to the end", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const reference = registry.add("app", "1", await onlyImage());
    sellTokens(registry, registry);
    registry.behave(({ path: asked }, response) => {
      if (asked !== "/token") return false;
      const more = (): unknown =>
        !response.destroyed && response.write(Buffer.alloc(65_536, "x"), () => setImmediate(more));
      more();
      return true;
    });
    await assert.rejects(images.service.pull({ reference, auth }), {
      code: "resource-exhausted",
      message: /token of 127\.0\.0\.1:\d+ is larger than 1048576 bytes/,
    });
  });

  test("a token that would forge a header is refused", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const reference = registry.add("app", "1", await onlyImage());
    sellTokens(registry, registry);
    registry.behave(({ path: asked }, response) => {
      if (asked !== "/token") return false;
      response.end(JSON.stringify({ token: "a\r\nX-Forged: 1" }));
      return true;
    });
    await assert.rejects(images.service.pull({ reference, auth }), { message: /the answer holds no token/ });
  });
});
