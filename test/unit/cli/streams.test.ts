// The commands that have the user's own streams, against the real streaming server with scripted programs behind it.
import assert from "node:assert/strict";
import { createServer, connect, type AddressInfo } from "node:net";
import { PassThrough, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { Log } from "../../../src/base/log.ts";
import { CricketError } from "../../../src/base/errors.ts";
import type { StandardStreams } from "../../../src/cli/command.ts";
import { DetachKeys, parseDetachKeys } from "../../../src/cli/detach-keys.ts";
import { parsePortPair } from "../../../src/cli/port-forward.ts";
import { parseStatus } from "../../../src/cli/remote-command.ts";
import type { SessionStreams } from "../../../src/container/session-streams.ts";
import type { Sessions } from "../../../src/streaming/serve-session.ts";
import { StreamingServer } from "../../../src/streaming/streaming-server.ts";
import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { interruption, scriptedDaemon, type ScriptedDaemon } from "./scripted-daemon.ts";

type Program = (streams: SessionStreams, command: readonly string[]) => Promise<number>;

const id = "aa".repeat(32);

interface Node {
  daemon: ScriptedDaemon;
  server: StreamingServer;
  asked: v1.ExecRequest[];
  close: () => Promise<void>;
}

async function startNode(program: Program, more: Partial<Sessions> & { tty?: boolean } = {}): Promise<Node> {
  const sessions: Sessions = {
    exec: async ({ command }, streams) => ({ exitCode: await program(streams, command) }),
    attach: async (_id, streams) => void (await program(streams, [])),
    startAttached: async (_id, streams) => void (await program(streams, [])),
    dial: () => Promise.reject(new CricketError("unavailable", "nobody listens")),
    ...more,
  };
  const log = new Log({ write: () => {} });
  const limits = { idleTimeoutMs: 60_000, creationTimeoutMs: 60_000 };
  const server = await StreamingServer.listen({ address: "127.0.0.1", port: 0, ...limits }, sessions, log);
  const asked: v1.ExecRequest[] = [];
  const { tty = false } = more;
  const streamsOf = (request: { stdin: boolean }) => ({
    tty,
    stdin: request.stdin,
    stdout: true,
    stderr: !tty,
  });
  const daemon = await scriptedDaemon({
    runtime: {
      ListContainers: () => ({
        containers: [{ id, metadata: { name: "web" }, podSandboxId: "pod", state: 1 }],
      }),
      ListPodSandbox: () => ({ items: [{ id: "pod", metadata: { name: "pod" }, state: 0 }] }),
      ContainerStatus: () => ({
        info: { info: JSON.stringify({ runtimeSpec: { process: { terminal: tty } } }) },
      }),
      Exec: (request) => {
        asked.push(request);
        const { containerId, cmd, stdin, stdout, stderr } = request;
        const streams = { tty: request.tty, stdin, stdout, stderr };
        return { url: server.urlOf({ kind: "exec", containerId, command: cmd, streams }) };
      },
      Attach: (request) => ({
        url: server.urlOf({ kind: "attach", containerId: id, streams: streamsOf(request), starts: false }),
      }),
      PortForward: ({ port }) => ({
        url: server.urlOf({ kind: "portforward", sandboxId: "pod", ports: port }),
      }),
      RunPodSandbox: () => ({ podSandboxId: "pod" }),
      CreateContainer: () => ({ containerId: id }),
      StopPodSandbox: () => ({}),
      RemovePodSandbox: () => ({}),
    },
    image: { ImageStatus: () => ({ image: { id: "sha256:1" } }) },
    cricket: {
      WaitContainer: () => ({ exitCode: 5, reason: "Error" }),
      StartAttached: (request) => ({
        url: server.urlOf({ kind: "attach", containerId: id, streams: streamsOf(request), starts: true }),
      }),
    },
  });
  const close = async (): Promise<void> => {
    await daemon.close();
    await server.close();
  };
  return { daemon, server, asked, close };
}

/** A terminal: what is typed, whether it is raw, and what was shown. */
class Terminal {
  readonly stdin: PassThrough & StandardStreams["stdin"] = new PassThrough();
  readonly stdout: PassThrough & StandardStreams["stdout"] = new PassThrough();
  readonly stderr = new PassThrough();
  readonly modes: boolean[] = [];

  constructor() {
    this.stdin.isTTY = true;
    this.stdin.setRawMode = (isRaw: boolean) => this.modes.push(isRaw);
    this.stdout.isTTY = true;
    this.stdout.rows = 31;
    this.stdout.columns = 91;
  }

  /** As the terminal driver does at SIGWINCH. */
  resize(rows: number, columns: number): void {
    this.stdout.rows = rows;
    this.stdout.columns = columns;
    this.stdout.emit("resize");
  }

  shown(): string {
    return String(this.stdout.read() ?? "");
  }
}

test("`cricket exec` shows both outputs as they come and returns the command's status", async () => {
  const node = await startNode(async ({ stdout, stderr, stdin }) => {
    assert.equal(stdin, undefined);
    stdout?.end("out\n");
    stderr?.end("err\n");
    return Promise.resolve(3);
  });
  assert.deepEqual(await node.daemon.cli(["exec", "web", "ls", "-l"]), {
    status: 3,
    stdout: "out\n",
    stderr: "err\n",
  });
  assert.deepEqual(node.asked[0]?.cmd, ["ls", "-l"]);
  await node.close();
});

test("`cricket exec -i` passes the input on up to its end", async () => {
  const node = await startNode(async ({ stdin, stdout, stderr }) => {
    stdout?.end(await text(stdin ?? Readable.from([])));
    stderr?.end();
    return 0;
  });
  const input = "x".repeat(1_000_000);
  const streams = (stdin: Readable) => {
    const terminal = new Terminal();
    return { stdin, stdout: terminal.stdout, stderr: terminal.stderr };
  };
  const own = streams(Readable.from([Buffer.from(input)]));
  const shown = text(own.stdout);
  const { status } = await node.daemon.cli(["exec", "-i", "web", "cat"], { streams: own });
  own.stdout.end();
  assert.deepEqual([status, (await shown) === input], [0, true]);
  await node.close();
});

test("`cricket exec -it` has a raw terminal with its size, and gives it back", async () => {
  const sizes: string[] = [];
  let keys = "";
  const terminal = new Terminal();
  const node = await startNode(async ({ stdin, stdout, onResize }) => {
    const twice = new Promise<void>((resolve) => {
      onResize(({ rows, columns }) => {
        sizes.push(`${rows}x${columns}`);
        if (sizes.length === 1) terminal.resize(40, 120);
        else resolve();
      });
    });
    await twice;
    terminal.stdin.write("\x03ls\r");
    for await (const chunk of stdin ?? []) {
      keys += String(chunk);
      if (keys.endsWith("\r")) break;
    }
    stdout?.end("done\r\n");
    return 130;
  });
  const { status } = await node.daemon.cli(["exec", "-it", "web", "sh"], { streams: terminal });
  assert.deepEqual(
    { status, sizes, keys, modes: terminal.modes, shown: terminal.shown() },
    { status: 130, sizes: ["31x91", "40x120"], keys: "\x03ls\r", modes: [true, false], shown: "done\r\n" },
  );
  assert.deepEqual([node.asked[0]?.tty, node.asked[0]?.stderr], [true, false]);
  await node.close();
});

test("`cricket exec` returns 127, 126 and 125 for what cannot be run, and 124 at the time-out", async () => {
  const failures: Record<string, Error> = {
    missing: new CricketError("internal", "exec /bin/missing: ENOENT (step 9 of 9)"),
    directory: new CricketError("internal", "exec /tmp: EACCES (step 9 of 9)"),
    broken: new CricketError("internal", "mount proc on /proc: ENOENT (step 2 of 9)"),
  };
  let told: () => void = () => {};
  const isTold = new Promise<void>((resolve) => {
    told = resolve;
  });
  const node = await startNode(async ({ gone }, [name = ""]) => {
    const failure = failures[name];
    if (failure !== undefined) throw failure;
    await new Promise((resolve) => gone.addEventListener("abort", resolve, { once: true }));
    told();
    return 0;
  });
  const statuses = [];
  for (const name of ["missing", "directory", "broken"])
    statuses.push((await node.daemon.cli(["exec", id.slice(0, 4), name])).status);
  assert.deepEqual(statuses, [127, 126, 125]);
  assert.equal((await node.daemon.cli(["exec", "--timeout", "1", "web", "slow"])).status, 124);
  await isTold;
  assert.equal((await node.daemon.cli(["exec", "nobody", "ls"])).status, 125);
  const stop = interruption();
  const interrupted = node.daemon.cli(["exec", "web", "slow"], { interrupted: stop.signal });
  setTimeout(stop.abort, 50);
  assert.equal((await interrupted).status, 130);
  await node.close();
});

test("`cricket attach` leaves at its keys, and returns the program's status at its end", async () => {
  const terminal = new Terminal();
  let typed = "";
  const node = await startNode(
    async ({ stdin, stdout }) => {
      stdout?.write("$ ");
      for await (const chunk of stdin ?? []) {
        typed += String(chunk);
        if (typed === "exit\r") break;
      }
      stdout?.end();
      return 0;
    },
    { tty: true },
  );
  terminal.stdin.write("a\x10b\x10\x11dropped");
  const left = await node.daemon.cli(["attach", "web"], { streams: terminal });
  assert.deepEqual([left.status, terminal.modes], [0, [true, false]]);
  assert.match(left.stderr, /the container goes on/);
  const second = new Terminal();
  typed = "";
  second.stdin.write("exit\r");
  assert.equal((await node.daemon.cli(["attach", "web"], { streams: second })).status, 5);
  assert.equal((await node.daemon.cli(["attach", "--detach-keys", "ctrl-", "web"])).status, 2);
  await node.close();
});

test("`cricket run -it` is attached before the program starts", async () => {
  const terminal = new Terminal();
  const node = await startNode(
    async ({ stdout }) => {
      stdout?.end("first words\r\n");
      return Promise.resolve(0);
    },
    { tty: true },
  );
  const ended = await node.daemon.cli(["run", "-it", "busybox", "sh"], { streams: terminal });
  assert.deepEqual([ended.status, terminal.shown()], [5, "first words\r\n"]);
  await node.close();
});

test("`cricket port-forward` forwards connections, says why one fails, and ends at Ctrl-C", async () => {
  const echo = createServer({ allowHalfOpen: true }, (socket) => void socket.pipe(socket));
  await new Promise<void>((resolve) => echo.listen(0, "127.0.0.1", resolve));
  const node = await startNode(() => Promise.resolve(0), {
    dial: async (_id, port) => {
      if (port !== 80) throw new CricketError("unavailable", "nobody listens");
      const socket = connect({ port: (echo.address() as AddressInfo).port, allowHalfOpen: true });
      await new Promise((resolve) => socket.once("connect", resolve));
      return socket;
    },
  });
  const stop = interruption();
  let told = "";
  const lines = new PassThrough();
  const running = node.daemon.cli(["port-forward", "pod", "0:80", "0:81"], {
    interrupted: stop.signal,
    stdout: (data) => {
      told += String(data);
      if (told.split("\n").length === 3) lines.end();
    },
  });
  await text(lines);
  const [good = 0, bad = 0] = [...told.matchAll(/127\.0\.0\.1:(\d+) -> /g)].map(([, port]) => Number(port));
  const talk = async (port: number, input: string): Promise<string> => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    socket.end(input);
    return text(socket);
  };
  const long = "y".repeat(300_000);
  assert.deepEqual(await Promise.all([talk(good, "one"), talk(good, long)]), ["one", long]);
  assert.equal(await talk(bad, "x"), "");
  stop.abort();
  const ended = await running;
  assert.equal(ended.status, 130);
  assert.match(ended.stderr, /port 81: nobody listens/);
  await node.close();
  echo.close();
});

test("`DetachKeys` holds back keys that may begin the sequence, however they are typed", () => {
  const keys = parseDetachKeys("ctrl-p,ctrl-q");
  assert.deepEqual([...keys], [16, 17]);
  const run = (...inputs: string[]) => {
    const detach = new DetachKeys(keys);
    return inputs.map((input) => {
      const { passed, detached } = detach.take(Buffer.from(input));
      return `${passed.toString("latin1")}${detached ? "!" : ""}`;
    });
  };
  assert.deepEqual(run("a\x10", "\x11"), ["a", "!"]);
  assert.deepEqual(run("\x10\x10", "\x11"), ["\x10", "!"]);
  assert.deepEqual(run("\x10b"), ["\x10b"]);
  assert.deepEqual([...parseDetachKeys("x,ctrl-[")], [120, 27]);
  assert.deepEqual([...parseDetachKeys("")], []);
  assert.throws(() => parseDetachKeys("ctrl-p,"));
  assert.deepEqual(new DetachKeys([]).take(Buffer.from("a")).passed.toString(), "a");
});

test("`parseStatus()` and `parsePortPair()` read what they are made for", () => {
  assert.deepEqual(parseStatus('{"status":"Success"}'), { kind: "ended", exitCode: 0 });
  assert.equal(parseStatus("").kind, "failed");
  assert.deepEqual(parseStatus("not json"), { kind: "failed", message: "not json" });
  assert.deepEqual(parsePortPair("8080:80"), { local: 8080, remote: 80 });
  assert.deepEqual(parsePortPair("80"), { local: 80, remote: 80 });
  assert.deepEqual(parsePortPair("0:80"), { local: 0, remote: 80 });
  for (const wrong of ["", "x", "1:2:3", "70000", "0", "80:0", ":80"])
    assert.throws(() => parsePortPair(wrong), wrong);
});
