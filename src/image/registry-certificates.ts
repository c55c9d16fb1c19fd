// containers-certs.d(5): certificate authorities and client certificates for one registry.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createSecureContext, rootCertificates, type SecureContext } from "node:tls";
import { errnoOf } from "../base/errors.ts";

export interface RegistryCertificates {
  /** PEM of authorities that are trusted besides the system's. */
  ca: string[];
  cert?: string;
  key?: string;
}

/** Searched in this order; the first that has a directory for the host is used. */
export const certificateRoots = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/** What the directories hold for `host` (with port): `*.crt` authorities, `*.cert` and `*.key` of a client. */
export async function loadCertificates(
  host: string,
  roots: readonly string[],
): Promise<RegistryCertificates> {
  for (const root of roots) {
    const names = await list(join(root, host));
    if (names === undefined) continue;
    const read = (name: string): Promise<string> => readFile(join(root, host, name), "utf8");
    const ca = await Promise.all(names.filter((name) => name.endsWith(".crt")).map(read));
    const cert = names.find((name) => name.endsWith(".cert"));
    // A certificate without its key, or the other way round, is of no use to TLS.
    const key =
      cert === undefined ? undefined : names.find((name) => name === cert.replace(/\.cert$/, ".key"));
    if (cert === undefined || key === undefined) return { ca };
    return { ca, cert: await read(cert), key: await read(key) };
  }
  return { ca: [] };
}

// Where distributions keep the authorities that the machine's owner trusts, a company's own among them; Node's
// built-in list knows only the public ones.
const systemBundles = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
];

/** The TLS context for connections to `host`. Made once per host: parsing the bundle takes tens of milliseconds. */
export async function tlsContextFor(host: string, roots: readonly string[]): Promise<SecureContext> {
  const [own, system] = await Promise.all([loadCertificates(host, roots), readSystemBundle()]);
  return createSecureContext({
    ...own,
    ca: [...(system === undefined ? rootCertificates : [system]), ...own.ca],
  });
}

async function readSystemBundle(): Promise<string | undefined> {
  for (const file of [process.env["SSL_CERT_FILE"] ?? "", ...systemBundles]) {
    if (file === "") continue;
    try {
      return await readFile(file, "utf8");
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw error;
    }
  }
  return undefined;
}

async function list(directory: string): Promise<string[] | undefined> {
  try {
    return (await readdir(directory)).sort();
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return undefined;
    throw error;
  }
}
