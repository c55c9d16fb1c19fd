// A real registry for pulls: Debian's docker-registry on a free port of loopback, with storage of its own.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { TestImage } from "./test-image.ts";

export interface Registry {
  /** "127.0.0.1:<port>" */
  address: string;
  /** Pushes an image; returns its reference `<address>/<repository>:<tag>`. */
  push(repository: string, tag: string, image: TestImage): Promise<string>;
  /** Stops it without removing anything: pulls find a registry that is down. */
  stop(): Promise<void>;
  /** Stops it and removes its storage. */
  close(): Promise<void>;
}

/** Starts a registry; its storage is a new directory in `parent`. Wants the package docker-registry. */
export async function startRegistry(parent = "/tmp"): Promise<Registry> {
  const directory = fs.mkdtempSync(path.join(parent, "cricket-registry-"));
  const port = await freePort();
  const address = `127.0.0.1:${port}`;
  fs.writeFileSync(path.join(directory, "config.yml"), configOf(directory, address));
  const log = fs.openSync(path.join(directory, "log"), "w");
  const server = spawn("docker-registry", ["serve", path.join(directory, "config.yml")], {
    stdio: ["ignore", log, log],
  });
  fs.closeSync(log);
  const registry: Registry = {
    address,
    push: (repository, tag, image) => pushImage(address, { repository, tag }, image),
    stop: () => stopProcess(server),
    async close() {
      await stopProcess(server);
      fs.rmSync(directory, { recursive: true, force: true });
    },
  };
  try {
    await untilReady(server, address, path.join(directory, "log"));
  } catch (error) {
    await registry.close();
    throw error;
  }
  return registry;
}

const configOf = (directory: string, address: string): string => `version: 0.1
log: { level: warn, accesslog: { disabled: true } }
storage:
  filesystem: { rootdirectory: ${directory}/storage, maxthreads: 100 }
  delete: { enabled: true }
http: { addr: "${address}" }
`;

/** A TCP port of loopback that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function untilReady(server: ChildProcess, address: string, log: string): Promise<void> {
  let failure: Error | undefined;
  server.once("error", (error) => (failure = error));
  for (let attempt = 0; attempt < 200; attempt++) {
    if (failure !== undefined) throw failure;
    if (server.exitCode !== null) throw new Error(`docker-registry ended: ${fs.readFileSync(log, "utf8")}`);
    if (await answers(address)) return;
    await delay(50);
  }
  throw new Error(`docker-registry does not answer on ${address}`);
}

async function answers(address: string): Promise<boolean> {
  try {
    const response = await fetch(`http://${address}/v2/`);
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}

/** SIGTERM, then SIGKILL after two seconds. */
export async function stopProcess(server: ChildProcess): Promise<void> {
  if (server.pid === undefined || server.exitCode !== null || server.signalCode !== null) return;
  const ended = once(server, "exit");
  server.kill("SIGTERM");
  const timer = setTimeout(() => server.kill("SIGKILL"), 2000);
  await ended;
  clearTimeout(timer);
}

/** Pushes blobs, then manifests, then the tag. Returns the reference. */
async function pushImage(
  address: string,
  name: { repository: string; tag: string },
  image: TestImage,
): Promise<string> {
  const base = `http://${address}/v2/${name.repository}`;
  for (const [digest, blob] of image.blobs) await pushBlob(base, digest, blob);
  for (const { digest, manifest, mediaType } of image.manifests)
    await put(`${base}/manifests/${digest}`, manifest, mediaType);
  await put(`${base}/manifests/${name.tag}`, image.manifest, image.mediaType);
  return `${address}/${name.repository}:${name.tag}`;
}

async function pushBlob(base: string, digest: string, blob: Buffer): Promise<void> {
  const started = await fetch(`${base}/blobs/uploads/`, { method: "POST" });
  await started.arrayBuffer();
  const location = started.headers.get("location");
  if (started.status !== 202 || location === null) throw new Error(`upload to ${base}: ${started.status}`);
  const url = new URL(location, base);
  url.searchParams.set("digest", digest);
  await put(url.href, blob, "application/octet-stream");
}

async function put(url: string, body: Buffer, type: string): Promise<void> {
  const response = await fetch(url, { method: "PUT", body, headers: { "Content-Type": type } });
  const text = await response.text();
  if (response.status !== 201) throw new Error(`PUT ${url}: ${response.status} ${text}`);
}
