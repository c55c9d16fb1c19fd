import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { describe, test, type TestContext } from "node:test";
import {
  authFilesHelper,
  findCredentials,
  loadAuthFile,
  parseAuthFile,
  type AuthFile,
} from "../../../src/image/auth-file.ts";
import { belongsTo, credentialsOf, secretsOf, type AuthConfig } from "../../../src/image/credentials.ts";

const base64 = (text: string): string => Buffer.from(text).toString("base64");
const empty: AuthConfig = {
  username: "",
  password: "",
  auth: "",
  serverAddress: "",
  identityToken: "",
  registryToken: "",
};

const findIn = (files: AuthFile[], domain: string, repository: string): ReturnType<typeof findCredentials> =>
  findCredentials({ files, helpers: [authFilesHelper] }, domain, repository);

/** Puts docker-credential-mine on PATH: it knows helper.io and Docker Hub. */
function installHelper(t: TestContext): void {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "cricket-helper-"));
  const before = process.env["PATH"];
  t.after(() => {
    process.env["PATH"] = before;
    fs.rmSync(directory, { recursive: true });
  });
  const script =
    "#!/bin/sh\nread server\n" +
    'case $server in helper.io|https://index.docker.io/v1/) ;; *) echo "credentials not found"; exit 1;; esac\n' +
    `echo '{"ServerURL":"'$server'","Username":"u","Secret":"s"}'\n`;
  fs.writeFileSync(path.join(directory, "docker-credential-mine"), script, { mode: 0o755 });
  process.env["PATH"] = `${directory}:${before ?? ""}`;
}

const helped = { kind: "password", username: "u", password: "s" };

describe("findCredentials()", () => {
  const file = parseAuthFile(
    JSON.stringify({
      auths: {
        "https://index.docker.io/v1/": { auth: base64("hub:1") },
        "quay.io": { auth: base64("host:2") },
        "quay.io/team": { auth: base64("team:3") },
        "quay.io/team/app": { username: "app", password: "p:4" },
        "tokens.io": { identitytoken: "refresh" },
        "empty.io": {},
      },
    }),
    "auth.json",
  );
  const userFor = async (domain: string, repository: string): Promise<string | undefined> => {
    const found = await findIn([file], domain, repository);
    return found?.kind === "password" ? found.username : found?.kind;
  };

  test("takes the longest key that is a path prefix", async () => {
    assert.equal(await userFor("quay.io", "team/app"), "app");
    assert.equal(await userFor("quay.io", "team/other"), "team");
    assert.equal(await userFor("quay.io", "teams/other"), "host");
    assert.equal(await userFor("quay.io", "x"), "host");
  });

  test("finds Docker Hub under the key that Docker writes, and nothing for others", async () => {
    assert.equal(await userFor("docker.io", "library/busybox"), "hub");
    assert.equal(await userFor("tokens.io", "a"), "identity-token");
    assert.equal(await userFor("empty.io", "a"), undefined);
    assert.equal(await userFor("evil.io", "quay.io/team"), undefined);
  });

  test("takes no notice of the case of a host", async () => {
    assert.equal(await userFor("QUAY.io", "team/app"), "app");
  });

  test("asks a credential helper over stdin", async (t) => {
    installHelper(t);
    const credHelpers = { "helper.io": "mine", "other.io": "mine", "gone.io": "absent" };
    const files = [parseAuthFile(JSON.stringify({ credHelpers }), "auth.json")];
    assert.deepEqual(await findIn(files, "helper.io", "a"), helped);
    assert.equal(await findIn(files, "other.io", "a"), undefined);
    await assert.rejects(findIn(files, "gone.io", "a"), { code: "unavailable", message: /absent.*ENOENT/ });
  });

  test("prefers a file's helper to its keys, and goes on where the helper has nothing", async (t) => {
    installHelper(t);
    const auths = { "helper.io": { auth: base64("old:1") }, "other.io": { auth: base64("kept:2") } };
    const credHelpers = { "helper.io": "mine", "other.io": "mine", "next.io": "mine" };
    const next = { auths: { "next.io": { auth: base64("next:3") } } };
    const files = [{ auths, credHelpers }, next].map((file) => parseAuthFile(JSON.stringify(file), "f"));
    assert.deepEqual(await findIn(files, "helper.io", "a"), helped);
    assert.deepEqual(await findIn(files, "other.io", "a"), { ...helped, username: "kept", password: "2" });
    assert.deepEqual(await findIn(files, "next.io", "a"), { ...helped, username: "next", password: "3" });
  });

  test("asks Docker's store for registries that a login has left in the file, and for no others", async (t) => {
    installHelper(t);
    const auths = { "https://index.docker.io/v1/": {}, "helper.io": {}, "plain.io": { auth: base64("p:1") } };
    const files = [parseAuthFile(JSON.stringify({ auths, credsStore: "mine" }), "config.json")];
    assert.deepEqual(await findIn(files, "docker.io", "library/busybox"), helped);
    assert.deepEqual(await findIn(files, "helper.io", "a"), helped);
    assert.deepEqual(await findIn(files, "plain.io", "a"), { ...helped, username: "p", password: "1" });
    const absent = [parseAuthFile(JSON.stringify({ auths, credsStore: "absent" }), "config.json")];
    assert.equal(await findIn(absent, "public.io", "a"), undefined);
  });

  test("asks the helpers of registries.conf in their order, and passes over one that fails", async (t) => {
    installHelper(t);
    const files = [parseAuthFile(JSON.stringify({ auths: { "helper.io": { auth: base64("f:1") } } }), "f")];
    const ask = (...helpers: string[]): ReturnType<typeof findCredentials> =>
      findCredentials({ files, helpers }, "helper.io", "a");
    assert.deepEqual(await ask("mine", authFilesHelper), helped);
    assert.deepEqual(await ask(authFilesHelper, "mine"), { ...helped, username: "f", password: "1" });
    assert.deepEqual(await ask("absent", "mine"), helped);
    await assert.rejects(ask("absent"), { code: "unavailable" });
  });
});

describe("parseAuthFile()", () => {
  const broken: [string, string, RegExp][] = [
    ["no JSON", '{"auths": {"a.io": {"auth": "c2VjcmV0', /auth\.json: not JSON$/],
    [
      "auth without a colon",
      JSON.stringify({ auths: { "a.io": { auth: base64("secret") } } }),
      /auths of a\.io: auth/,
    ],
    [
      "a helper with a path",
      JSON.stringify({ credHelpers: { "a.io": "../../bin/sh" } }),
      /credHelpers of a\.io/,
    ],
    ["a store with a path", JSON.stringify({ credsStore: "/bin/sh" }), /credsStore/],
    ["a list", "[]", /not an object/],
  ];
  for (const [what, text, message] of broken)
    test(`names file and key on ${what}, and no value`, () => {
      assert.throws(
        () => parseAuthFile(text, "auth.json"),
        (error: Error) => message.test(error.message) && !/secret|c2Vj/.test(error.message),
      );
    });

  test("is not asked where there is no file", async () => {
    assert.equal(await loadAuthFile("/nonexistent/auth.json"), undefined);
  });
});

describe("credentialsOf()", () => {
  test("prefers tokens, then the encoded pair, then the plain one", () => {
    const all = {
      ...empty,
      registryToken: "r",
      identityToken: "i",
      auth: base64("a:b"),
      username: "u",
      password: "p",
    };
    assert.deepEqual(credentialsOf(all), { kind: "bearer", token: "r" });
    assert.deepEqual(credentialsOf({ ...all, registryToken: "" }), { kind: "identity-token", token: "i" });
    assert.deepEqual(credentialsOf({ ...empty, auth: base64("a:b:c"), username: "u" }), {
      kind: "password",
      username: "a",
      password: "b:c",
    });
    assert.deepEqual(credentialsOf({ ...empty, username: "u" }), {
      kind: "password",
      username: "u",
      password: "",
    });
    assert.equal(credentialsOf(empty), undefined);
  });

  test("names the field, never its value", () => {
    for (const field of ["auth", "identityToken", "registryToken"])
      assert.throws(
        () => credentialsOf({ ...empty, [field]: "hunter2\r\nX: y" }),
        (error: Error) => error.message.startsWith("auth.") && !error.message.includes("hunter2"),
      );
  });
});

test("belongsTo() lets credentials go to the registry they were given for only", () => {
  assert.equal(belongsTo("", "docker.io", "registry-1.docker.io"), true);
  assert.equal(belongsTo("https://index.docker.io/v1/", "docker.io", "registry-1.docker.io"), true);
  assert.equal(belongsTo("", "quay.io", "mirror.net"), false);
  assert.equal(belongsTo("quay.io", "quay.io", "evil.io"), false);
  assert.equal(belongsTo("evil.io", "quay.io", "quay.io"), false);
  assert.equal(belongsTo("QUAY.io/x", "quay.io", "quay.io"), true);
  assert.equal(belongsTo("quay.io", "quay.io", "quay.io:8443"), false);
});

test("secretsOf() lists every form in which a password can come back", () => {
  const secrets = secretsOf({ kind: "password", username: "u", password: "p w" });
  assert.deepEqual(secrets, [base64("u:p w"), "p w", "p%20w"]);
});
