// Credentials for a registry, from the CRI or from a file.
import { invalidArgument } from "../base/errors.ts";
import { registryHostOf } from "./registry-host.ts";

/** AuthConfig of CRI v1; fields that are not given are "". */
export interface AuthConfig {
  username: string;
  password: string;
  /** base64 of "username:password". */
  auth: string;
  /** A host or URL; where given, the credentials are for that registry alone. */
  serverAddress: string;
  /** An OAuth2 refresh token, exchanged at the registry's token realm. */
  identityToken: string;
  /** A bearer token, sent as it is. */
  registryToken: string;
}

export type Credentials =
  | { kind: "password"; username: string; password: string }
  | { kind: "identity-token"; token: string }
  | { kind: "bearer"; token: string };

/**
 * What an AuthConfig holds; undefined when it is empty. Throws invalid-argument naming the field, never its value.
 */
export function credentialsOf(auth: AuthConfig): Credentials | undefined {
  if (auth.registryToken !== "")
    return { kind: "bearer", token: checked(auth.registryToken, "auth.registry_token") };
  if (auth.identityToken !== "")
    return { kind: "identity-token", token: checked(auth.identityToken, "auth.identity_token") };
  if (auth.auth !== "") return decodeBasic(auth.auth, "auth.auth");
  if (auth.username === "" && auth.password === "") return undefined;
  return { kind: "password", username: auth.username, password: auth.password };
}

/** Decodes base64 of "user:password" as auth files and the CRI carry it. */
export function decodeBasic(encoded: string, field: string): Credentials {
  // Some writers pad the decoded text with NUL bytes.
  const text = Buffer.from(encoded, "base64").toString("utf8").replace(/\0+$/, "");
  const colon = text.indexOf(":");
  if (colon <= 0) throw invalidArgument(`${field} is not base64 of username:password`);
  return { kind: "password", username: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** True when credentials given with `serverAddress` ("" = the image's own registry) may go to `host`. */
export function belongsTo(serverAddress: string, imageDomain: string, host: string): boolean {
  const owner =
    serverAddress === "" ? imageDomain : serverAddress.replace(/^https?:\/\//i, "").split("/", 1)[0];
  return registryHostOf((owner ?? "").toLowerCase()) === host.toLowerCase();
}

/** Every form of the secret that could turn up in a text: what errors must not show. */
export function secretsOf(credentials: Credentials | undefined): string[] {
  if (credentials === undefined) return [];
  if (credentials.kind !== "password") return [credentials.token];
  const { username, password } = credentials;
  const basic = Buffer.from(`${username}:${password}`).toString("base64");
  return password === "" ? [basic] : [basic, password, encodeURIComponent(password)];
}

// The token becomes a header line: a line break in it would forge another header.
function checked(token: string, field: string): string {
  if (!/^[\x21-\x7e]+$/.test(token)) throw invalidArgument(`${field} holds characters that no token has`);
  return token;
}
