// The server and the client against each other on a real unix socket.
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createConnection, createServer, type Server } from "node:net";
import { connect as connectHttp2, constants } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { CricketError, invalidArgument, notFound } from "../../../src/base/errors.ts";
import { Log } from "../../../src/base/log.ts";
import type { Call } from "../../../src/cri/call.ts";
import { CriServer, type Handlers } from "../../../src/cri/server.ts";
import { connectCri, RpcError, type CriClient } from "../../../cri-api/client.ts";
import { fromInt64, toInt64 } from "../../../cri-api/int64.ts";
import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { cricketService, imageService, runtimeService } from "../../../cri-api/services.ts";

const directory = mkdtempSync(join(tmpdir(), "cricket-server-"));
after(() => rmSync(directory, { recursive: true, force: true }));

let sockets = 0;
const socketPath = (): string => join(directory, `${++sockets}`, "c.sock");

interface Running {
  server: CriServer;
  client: CriClient;
  path: string;
  logged: string[];
}

/** A server with the given handlers; all other RPCs are "not implemented". */
async function serve(
  handlers: Partial<Handlers<typeof runtimeService>>,
  path = socketPath(),
): Promise<Running> {
  const logged: string[] = [];
  const server = new CriServer({
    socketPath: path,
    log: new Log({ level: "debug", write: (line) => logged.push(line) }),
  });
  server.addService(runtimeService, handlers as Handlers<typeof runtimeService>);
  server.addService(imageService, {} as Handlers<typeof imageService>);
  await server.listen();
  return { server, client: connectCri(`unix://${path}`), path, logged };
}

async function stop({ server, client }: Running): Promise<void> {
  client.close();
  await server.close(1000);
}

async function statusOf(call: Promise<unknown>): Promise<{ status: string; message: string }> {
  try {
    await call;
  } catch (error) {
    assert.ok(error instanceof RpcError, String(error));
    return { status: error.status, message: error.message };
  }
  throw new Error("the call did not fail");
}

test("`CriServer` answers a unary call and keeps int64 and bytes exact", async () => {
  const value = 2n ** 62n + 1n;
  const stdout = Uint8Array.from([0, 255, 10, 128]);
  let timeout = 0n;
  const running = await serve({
    ExecSync: (request) => {
      timeout = fromInt64(request.timeout);
      return { stdout, exitCode: -1 };
    },
  });
  const response = await running.client.runtime.execSync({
    containerId: "c",
    cmd: ["a"],
    timeout: toInt64(value),
  });
  assert.equal(timeout, value);
  assert.deepEqual(Uint8Array.from(response.stdout), stdout);
  assert.equal(response.exitCode, -1);
  await stop(running);
});

test("`CriServer` makes a socket of mode 0600 in a directory of mode 0700 and removes it again", async () => {
  const running = await serve({});
  assert.equal(statSync(running.path).mode & 0o777, 0o600);
  assert.equal(statSync(join(running.path, "..")).mode & 0o777, 0o700);
  await stop(running);
  assert.equal(existsSync(running.path), false);
});

test("`CriServer` refuses a socket on which another process listens and leaves it alone", async () => {
  const first = await serve({ Version: () => ({ version: "0.1.0" }) });
  await assert.rejects(serve({}, first.path), /another process listens on/);
  assert.equal((await first.client.runtime.version({})).version, "0.1.0");
  await stop(first);
});

test("`CriServer` replaces a socket that nobody listens on any more", async () => {
  const path = join(directory, "stale.sock");
  const dead = await abandonedSocket(path);
  assert.equal(existsSync(path), true, dead);
  const running = await serve({ Version: () => ({ version: "0.1.0" }) }, path);
  assert.equal((await running.client.runtime.version({})).version, "0.1.0");
  await stop(running);
});

// A listening socket that is renamed before it is closed stays behind, as after a kill -9.
async function abandonedSocket(path: string): Promise<string> {
  const { renameSync } = await import("node:fs");
  const temporary = `${path}.made`;
  const server: Server = createServer();
  await new Promise<void>((resolve) => server.listen(temporary, resolve));
  renameSync(temporary, path);
  await new Promise((resolve) => server.close(resolve));
  return path;
}

test("`CriServer` refuses a path that is a file, and one that is too long for a socket", async () => {
  const path = join(directory, "file");
  writeFileSync(path, "");
  await assert.rejects(serve({}, path), /exists and is not a socket/);
  await assert.rejects(serve({}, join(directory, "d".repeat(100), "s")), /too long: 107 bytes at most/);
});

test("`CriServer` accepts `:authority: localhost` with HTTP/2 prior knowledge, as the kubelet sends it", async () => {
  const running = await serve({ Version: () => ({ version: "0.1.0" }) });
  const session = connectHttp2("http://localhost", {
    createConnection: () => createConnection(running.path),
  });
  const stream = session.request({
    [constants.HTTP2_HEADER_METHOD]: "POST",
    [constants.HTTP2_HEADER_PATH]: "/runtime.v1.RuntimeService/Version",
    [constants.HTTP2_HEADER_AUTHORITY]: "localhost",
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.end(Buffer.alloc(5));
  const trailers = await new Promise<Record<string, unknown>>((resolve, reject) => {
    stream.on("trailers", resolve);
    stream.on("error", reject);
    stream.resume();
  });
  assert.equal(trailers["grpc-status"], "0");
  await new Promise<void>((resolve) => session.close(resolve));
  await stop(running);
});

test("`CriServer` translates error codes to statuses and keeps the message", async () => {
  const fail = (error: unknown) => () => {
    throw error;
  };
  const running = await serve({
    StartContainer: fail(notFound("container x does not exist")),
    Version: fail(invalidArgument("config.metadata.name is empty")),
    StopContainer: fail(new CricketError("unknown", "RegistryUnavailable: 100% Grüße\nline two")),
    RemoveContainer: fail(new TypeError("a bug")),
    Status: fail("not even an error"),
    ListContainers: fail(new CricketError("internal", `\ud800 ${"long ".repeat(2000)}`)),
  });
  const { runtime } = running.client;
  assert.deepEqual(await statusOf(runtime.startContainer({})), {
    status: "NOT_FOUND",
    message: "container x does not exist",
  });
  assert.equal((await statusOf(runtime.version({}))).status, "INVALID_ARGUMENT");
  assert.deepEqual(await statusOf(runtime.stopContainer({})), {
    status: "UNKNOWN",
    message: "RegistryUnavailable: 100% Grüße\nline two",
  });
  assert.equal((await statusOf(runtime.removeContainer({}))).status, "INTERNAL");
  assert.equal((await statusOf(runtime.status({}))).status, "INTERNAL");
  const long = await statusOf(runtime.listContainers({}));
  assert.equal(long.status, "INTERNAL");
  assert.ok(long.message.length < 5000);
  await stop(running);
});

test("`CriServer` logs a bug with its stack, and an expected failure without", async () => {
  const running = await serve({
    Version: () => {
      throw new TypeError("a bug");
    },
    Status: () => {
      throw notFound("gone");
    },
  });
  await statusOf(running.client.runtime.version({}));
  await statusOf(running.client.runtime.status({}));
  const [bug = "", expected = ""] = running.logged.filter((line) => line.includes("failed"));
  assert.match(bug, /level=error .*rpc=Version .*a bug.*server\.test\.ts/);
  assert.match(expected, /level=debug .*rpc=Status code=not-found/);
  assert.doesNotMatch(expected, /stack/);
  await stop(running);
});

test("`CriServer` answers RPCs that are not there by name, streams too", async () => {
  const running = await serve({ Exec: "use ExecSync" });
  const { runtime, image } = running.client;
  assert.deepEqual(await statusOf(runtime.exec({})), {
    status: "UNIMPLEMENTED",
    message: "Exec is not implemented yet: use ExecSync",
  });
  assert.equal((await statusOf(image.listImages({}))).message, "ListImages is not implemented yet");
  const stream = async (): Promise<void> => {
    for await (const event of runtime.getContainerEvents({})) assert.equal(event, undefined);
  };
  assert.deepEqual(await statusOf(stream()), {
    status: "UNIMPLEMENTED",
    message: "GetContainerEvents is not implemented yet",
  });
  await stop(running);
});

test("`CriServer` answers INVALID_ARGUMENT to bytes that are no message", async () => {
  const running = await serve({ Version: () => ({}) });
  const session = connectHttp2("http://localhost", {
    createConnection: () => createConnection(running.path),
  });
  const stream = session.request({
    ":method": "POST",
    ":path": "/runtime.v1.RuntimeService/Version",
    "content-type": "application/grpc",
    te: "trailers",
  });
  // Field 1, length-delimited, 100 bytes announced and none there.
  stream.end(Buffer.from([0, 0, 0, 0, 2, 0x0a, 100]));
  const headers = await new Promise<Record<string, unknown>>((resolve, reject) => {
    stream.on("response", resolve);
    stream.on("error", reject);
    stream.resume();
  });
  assert.equal(headers["grpc-status"], "3");
  assert.match(decodeURI(String(headers["grpc-message"])), /the request cannot be decoded/);
  await new Promise<void>((resolve) => session.close(resolve));
  await stop(running);
});

function abortReason(call: Call): Promise<unknown> {
  if (call.signal.aborted) return Promise.resolve(call.signal.reason);
  return new Promise((resolve) => {
    call.signal.addEventListener("abort", () => resolve(call.signal.reason));
  });
}

test("`Call.signal` is aborted when the client goes away", async () => {
  let seen: (reason: unknown) => void = () => {};
  const reason = new Promise<unknown>((resolve) => {
    seen = resolve;
  });
  const leaving = new AbortController();
  const running = await serve({
    Version: async (_request, call) => {
      leaving.abort();
      seen(await abortReason(call));
      return {};
    },
  });
  await statusOf(running.client.runtime.version({}, { signal: leaving.signal }));
  assert.equal(((await reason) as CricketError).code, "cancelled");
  await stop(running);
});

// By hand: a client of ours would cancel the call itself at its deadline, perhaps before the server looks at it.
test("`Call.signal` is aborted at the deadline of the call", async () => {
  let seen: (reason: unknown) => void = () => {};
  const reason = new Promise<unknown>((resolve) => {
    seen = resolve;
  });
  const running = await serve({
    Version: async (_request, call) => {
      seen(await abortReason(call));
      return {};
    },
  });
  const session = connectHttp2("http://localhost", {
    createConnection: () => createConnection(running.path),
  });
  const stream = session.request({
    ":method": "POST",
    ":path": "/runtime.v1.RuntimeService/Version",
    "content-type": "application/grpc",
    "grpc-timeout": "200m",
    te: "trailers",
  });
  stream.end(Buffer.alloc(5));
  stream.resume();
  assert.equal(((await reason) as CricketError).code, "deadline-exceeded");
  await new Promise<void>((resolve) => session.close(resolve));
  await stop(running);
});

test("`CriServer` streams messages, and leaves the handler when the client stops reading", async () => {
  const path = socketPath();
  const server = new CriServer({ socketPath: path, log: new Log({ write: () => {} }) });
  let left = false;
  server.addService(cricketService, {
    PullImage: async function* (_request, call) {
      try {
        for (let done = 1n; !call.signal.aborted; done++) {
          yield { layers: [{ digest: "x".repeat(10_000), doneBytes: toInt64(done) }] };
          await new Promise(setImmediate);
        }
      } finally {
        left = true;
      }
    },
    StartAttached: "not tested here",
    WaitContainer: "",
    ExplainContainer: "",
  });
  await server.listen();
  const client = connectCri(`unix://${path}`);
  const seen: bigint[] = [];
  for await (const progress of client.cricket.pullImage({ image: "x" })) {
    seen.push(fromInt64(progress.layers[0]?.doneBytes));
    if (seen.length === 3) break;
  }
  assert.deepEqual(seen, [1n, 2n, 3n]);
  for (let turn = 0; turn < 1000 && !left; turn++) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(left, true);
  client.close();
  await server.close(1000);
});

test("`CriServer.close()` waits for a call under way, but not longer than the grace period", async () => {
  const late = new HeldCall({ version: "late" });
  const first = await serve({ Version: () => late.enter() });
  const answer = first.client.runtime.version({});
  await late.entered;
  const closed = first.server.close(10_000);
  late.release();
  assert.equal((await answer).version, "late");
  first.client.close();
  await closed;

  const endless = new HeldCall({ version: "never" });
  const second = await serve({ Version: () => endless.enter() });
  const cut = statusOf(second.client.runtime.version({}));
  await endless.entered;
  await second.server.close(10);
  assert.equal((await cut).status, "UNAVAILABLE");
  second.client.close();
});

/** A call that is answered when the test says so. */
class HeldCall {
  readonly entered: Promise<void>;
  release: () => void = () => {};
  readonly #answer: Promise<v1.VersionResponseSent>;
  #enter: () => void = () => {};

  constructor(answer: v1.VersionResponseSent) {
    this.entered = new Promise((resolve) => (this.#enter = resolve));
    this.#answer = new Promise((resolve) => (this.release = () => resolve(answer)));
  }

  enter(): Promise<v1.VersionResponseSent> {
    this.#enter();
    return this.#answer;
  }
}

test("`CriServer` takes requests of more than 4 MiB", async () => {
  const running = await serve({
    StartContainer: (request) => {
      assert.equal(request.containerId.length, 8 * 1024 * 1024);
      return {};
    },
  });
  await running.client.runtime.startContainer({ containerId: "x".repeat(8 * 1024 * 1024) });
  await stop(running);
});

test("`connectCri()` finds a daemon again that was away", async () => {
  const path = socketPath();
  const first = await serve({ Version: () => ({ version: "1" }) }, path);
  const { client } = first;
  assert.equal((await client.runtime.version({})).version, "1");
  await first.server.close(10);
  assert.equal((await statusOf(client.runtime.version({}))).status, "UNAVAILABLE");
  const second = await serve({ Version: () => ({ version: "2" }) }, path);
  const ask = async (): Promise<string | undefined> =>
    client.runtime.version({}).then(
      ({ version }) => version,
      () => undefined,
    );
  let version: string | undefined;
  for (let turn = 0; turn < 100 && version === undefined; turn++) {
    version = await ask();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal(version, "2");
  client.close();
  await stop(second);
});
