// The protocol of docker-credential-helpers: a program `docker-credential-<name>` keeps the credentials of registries.
import { execFile } from "node:child_process";
import { CricketError, errnoOf } from "../base/errors.ts";
import type { Credentials } from "./credentials.ts";

const helperTimeoutMs = 20_000;
const helperOutputLimit = 64 * 1024;

/** True for what may be a part of a program's name, and is no path. */
export function isHelperName(text: string): boolean {
  return /^[\w.-]+$/.test(text);
}

/**
 * Server on stdin, JSON with Username and Secret on stdout. Undefined when the helper has none for it. Throws unavailable
 * for a helper that is not there, fails, or does not answer in time.
 */
export function askCredentialHelper(name: string, domain: string): Promise<Credentials | undefined> {
  const server = domain === "docker.io" ? "https://index.docker.io/v1/" : domain;
  return new Promise((resolve, reject) => {
    const limits = { timeout: helperTimeoutMs, maxBuffer: helperOutputLimit };
    const child = execFile(`docker-credential-${name}`, ["get"], limits, (error, stdout) => {
      if (error === null) return resolve(parseHelperAnswer(stdout, name));
      if (/credentials not found/i.test(stdout)) return resolve(undefined);
      const why = errnoOf(error) ?? (error.killed === true ? "no answer" : `status ${String(error.code)}`);
      reject(new CricketError("unavailable", `credential helper ${name} for ${domain}: ${why}`));
    });
    // A helper that ends without reading is told apart by its status, not by EPIPE here.
    child.stdin?.on("error", () => {});
    child.stdin?.end(server);
  });
}

function parseHelperAnswer(text: string, name: string): Credentials {
  let answer: { Username?: unknown; Secret?: unknown };
  try {
    answer = JSON.parse(text) as typeof answer;
  } catch {
    answer = {};
  }
  if (typeof answer.Username !== "string" || typeof answer.Secret !== "string")
    throw new CricketError("unavailable", `credential helper ${name}: its answer is not credentials`);
  if (answer.Username === "<token>") return { kind: "identity-token", token: answer.Secret };
  return { kind: "password", username: answer.Username, password: answer.Secret };
}
