// Streams in bulk and in number: a gigabyte both ways, many clients at once, clients that do not read.
import assert from "node:assert/strict";
import { createHash, randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { finished, pipeline } from "node:stream/promises";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { startNode, type TestNode, type TestPod } from "../support/node.ts";
import { requires } from "../support/requires.ts";
import { connectCommand, connectSpdy, readAll, type CommandClient } from "./streaming-client.ts";
import { tryRead } from "../support/processes.ts";

const gibibyte = 2 ** 30;

describe("streaming under load", requires("root", "overlay", "package:busybox-static"), () => {
  let node: TestNode;
  let pod: TestPod;
  let containerId: string;

  before(async () => {
    node = await startNode();
    pod = await node.runPod("load");
    const script = "mkdir -p /www; echo page > /www/index; httpd -p 8080 -h /www; exec sleep 1000";
    containerId = await pod.start({ name: "main", command: ["sh", "-c", script] });
  });
  after(async () => {
    await node.close();
  });

  const exec = async (cmd: string[], types: string[]): Promise<CommandClient> => {
    const stdin = types.includes("stdin");
    const { url } = await node.runtime.exec({ containerId, cmd, stdin, stdout: true, stderr: true });
    return connectCommand(url, types);
  };
  const attach = async (id: string): Promise<CommandClient> => {
    const { url } = await node.runtime.attach({ containerId: id, stdout: true, stderr: true });
    return connectCommand(url, ["stdout", "stderr"]);
  };

  test("a gibibyte goes through an exec and comes back unchanged", async () => {
    const client = await exec(["cat"], ["stdin", "stdout", "stderr"]);
    const block = randomBytes(1 << 20);
    const sent = createHash("sha256");
    const blocks = function* (): Generator<Buffer> {
      for (let index = 0; index < gibibyte / block.length; index++) {
        // No two blocks alike: one that is lost or twice there shows.
        block.writeUInt32LE(index, 0);
        const copy = Buffer.from(block);
        sent.update(copy);
        yield copy;
      }
    };
    const received = createHash("sha256");
    let size = 0;
    const receiving = (async () => {
      for await (const chunk of client.stream("stdout")) {
        received.update(chunk as Buffer);
        size += (chunk as Buffer).length;
      }
    })();
    await Promise.all([pipeline(blocks, client.stream("stdin")), receiving]);
    assert.deepEqual([size, received.digest("hex")], [gibibyte, sent.digest("hex")]);
    client.connection.destroy();
  });

  // A container that ticks, so that a client knows when it is attached, until it is told to go on and end.
  const ticking = (name: string) => {
    const script = "while [ ! -e /go ]; do echo tick; sleep 0.1; done; seq 1 5000; echo end >&2";
    return pod.start({ name, command: ["sh", "-c", script] });
  };
  const letGo = (id: string) => node.runtime.execSync({ containerId: id, cmd: ["touch", "/go"] });
  const numbers = Array.from({ length: 5000 }, (_, index) => `${index + 1}\n`).join("");

  /** Attaches, and once it sees a tick, gives what comes after the ticks. */
  const follow = async (id: string): Promise<{ rest: () => Promise<void> }> => {
    const client = await attach(id);
    const stdout = client.stream("stdout");
    // One that is refused or dropped is seen by this, and not waited for.
    const ended = finished(stdout, { writable: false });
    const refused = ended.then(() => assert.fail("ended before the first tick"));
    const [first] = (await Promise.race([once(stdout, "data"), refused])) as [Buffer];
    const chunks = [first];
    stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    const others = ["stderr", "error"].map((type) => readAll(client.stream(type)));
    const rest = async (): Promise<void> => {
      await ended;
      const text = Buffer.concat(chunks).toString();
      assert.ok(text.replaceAll("tick\n", "") === numbers, `${text.length} characters`);
      const [stderr, status] = await Promise.all(others);
      assert.equal(stderr, "end\n");
      assert.match(status ?? "", /"Success"/);
      client.connection.destroy();
    };
    return { rest };
  };

  test("fifty attached clients see all that one container says", async () => {
    const id = await ticking("speaker");
    const clients = await Promise.all(Array.from({ length: 50 }, () => follow(id)));
    await letGo(id);
    await Promise.all(clients.map(({ rest }) => rest()));
  });

  test("fifty attached clients of ten containers see what their own says", async () => {
    const ids = await Promise.all(Array.from({ length: 10 }, (_, index) => ticking(`speaker-${index}`)));
    const clients = await Promise.all(Array.from({ length: 50 }, (_, index) => follow(ids[index % 10]!)));
    await Promise.all(ids.map(letGo));
    await Promise.all(clients.map(({ rest }) => rest()));
  });

  test("twenty port-forwards at once, each with a connection of its own", async () => {
    const pages = Array.from({ length: 20 }, async (_, index) => {
      const { url } = await node.runtime.portForward({ podSandboxId: pod.id, port: [8080] });
      const connection = await connectSpdy(url, "portforward.k8s.io");
      const open = (type: string) =>
        connection.openStream(
          new Map([
            ["port", "8080"],
            ["requestid", String(index)],
            ["streamtype", type],
          ]),
        );
      const [error, data] = [open("error"), open("data")];
      data.end("GET /index HTTP/1.0\r\n\r\n");
      const [failure, page] = await Promise.all([readAll(error), readAll(data)]);
      connection.destroy();
      return failure === "" ? page.slice(-5) : failure;
    });
    assert.deepEqual(await Promise.all(pages), Array<string>(20).fill("page\n"));
  });

  test("clients that do not read hold up their programs, and the daemon keeps next to nothing for them", async () => {
    const before = residentBytes(node.daemon.pid);
    const mark = `/${randomInt(1e9)}`;
    const count = 20;
    const clients = await Promise.all(
      Array.from({ length: count }, () => exec(["cat", "/dev/zero", mark], ["stdout", "stderr"])),
    );
    // A stream that nobody reads makes its connection, in this process, stop reading its socket.
    await Promise.all(clients.map(({ stream }) => once(stream("stdout"), "readable")));
    const pids = await untilFound(["cat", "/dev/zero", mark], count);
    const written = await untilStill(() => pids.map(writtenBytes).reduce((sum, bytes) => sum + bytes, 0));
    // All that is on its way: pipes, sockets on both sides of the daemon, and the daemon.
    assert.ok(written < count * 24 * 2 ** 20, `${written} bytes were taken from ${count} programs`);
    const grown = residentBytes(node.daemon.pid) - before;
    assert.ok(grown < count * 2 ** 20 + 32 * 2 ** 20, `the daemon has grown by ${grown} bytes`);
    for (const { connection } of clients) connection.destroy();
    await untilFound(["cat", "/dev/zero", mark], 0);
  });
});

/** Pids of the processes with this command line. */
async function untilFound(commandLine: string[], count: number): Promise<number[]> {
  const wanted = `${commandLine.join("\0")}\0`;
  for (const deadline = Date.now() + 20_000; ; await delay(20)) {
    const pids = readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => tryRead(`/proc/${pid}/cmdline`) === wanted);
    if (pids.length === count) return pids;
    assert.ok(Date.now() < deadline, `${pids.length} processes, not ${count}`);
  }
}

/** The number once it has not changed for a while. */
async function untilStill(read: () => number): Promise<number> {
  let last = read();
  for (let unchanged = 0; unchanged < 10;) {
    await delay(50);
    const now = read();
    unchanged = now === last ? unchanged + 1 : 0;
    last = now;
  }
  return last;
}

const writtenBytes = (pid: number): number =>
  Number(/^wchar: (\d+)/m.exec(tryRead(`/proc/${pid}/io`))?.[1] ?? 0);

const residentBytes = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(tryRead(`/proc/${pid}/status`))?.[1]) * 1024;
