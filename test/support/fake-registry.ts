// A registry on loopback that misbehaves on order: wrong digests and lengths, stalls, drops, redirects, challenges.
// It records every request, so that a test can say what was sent to whom.

import http from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import type { TestImage } from "./test-image.ts";
import { testCertificate, testKey } from "./tls-certificate.ts";

export interface SeenRequest {
  method: string;
  /** Without the query. */
  path: string;
  query: URLSearchParams;
  headers: http.IncomingHttpHeaders;
  body: string;
}

/** Answers the request and returns true, or returns false and leaves it to the next one. */
export type Behaviour = (request: SeenRequest, response: http.ServerResponse) => boolean;

export interface FakeRegistry {
  /** "127.0.0.1:<port>" */
  address: string;
  /** All requests in the order they came. */
  seen: SeenRequest[];
  /** Serves an image as `<address>/<repository>:<tag>`; returns that reference. */
  add(repository: string, tag: string, image: TestImage): string;
  /** Serves any body under a path. */
  serve(path: string, body: Uint8Array | string, headers?: Record<string, string>): void;
  /** Asked before the content that is served, the latest first. */
  behave(behaviour: Behaviour): void;
  close(): Promise<void>;
}

interface Content {
  body: Buffer;
  headers: Record<string, string>;
}

/** Speaks http, or with `tls` https with `testCertificate`. */
export async function startFakeRegistry({ tls = false } = {}): Promise<FakeRegistry> {
  const contents = new Map<string, Content>();
  const behaviours: Behaviour[] = [];
  const seen: SeenRequest[] = [];
  const handle: http.RequestListener = (request, response) => {
    // A client that gives up while it is answered is what many of these tests are about.
    response.on("error", () => {});
    void readRequest(request).then((asked) => {
      seen.push(asked);
      if (!behaviours.some((behaviour) => behaviour(asked, response))) answer(contents, asked, response);
    });
  };
  const certificate = { key: testKey, cert: testCertificate };
  const server = tls ? https.createServer(certificate, handle) : http.createServer(handle);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, "127.0.0.1", resolve);
  });
  const serve: FakeRegistry["serve"] = (path, body, headers = {}) => {
    contents.set(path, { body: Buffer.from(body), headers });
  };
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    address,
    seen,
    serve,
    add(repository, tag, image) {
      addImage(serve, repository, tag, image);
      return `${address}/${repository}:${tag}`;
    },
    behave: (behaviour) => void behaviours.unshift(behaviour),
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

function addImage(serve: FakeRegistry["serve"], repository: string, tag: string, image: TestImage): void {
  const base = `/v2/${repository}`;
  serve(`${base}/manifests/${tag}`, image.manifest, { "content-type": image.mediaType });
  for (const { digest, manifest, mediaType } of [image, ...image.manifests])
    serve(`${base}/manifests/${digest}`, manifest, { "content-type": mediaType });
  for (const [digest, body] of image.blobs) serve(`${base}/blobs/${digest}`, body);
}

async function readRequest(request: http.IncomingMessage): Promise<SeenRequest> {
  const url = new URL(request.url ?? "/", "http://registry");
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  const { method = "GET", headers } = request;
  return {
    method,
    path: url.pathname,
    query: url.searchParams,
    headers,
    body: Buffer.concat(chunks).toString(),
  };
}

function answer(contents: Map<string, Content>, request: SeenRequest, response: http.ServerResponse): void {
  if (request.path === "/v2/") return void response.end("{}");
  const content = contents.get(request.path);
  if (content === undefined)
    return sendError(response, 404, { code: "MANIFEST_UNKNOWN", message: `no ${request.path}` });
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? -1);
  const body = content.body.subarray(Math.max(start, 0));
  const range = { "content-range": `bytes ${start}-${content.body.length - 1}/${content.body.length}` };
  response.writeHead(start >= 0 ? 206 : 200, {
    "content-length": body.length,
    ...content.headers,
    ...(start >= 0 ? range : {}),
  });
  response.end(body);
}

/** An error as the distribution specification has it. */
export function sendError(
  response: http.ServerResponse,
  status: number,
  error: { code: string; message: string },
  headers: http.OutgoingHttpHeaders = {},
): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify({ errors: [error] }));
}

/** True for the request of a blob, or of the one with this digest. */
export function isBlob(request: SeenRequest, digest = ""): boolean {
  return request.path.includes(`/blobs/${digest}`);
}

/** Lets requests pass that carry this Authorization header, and challenges all others under /v2/. */
export function demand(authorization: string, challenge: string): Behaviour {
  return ({ path, headers }, response) => {
    if (!path.startsWith("/v2/") || headers.authorization === authorization) return false;
    sendError(
      response,
      401,
      { code: "UNAUTHORIZED", message: "authentication required" },
      { "www-authenticate": challenge },
    );
    return true;
  };
}

/** Sends the first bytes of a blob with its true length, then drops the connection; so many times. */
export function dropBlob(digest: string, body: Buffer, afterBytes: number, times = 1): Behaviour {
  let left = times;
  return (request, response) => {
    if (!isBlob(request, digest) || left === 0) return false;
    left--;
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const range = { "content-range": `bytes ${start}-${body.length - 1}/${body.length}` };
    response.writeHead(start > 0 ? 206 : 200, {
      "content-length": body.length - start,
      ...(start > 0 ? range : {}),
    });
    response.write(body.subarray(start, start + afterBytes), () => response.destroy());
    return true;
  };
}
