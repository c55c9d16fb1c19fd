// Every version of remotecommand over real connections: SPDY v1 to v4, WebSocket with and without a name, base64, v5.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { WebSocket } from "ws";
import type { TerminalSize } from "../../../src/container/session-streams.ts";
import { connectCommand, readAll } from "../../daemon/streaming-client.ts";
import { startFakeNode, type Program } from "./fake-sessions.ts";

/** Tells its terminal's size where it has one, then gives its input back; ends as its command says. */
const echo =
  (sizes: TerminalSize[] = []): Program =>
  async ({ stdin, stdout, stderr, onResize }, [code]) => {
    onResize((size) => sizes.push(size));
    for await (const chunk of stdin ?? []) {
      stdout?.write(chunk);
      if (String(chunk).includes("!")) break;
    }
    stdout?.end();
    stderr?.end("to stderr");
    return Number(code);
  };

/** What each version says at the end of a command with status 3, and with status 0. */
const plain = { failed: "command terminated with non-zero exit code: exit status 3", fine: "" };
const json = {
  failed:
    '{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: exit status 3",' +
    '"reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}',
  fine: '{"metadata":{},"status":"Success"}',
};

describe("SPDY", () => {
  const versions = [
    ["channel.k8s.io", plain],
    ["v2.channel.k8s.io", plain],
    ["v3.channel.k8s.io", plain],
    ["v4.channel.k8s.io", json],
  ] as const;
  for (const [protocol, expected] of versions) {
    test(`${protocol}: streams and status`, async () => {
      const { server, execUrl } = await startFakeNode(echo());
      for (const [code, status] of [
        ["3", expected.failed],
        ["0", expected.fine],
      ]) {
        const url = execUrl([code!], { stdin: true });
        const client = await connectCommand(url, ["stdin", "stdout", "stderr"], protocol);
        client.stream("stdin").end("typed");
        const said = ["stdout", "stderr", "error"].map((type) => readAll(client.stream(type)));
        assert.deepEqual(await Promise.all(said), ["typed", "to stderr", status]);
        client.connection.destroy();
      }
      await server.close();
    });

    const hasResize = protocol.startsWith("v3") || protocol.startsWith("v4");
    test(`${protocol}: a terminal ${hasResize ? "with" : "without"} a stream of sizes`, async () => {
      const sizes: TerminalSize[] = [];
      const { server, execUrl } = await startFakeNode(echo(sizes));
      const types = ["stdin", "stdout", ...(hasResize ? ["resize"] : [])];
      const url = execUrl(["0"], { stdin: true, tty: true, stderr: false });
      const client = await connectCommand(url, types, protocol);
      if (hasResize) client.stream("resize").write('{"Width":90,"Height":30}');
      client.stream("stdin").end("x");
      assert.equal(await readAll(client.stream("stdout")), "x");
      assert.deepEqual(sizes, hasResize ? [{ rows: 30, columns: 90 }] : []);
      client.connection.destroy();
      await server.close();
    });
  }
});

describe("WebSocket", () => {
  const versions = [
    ["", plain],
    ["channel.k8s.io", plain],
    ["base64.channel.k8s.io", plain],
    ["v4.channel.k8s.io", json],
    ["v4.base64.channel.k8s.io", json],
    ["v5.channel.k8s.io", json],
  ] as const;
  for (const [protocol, expected] of versions) {
    test(`${protocol || "no name"}: streams, sizes and status`, async () => {
      const sizes: TerminalSize[] = [];
      const { server, execUrl } = await startFakeNode(echo(sizes));
      const url = execUrl(["3"], { stdin: true, tty: true, stderr: false });
      const client = new ChannelClient(url, protocol);
      await client.opened;
      client.send(4, '{"Width":90,"Height":30}');
      client.send(0, "typed");
      client.send(0, "\0\xff!");
      await client.closed;
      assert.deepEqual([client.channel(1), client.channel(3)], ["typed\0\xff!", expected.failed]);
      assert.deepEqual(sizes, [{ rows: 30, columns: 90 }]);
      await server.close();
      assert.equal(client.socket.protocol, protocol);
    });
  }

  test("v5: a close message ends its channel and no other; v4 takes it for nothing", async () => {
    const { server, execUrl } = await startFakeNode(echo());
    const v5 = new ChannelClient(execUrl(["0"], { stdin: true }), "v5.channel.k8s.io");
    await v5.opened;
    for (const channel of [1, 3, 77, 255]) v5.socket.send(Buffer.of(255, channel));
    v5.send(0, "all of it");
    v5.socket.send(Buffer.of(255, 0));
    v5.send(0, "too late");
    await v5.closed;
    assert.deepEqual([v5.channel(1), v5.channel(2), v5.channel(3)], ["all of it", "to stderr", json.fine]);
    const v4 = new ChannelClient(execUrl(["0"], { stdin: true }), "v4.channel.k8s.io");
    await v4.opened;
    v4.socket.send(Buffer.of(255, 0));
    v4.send(0, "still open!");
    await v4.closed;
    assert.equal(v4.channel(1), "still open!");
    await server.close();
  });

  test("a message of more than a mebibyte ends the session", async () => {
    const { server, execUrl } = await startFakeNode(echo());
    const client = new ChannelClient(execUrl(["0"], { stdin: true }), "v4.channel.k8s.io");
    await client.opened;
    client.socket.send(Buffer.alloc((1 << 20) + 2));
    assert.equal(await client.closed, 1009);
    await server.close();
  });

  test("any messages are taken or dropped, and the session goes on", async () => {
    const { server, execUrl } = await startFakeNode(echo());
    const message = fc.oneof(
      fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
      fc.string({ maxLength: 40 }),
    );
    const protocol = fc.constantFrom(...versions.map(([name]) => name));
    await fc.assert(
      fc.asyncProperty(protocol, fc.array(message, { maxLength: 10 }), async (name, messages) => {
        const client = new ChannelClient(execUrl(["0"], { stdin: true }), name);
        await client.opened;
        for (const one of messages) client.socket.send(one);
        client.send(0, "!");
        assert.equal(await client.closed, 1000);
      }),
      { numRuns: 60 },
    );
    await server.close();
  });
});

class ChannelClient {
  readonly socket: WebSocket;
  readonly opened: Promise<void>;
  /** Its code. */
  readonly closed: Promise<number>;
  readonly #isBase64: boolean;
  readonly #seen = new Map<number, string>();

  constructor(url: string, protocol: string) {
    this.#isBase64 = protocol.includes("base64");
    this.socket = new WebSocket(url.replace("http", "ws"), protocol === "" ? [] : [protocol]);
    this.socket.on("error", () => {});
    this.socket.on("message", (data, isBinary) => this.#take(data as Buffer, isBinary));
    this.opened = new Promise((resolve) => this.socket.once("open", resolve));
    this.closed = new Promise((resolve) => this.socket.once("close", resolve));
  }

  send(channel: number, text: string): void {
    const bytes = Buffer.from(text, "latin1");
    this.socket.send(
      this.#isBase64 ? `${channel}${bytes.toString("base64")}` : Buffer.concat([Buffer.of(channel), bytes]),
    );
  }

  channel(channel: number): string {
    return this.#seen.get(channel) ?? "";
  }

  #take(message: Buffer, isBinary: boolean): void {
    assert.equal(isBinary, !this.#isBase64);
    const rest = message.subarray(1);
    const bytes = this.#isBase64 ? Buffer.from(rest.toString(), "base64") : rest;
    const channel = message[0]! - (this.#isBase64 ? 0x30 : 0);
    this.#seen.set(channel, this.channel(channel) + bytes.toString("latin1"));
  }
}
