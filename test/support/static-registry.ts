// A registry on loopback that serves images from memory over plain http, as a well-behaved registry does: the
// distribution API's reads, with ranges. No package is needed for it.

import http from "node:http";
import type { AddressInfo } from "node:net";
import type { TestImage } from "./test-image.ts";

export interface StaticRegistry {
  /** "127.0.0.1:<port>" */
  address: string;
  /** Serves an image as `<address>/<repository>:<tag>`; returns that reference. */
  add(repository: string, tag: string, image: TestImage): string;
  close(): Promise<void>;
}

interface Content {
  body: Buffer;
  type: string;
}

/** Starts the registry on a free port of 127.0.0.1. */
export async function startStaticRegistry(): Promise<StaticRegistry> {
  const contents = new Map<string, Content>();
  const server = http.createServer((request, response) => answer(contents, request, response));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, "127.0.0.1", resolve);
  });
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    address,
    add(repository, tag, image) {
      for (const [path, content] of pathsOf(repository, tag, image)) contents.set(path, content);
      return `${address}/${repository}:${tag}`;
    },
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

function* pathsOf(repository: string, tag: string, image: TestImage): Iterable<[string, Content]> {
  const base = `/v2/${repository}`;
  const root = { body: image.manifest, type: image.mediaType };
  yield [`${base}/manifests/${tag}`, root];
  yield [`${base}/manifests/${image.digest}`, root];
  for (const { digest, manifest, mediaType } of image.manifests)
    yield [`${base}/manifests/${digest}`, { body: manifest, type: mediaType }];
  for (const [digest, body] of image.blobs)
    yield [`${base}/blobs/${digest}`, { body, type: "application/octet-stream" }];
}

function answer(
  contents: Map<string, Content>,
  request: http.IncomingMessage,
  response: http.ServerResponse,
): void {
  const path = (request.url ?? "").split("?")[0] ?? "";
  response.setHeader("Docker-Distribution-Api-Version", "registry/2.0");
  if (path === "/v2/") return void response.end("{}");
  const content = contents.get(path);
  if (content === undefined) {
    response.writeHead(404, { "Content-Type": "application/json" });
    return void response.end(JSON.stringify({ errors: [{ code: "NOT_FOUND", message: `no ${path}` }] }));
  }
  const { body, status } = selectRange(content.body, request.headers.range);
  response.writeHead(status.code, {
    "Content-Type": content.type,
    "Content-Length": body.length,
    ...status.headers,
  });
  response.end(request.method === "HEAD" ? undefined : body);
}

/** Only `bytes=N-` is understood: what a client asks for to resume a download. */
function selectRange(
  body: Buffer,
  range: string | undefined,
): { body: Buffer; status: { code: number; headers: Record<string, string> } } {
  const found = /^bytes=(\d+)-$/.exec(range ?? "");
  const start = Number(found?.[1] ?? 0);
  if (found === null || start >= body.length)
    return { body, status: { code: 200, headers: { "Accept-Ranges": "bytes" } } };
  const headers = { "Content-Range": `bytes ${start}-${body.length - 1}/${body.length}` };
  return { body: body.subarray(start), status: { code: 206, headers } };
}
