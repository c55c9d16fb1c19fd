// The command line with a terminal, against a real daemon: `script` gives each command a pty of its own.
import assert from "node:assert/strict";
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { connect } from "node:net";
import path from "node:path";
import { text } from "node:stream/consumers";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { startNode, type TestNode, type TestPod } from "../support/node.ts";
import { requires } from "../support/requires.ts";
import { cricketProgram } from "../support/cricket-program.ts";

const checkout = path.resolve(import.meta.dirname, "../..");
const program = [process.execPath, ...cricketProgram()];

const quoted = (words: readonly string[]): string =>
  words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");

/** A command on a terminal of its own. */
class TerminalSession {
  readonly #child: ChildProcess;
  #shown = "";

  constructor(node: TestNode, argv: readonly string[]) {
    this.#child = spawn("script", ["-qefc", quoted([...program, ...argv]), "/dev/null"], {
      cwd: checkout,
      env: { ...process.env, CRICKET_SOCKET: node.daemon.socket, SHELL: "/bin/sh" },
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#child.stdout?.on("data", (bytes: Buffer) => (this.#shown += bytes.toString()));
  }

  get shown(): string {
    return this.#shown;
  }

  type(input: string): void {
    this.#child.stdin?.write(input);
  }

  /** Until it has shown something like `pattern`; `again` is typed until then. */
  async until(pattern: RegExp, again?: string): Promise<void> {
    for (const deadline = Date.now() + 20_000; !pattern.test(this.#shown);) {
      assert.ok(Date.now() < deadline, `${String(pattern)} is not shown: ${JSON.stringify(this.#shown)}`);
      if (again !== undefined) this.type(again);
      await delay(again === undefined ? 20 : 300);
    }
  }

  /** Of the window: the kernel tells the programs in it (SIGWINCH). */
  async resize(rows: number, columns: number): Promise<void> {
    const size = ["rows", String(rows), "cols", String(columns)];
    const result = spawnSync("stty", ["-F", await this.#pty(), ...size], { encoding: "utf8" });
    assert.equal(result.status, 0, result.stderr);
  }

  async status(): Promise<number> {
    if (this.#child.exitCode === null) await once(this.#child, "close");
    return this.#child.exitCode ?? -1;
  }

  async #pty(): Promise<string> {
    const list = `/proc/${this.#child.pid}/task/${this.#child.pid}/children`;
    for (const deadline = Date.now() + 20_000; Date.now() < deadline; await delay(20)) {
      const [pid = ""] = fs.readFileSync(list, "utf8").trim().split(" ");
      const target = pid === "" ? "" : fs.readlinkSync(`/proc/${pid}/fd/0`);
      if (target.startsWith("/dev/pts/")) return target;
    }
    throw new Error("script has not begun");
  }
}

describe("a user at a terminal", requires("root", "overlay", "package:busybox-static"), () => {
  let node: TestNode;
  let pod: TestPod;
  const cli = (argv: readonly string[], input: string) =>
    spawnSync(program[0]!, [...program.slice(1), ...argv], {
      cwd: checkout,
      env: { ...process.env, CRICKET_SOCKET: node.daemon.socket },
      input,
      encoding: "utf8",
    });

  before(async () => {
    node = await startNode();
    pod = await node.runPod("desk");
    const serve = "mkdir -p /www; echo page > /www/index; httpd -p 8080 -h /www; exec sleep 1000";
    await pod.start({ name: "web", command: ["sh", "-c", serve] });
  });
  after(async () => {
    await node.close();
  });

  test("exec -it: keys, size of the window, exit status", async () => {
    const session = new TerminalSession(node, ["exec", "-it", "web", "sh"]);
    await session.until(/# /);
    session.type("echo he''llo; test -t 0 && echo is-a-$TERM-ter''minal\r");
    await session.until(/hello\r\nis-a-xterm-terminal\r\n/);
    await session.resize(33, 101);
    await session.until(/33 101/, "stty size\r");
    session.type("sleep 1000\r");
    await session.until(/\^C/, "\x03");
    session.type("exit 7\r");
    assert.equal(await session.status(), 7);
  });

  test("exec -i: input from a pipe, up to its end; without -i there is none", async () => {
    const input = "line\n".repeat(100_000);
    const counted = cli(["exec", "-i", "web", "wc", "-c"], input);
    assert.deepEqual([counted.stdout.trim(), counted.status], [String(input.length), 0], counted.stderr);
    const none = cli(["exec", "web", "sh", "-c", "cat; echo err >&2; exit 3"], input);
    assert.deepEqual([none.stdout, none.stderr, none.status], ["", "err\n", 3]);
    assert.equal(cli(["exec", "web", "/nowhere"], "").status, 127);
  });

  test("attach: detach keys leave the container running, its end is the status", async () => {
    const more = { tty: true, stdin: true };
    const containerId = await pod.start({ name: "shell", command: ["sh"], more });
    const first = new TerminalSession(node, ["attach", "shell"]);
    await first.until(/one-line/, "echo one''-line\r");
    first.type("\x10\x11");
    assert.equal(await first.status(), 0);
    const { status } = await node.runtime.containerStatus({ containerId });
    assert.equal(status?.state, v1.ContainerState.CONTAINER_RUNNING);
    const second = new TerminalSession(node, ["attach", "shell"]);
    await second.resize(40, 90);
    await second.until(/40 90/, "stty size\r");
    second.type("exit 5\r");
    assert.equal(await second.status(), 5);
  });

  test("run -it: nothing of the beginning is missed, the pod is gone afterwards", async () => {
    const script = "echo first; read answer; echo got $answer; exit 4";
    const session = new TerminalSession(node, [
      "run",
      "-it",
      "--name",
      "asked",
      node.image,
      "sh",
      "-c",
      script,
    ]);
    await session.until(/first\r\n/);
    session.type("words\r");
    await session.until(/got words/);
    assert.equal(await session.status(), 4);
    const { items } = await node.runtime.listPodSandbox({});
    assert.deepEqual(
      items.map(({ metadata }) => metadata?.name),
      ["desk"],
    );
    const piped = cli(["run", "-i", node.image, "cat"], "through a pipe\n");
    assert.deepEqual([piped.stdout, piped.status], ["through a pipe\n", 0], piped.stderr);
    const missing = cli(["run", "-i", node.image, "/nowhere"], "");
    assert.equal(missing.status, 127, missing.stderr);
  });

  test("port-forward: a page of the pod on a port of this machine", async () => {
    const child = spawn(program[0]!, [...program.slice(1), "port-forward", "web", "0:8080"], {
      cwd: checkout,
      env: { ...process.env, CRICKET_SOCKET: node.daemon.socket },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    const port = Number(/127\.0\.0\.1:(\d+) -> 8080/.exec(line.toString())?.[1]);
    const pages = Array.from({ length: 10 }, async () => {
      const socket = connect({ port, host: "127.0.0.1" });
      socket.write("GET /index HTTP/1.0\r\n\r\n");
      return (await text(socket)).slice(-5);
    });
    assert.deepEqual(await Promise.all(pages), Array<string>(10).fill("page\n"));
    child.kill("SIGINT");
    await once(child, "close");
    assert.equal(child.exitCode, 130);
  });
});
