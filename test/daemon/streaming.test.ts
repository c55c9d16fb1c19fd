// Exec, attach and port-forward over the wire, against a real daemon.
import assert from "node:assert/strict";
import { createHash, randomBytes, randomInt } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { WebSocket } from "ws";
import { RpcError } from "../../cri-api/client.ts";
import { toInt64 } from "../../cri-api/int64.ts";
import { startNode, type TestNode, type TestPod } from "../support/node.ts";
import { requires } from "../support/requires.ts";
import {
  connectCommand,
  connectSpdy,
  floodInput,
  readAll,
  requestUpgrade,
  runCommand,
  spdyHeaders,
} from "./streaming-client.ts";
import { until } from "../support/until.ts";

const status = (wanted: string) => (error: unknown) => {
  assert.ok(error instanceof RpcError, String(error));
  assert.equal(error.status, wanted, error.message);
  return true;
};

describe("streaming", requires("root", "overlay", "package:busybox-static"), () => {
  let node: TestNode;
  let pod: TestPod;
  let containerId: string;

  before(async () => {
    node = await startNode();
    pod = await node.runPod("streams");
    const script = "mkdir -p /www; echo page > /www/index; httpd -p 8080 -h /www; exec sleep 1000";
    containerId = await pod.start({ name: "main", command: ["sh", "-c", script] });
  });
  after(async () => {
    await node.close();
  });

  const execUrl = async (cmd: string[], more: { stdin?: boolean; tty?: boolean } = {}): Promise<string> => {
    const { stdin = false, tty = false } = more;
    const request = { containerId, cmd, stdin, tty, stdout: true, stderr: !tty };
    return (await node.runtime.exec(request)).url;
  };
  const sh = (script: string) => execUrl(["sh", "-c", script]);
  // Of the whole machine: the number in the command line is this test's own.
  const isRunning = (commandLine: string): boolean =>
    readdirSync("/proc").some((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim() === commandLine;
      } catch {
        return false;
      }
    });
  test("exec: output on two streams, exit status, input until its end", async () => {
    const both = await runCommand(await sh("echo out; echo err >&2; exit 3"));
    assert.equal(both.stdout, "out\n");
    assert.equal(both.stderr, "err\n");
    assert.deepEqual(both.status.details, { causes: [{ reason: "ExitCode", message: "3" }] });
    const echoed = await runCommand(await execUrl(["cat"], { stdin: true }), "some input");
    assert.equal(echoed.stdout, "some input");
    assert.equal(echoed.status.status, "Success");
    const missing = await runCommand(await execUrl(["/no/such/program"]));
    assert.equal(missing.status.reason, "InternalError");
    assert.match(missing.status.message ?? "", /ENOENT/);
  });

  test("exec: bytes arrive unchanged in both directions", async () => {
    const bytes = randomBytes(8 << 20);
    const digest = createHash("sha256").update(bytes).digest("hex");
    const summed = await runCommand(await execUrl(["sha256sum"], { stdin: true }), bytes);
    assert.equal(summed.stdout.slice(0, 64), digest);
    const client = await connectCommand(await execUrl(["cat"], { stdin: true }), [
      "stdin",
      "stdout",
      "stderr",
    ]);
    client.stream("stdin").end(bytes);
    const hash = createHash("sha256");
    for await (const chunk of client.stream("stdout")) hash.update(chunk as Buffer);
    assert.equal(hash.digest("hex"), digest);
    client.connection.destroy();
  });

  test("exec: a terminal has the client's size, and follows it", async () => {
    const url = await execUrl(["sh", "-c", "read x; stty size; read x; stty size"], {
      stdin: true,
      tty: true,
    });
    const { connection, stream } = await connectCommand(url, ["stdin", "stdout", "resize"]);
    stream("resize").write('{"Width":91,"Height":31}\n');
    await delay(300);
    stream("stdin").write("\n");
    await delay(300);
    stream("resize").write('{"Width":120,"Height":40}\n');
    await delay(300);
    stream("stdin").write("\n");
    const output = await readAll(stream("stdout"));
    assert.match(output, /31 91[^]*40 120/);
    connection.destroy();
  });

  test("exec: a client that goes away takes its processes along", async () => {
    const seconds = String(randomInt(100_000, 1_000_000));
    const client = await connectCommand(await sh(`sleep ${seconds} & sleep ${seconds}`), [
      "stdout",
      "stderr",
    ]);
    await until("the command does not start", () => isRunning(`sleep ${seconds}`));
    client.connection.destroy();
    await until("the command is still there", () => !isRunning(`sleep ${seconds}`));
  });

  test("exec: a client that goes away while nobody takes its input takes its processes along, too", async () => {
    const seconds = String(randomInt(100_000, 1_000_000));
    const cmd = ["sleep", seconds];
    const { url } = await node.runtime.exec({ containerId, cmd, stdin: true, stdout: true, stderr: true });
    const socket = await floodInput(url);
    await until("the command does not start", () => isRunning(`sleep ${seconds}`));
    // Until the last buffer is full.
    for (let left = -1; left !== socket.writableLength; await delay(200)) left = socket.writableLength;
    socket.resetAndDestroy();
    await until("the command is still there", () => !isRunning(`sleep ${seconds}`));
  });

  test("exec: a client that does not read holds up its program, and neither daemon nor stop", async () => {
    const second = await pod.start({ name: "stalled", command: ["sleep", "1000"] });
    const cmd = ["sh", "-c", "cat /dev/zero"];
    const { url } = await node.runtime.exec({ containerId: second, cmd, stdout: true, stderr: true });
    const { connection, stream } = await connectCommand(url, ["stdout", "stderr"]);
    await new Promise((resolve) => stream("stdout").once("readable", resolve));
    await delay(500);
    await node.runtime.stopContainer({ containerId: second, timeout: toInt64(0n) });
    await node.runtime.removeContainer({ containerId: second });
    connection.destroy();
  });

  test("exec: a hundred at once", async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 100 }, async (_, index) => runCommand(await sh(`echo ${index}`))),
    );
    assert.deepEqual(
      outcomes.map(({ stdout, status: { status: end } }) => `${stdout.trim()} ${end}`),
      outcomes.map((_, index) => `${index} Success`),
    );
  });

  test("exec: WebSocket clients of every protocol", async () => {
    for (const protocol of [
      "channel.k8s.io",
      "v4.channel.k8s.io",
      "v5.channel.k8s.io",
      "v4.base64.channel.k8s.io",
    ]) {
      const messages = await readWebSocket(await sh("echo out; echo err >&2"), protocol);
      assert.deepEqual({ 1: messages[1], 2: messages[2] }, { 1: "out\n", 2: "err\n" }, protocol);
      if (protocol.startsWith("v")) assert.match(messages[3] ?? "", /"Success"/, protocol);
    }
  });

  test("exec: v5 ends the input with its close message", async () => {
    const url = await execUrl(["cat"], { stdin: true });
    const messages = await readWebSocket(url, "v5.channel.k8s.io", (socket) => {
      socket.send(Buffer.from("\0typed"));
      socket.send(Buffer.from([255, 0]));
    });
    assert.equal(messages[1], "typed");
  });

  test("attach: many see the output, one types, and the end is a success", async () => {
    const attached = await pod.start({
      name: "attached",
      command: ["sh", "-c", "read line; echo got $line"],
      more: { stdin: true, stdinOnce: true },
    });
    const attach = async (stdin: boolean) => {
      const request = { containerId: attached, stdin, stdout: true, stderr: true };
      const { url } = await node.runtime.attach(request);
      return connectCommand(url, ["stdout", "stderr", ...(stdin ? ["stdin"] : [])]);
    };
    const watchers = await Promise.all(Array.from({ length: 10 }, () => attach(false)));
    const typist = await attach(true);
    // Every session stands when its monitor has answered; the log shows nothing of that.
    await delay(500);
    typist.stream("stdin").write("hello\n");
    for (const { stream, connection } of [...watchers, typist]) {
      assert.equal(await readAll(stream("stdout")), "got hello\n");
      assert.match(await readAll(stream("error")), /"Success"/);
      connection.destroy();
    }
  });

  test("port-forward: several connections at once, half-closed, and a port where nobody listens", async () => {
    const { url } = await node.runtime.portForward({ podSandboxId: pod.id, port: [8080] });
    const connection = await connectSpdy(url, "portforward.k8s.io");
    const forward = (port: number, requestId: number) => {
      const headers = (type: string) =>
        new Map([
          ["port", String(port)],
          ["requestid", String(requestId)],
          ["streamtype", type],
        ]);
      return { error: connection.openStream(headers("error")), data: connection.openStream(headers("data")) };
    };
    const pages = Array.from({ length: 20 }, async (_, index) => {
      const { data, error } = forward(8080, index);
      data.end("GET /index HTTP/1.0\r\n\r\n");
      const [page, failure] = await Promise.all([readAll(data), readAll(error)]);
      assert.equal(failure, "");
      return page.slice(-5);
    });
    assert.deepEqual(await Promise.all(pages), Array<string>(20).fill("page\n"));
    const closed = forward(9, 99);
    assert.match(await readAll(closed.error), /port 9.*ECONNREFUSED/);
    connection.destroy();
  });

  test("port-forward: a WebSocket with two channels for each port", async () => {
    const { url } = await node.runtime.portForward({ podSandboxId: pod.id, port: [8080] });
    const messages = await readWebSocket(url, "v4.channel.k8s.io", (socket) =>
      socket.send(Buffer.from("\0GET /index HTTP/1.0\r\n\r\n")),
    );
    assert.equal(Buffer.from(messages[0]!, "latin1").readUInt16LE(0), 8080);
    assert.ok(messages[0]!.endsWith("page\n"));
    assert.equal(messages[1]!.length, 2);
  });

  test("a token is good once, for its own kind of session, and wrong ones are not found", async () => {
    const url = await sh("true");
    const headers = spdyHeaders("v4.channel.k8s.io");
    const asAttach = await requestUpgrade((await sh("true")).replace("/exec/", "/attach/"), headers);
    assert.equal(asAttach.status, 404);
    assert.equal((await runCommand(url)).status.status, "Success");
    assert.equal((await requestUpgrade(url, headers)).status, 404);
    assert.equal((await requestUpgrade(`${url}x`, headers)).status, 404);
    assert.equal((await requestUpgrade(await sh("true"), {}, "GET")).status, 400);
    const unknown = await requestUpgrade(await sh("true"), spdyHeaders("v9.channel.k8s.io"));
    assert.equal(unknown.status, 403);
    assert.match(unknown.head, /X-Accepted-Stream-Protocol-Versions: v4\.channel\.k8s\.io/);
  });

  test("garbage and clients that say nothing leave the others alone", async () => {
    for (const bytes of [
      Buffer.alloc(1000, 0xff),
      randomBytes(1000),
      Buffer.from("GET / HTTP/1.1\r\n\r\n"),
    ]) {
      const { socket } = await requestUpgrade(await sh("true"), spdyHeaders("v4.channel.k8s.io"));
      socket.on("error", () => {});
      socket.end(bytes);
      await new Promise((resolve) => socket.resume().once("close", resolve));
    }
    const silent = await requestUpgrade(await sh("true"), spdyHeaders("v4.channel.k8s.io"));
    assert.equal((await runCommand(await sh("echo fine"))).stdout, "fine\n");
    silent.socket.destroy();
  });

  test("what cannot be served is refused with its code", async () => {
    const { runtime } = node;
    const streams = { stdout: true, stderr: true };
    await assert.rejects(runtime.exec({ containerId, cmd: [], ...streams }), status("INVALID_ARGUMENT"));
    await assert.rejects(runtime.exec({ containerId, cmd: ["true"] }), status("INVALID_ARGUMENT"));
    const both = { containerId, cmd: ["sh"], tty: true, ...streams };
    await assert.rejects(runtime.exec(both), status("INVALID_ARGUMENT"));
    await assert.rejects(runtime.exec({ containerId: "none", cmd: ["sh"], ...streams }), status("NOT_FOUND"));
    await assert.rejects(runtime.attach({ containerId: "none", ...streams }), status("NOT_FOUND"));
    await assert.rejects(runtime.portForward({ podSandboxId: "none", port: [80] }), status("NOT_FOUND"));
    const port = [70_000];
    await assert.rejects(runtime.portForward({ podSandboxId: pod.id, port }), status("INVALID_ARGUMENT"));
    const created = await pod.create({ name: "created", command: ["true"] });
    await assert.rejects(runtime.attach({ containerId: created, ...streams }), status("FAILED_PRECONDITION"));
  });
});

/** What came on each channel until the server closed. */
async function readWebSocket(
  url: string,
  protocol: string,
  begin: (socket: WebSocket) => void = () => {},
): Promise<Record<number, string>> {
  const socket = new WebSocket(url.replace("http", "ws"), [protocol]);
  const isBase64 = protocol.includes("base64");
  const seen: Record<number, string> = {};
  socket.on("open", () => begin(socket));
  socket.on("message", (data) => {
    const message = data as Buffer;
    const channel = isBase64 ? message[0]! - 0x30 : message[0]!;
    const text = message.toString("latin1", 1);
    seen[channel] =
      (seen[channel] ?? "") + (isBase64 ? Buffer.from(text, "base64").toString("latin1") : text);
  });
  await new Promise((resolve, reject) => {
    socket.once("close", resolve);
    socket.once("error", reject);
  });
  return seen;
}
