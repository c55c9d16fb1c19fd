// Terminals and descriptors: what a container gets of the caller's, and what it must not get.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { closeSync, createReadStream, openSync, readFileSync } from "node:fs";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, describe, it } from "node:test";
import type { ProbeReport } from "../../support/launch-fixture.ts";
import { receiveTerminal } from "../../support/receive-terminal.ts";
import { requires } from "../../support/requires.ts";
import { OciFixture } from "./oci-fixture.ts";

describe("descriptors of cricket oci", requires("root", "package:busybox-static"), () => {
  const fixture = new OciFixture();
  after(() => fixture.close());

  const ok = async (...words: string[]): Promise<string> => {
    const { status, stdout, stderr } = await fixture.run(words);
    assert.equal(status, 0, `${words.join(" ")}: ${stderr}`);
    return stdout;
  };

  const withTerminal = (args: string[]): void =>
    fixture.write(args, (spec) => {
      if (spec.process !== undefined)
        spec.process = { ...spec.process, terminal: true, consoleSize: { height: 33, width: 99 } };
    });

  it("hands the terminal to --console-socket", async () => {
    const id = fixture.newId();
    const path = join(fixture.directory, "tty.sock");
    withTerminal(["sh", "-c", "stty size; tty; readlink /proc/self/fd/0"]);
    const master = receiveTerminal(path);
    await ok("create", "--console-socket", path, id);
    const output = createReadStream("", { fd: await master });
    let text = "";
    const ended = new Promise<void>((resolve) => {
      output.on("data", (chunk: Buffer | string) => (text += chunk.toString()));
      output.on("error", () => resolve());
      output.on("end", resolve);
    });
    await ok("start", id);
    await ended;
    assert.equal(text, "33 99\r\n/dev/pts/0\r\n/dev/pts/0\r\n");
    await ok("delete", "--force", id);
  });

  it("refuses a terminal for a detached container without --console-socket, and the socket without a terminal", async () => {
    const id = fixture.newId();
    withTerminal(["true"]);
    assert.match((await fixture.run(["create", id])).stderr, /needs --console-socket/);
    fixture.write(["true"]);
    const { stderr } = await fixture.run(["create", "--console-socket", "/nowhere", id]);
    assert.match(stderr, /terminal is not set/);
  });

  it("relays the terminal of a container in the foreground", async () => {
    const id = fixture.newId();
    withTerminal(["sh", "-c", "read -r line; echo got $line; exit 6"]);
    const { status, stdout } = await fixture.run(["run", id], "words\n");
    assert.equal(status, 6);
    assert.match(stdout, /got words\r\n$/);
  });

  it("hands a pidfd to --pidfd-socket, of a container and of an exec", async () => {
    const id = fixture.newId();
    const path = join(fixture.directory, "pidfd.sock");
    const pidOf = (fd: number): string => {
      const pid = /^Pid:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1];
      closeSync(fd);
      return pid ?? "";
    };
    const pidFile = join(fixture.directory, "pid");
    fixture.write(["sleep", "1000"]);
    const first = receiveTerminal(path);
    await ok("run", "-d", "--pid-file", pidFile, "--pidfd-socket", path, id);
    assert.equal(pidOf(await first), readFileSync(pidFile, "utf8"));
    const second = receiveTerminal(path);
    await ok("exec", "-d", "--pid-file", pidFile, "--pidfd-socket", path, id, "sleep", "1000");
    assert.equal(pidOf(await second), readFileSync(pidFile, "utf8"));
    await ok("delete", "-f", id);
    const { status, stderr } = await fixture.run(["create", "--pidfd-socket", "/nowhere", id]);
    assert.deepEqual([status, /--pidfd-socket \/nowhere.*ENOENT/.test(stderr)], [1, true], stderr);
  });

  it("CVE-2024-21626: a container holds no descriptor but its stdio", async () => {
    const id = fixture.newId();
    fixture.write(["sh", "-c", "ls /proc/$$/fd; true"]);
    assert.equal(await ok("run", id), "0\n1\n2\n");
    fixture.write(["sleep", "1000"]);
    await ok("run", "-d", id);
    assert.equal(await ok("exec", id, "sh", "-c", "ls /proc/$$/fd; true"), "0\n1\n2\n");
    await ok("delete", "-f", id);
  });

  it("gives an exec the session keyring of its container, not that of its caller", async () => {
    const id = fixture.newId();
    const keyringOf = (report: string): string => (JSON.parse(report) as ProbeReport).keyring;
    fixture.write(["sh", "-c", "probe report; sleep 1000"]);
    const first = fixture.start("run", id);
    const [report] = (await once(createInterface({ input: first.stdout! }), "line")) as [string];
    assert.match(keyringOf(report), new RegExp(`;_ses\\.${id}$`));
    assert.equal(keyringOf(await ok("exec", id, "probe", "report")), keyringOf(report));
    await ok("delete", "-f", id);
    fixture.write(["sleep", "1000"]);
    await ok("run", "-d", "--no-new-keyring", id);
    assert.doesNotMatch(keyringOf(await ok("exec", id, "probe", "report")), new RegExp(id));
    await ok("delete", "-f", id);
  });

  it("CVE-2025-31133: the host's /dev/null does not come in as stdin", async () => {
    const id = fixture.newId();
    fixture.write(["sh", "-c", "stat -L -c %d /proc/self/fd/0 /dev/null"]);
    const null0 = openSync("/dev/null", "r");
    const child = spawn(process.execPath, fixture.argv("run", id), {
      cwd: fixture.bundle,
      stdio: [null0, "pipe", "inherit"],
    });
    closeSync(null0);
    let text = "";
    child.stdout?.on("data", (chunk: Buffer) => (text += chunk.toString()));
    await new Promise((resolve) => child.on("close", resolve));
    const [stdin, device] = text.trim().split("\n");
    assert.ok(stdin !== undefined && stdin !== "" && stdin === device);
  });

  it("--preserve-fds passes descriptors from 3 on", async () => {
    const id = fixture.newId();
    fixture.write(["sh", "-c", "cat <&3; echo; cat <&4; echo; ls /proc/$$/fd; true"]);
    const files = [join(fixture.bundle, "config.json"), "/proc/sys/kernel/ostype"];
    const open = files.map((file) => openSync(file, "r"));
    const child = spawn(process.execPath, fixture.argv("run", "--preserve-fds", "2", id), {
      cwd: fixture.bundle,
      stdio: ["ignore", "pipe", "inherit", ...open],
    });
    for (const fd of open) closeSync(fd);
    let text = "";
    child.stdout?.on("data", (chunk: Buffer) => (text += chunk.toString()));
    const status = await new Promise((resolve) => child.on("close", resolve));
    assert.equal(status, 0);
    assert.equal(text, `${readFileSync(files[0] ?? "", "utf8")}\nLinux\n\n0\n1\n2\n3\n4\n`);
  });

  it("--preserve-fds passes nothing that the runtime has opened for itself", async () => {
    const id = fixture.newId();
    fixture.write(["true"]);
    const { status, stderr } = await fixture.run(["create", "--preserve-fds", "1", id]);
    assert.deepEqual([status, /descriptor 3 is not open/.test(stderr)], [1, true], stderr);
  });

  it("passes a service manager's sockets on, and tells the program", async () => {
    const id = fixture.newId();
    fixture.write(["sh", "-c", 'echo "$LISTEN_FDS $LISTEN_PID"; cat <&3']);
    const file = openSync("/proc/sys/kernel/ostype", "r");
    // LISTEN_PID is the runtime's own: it is set by what becomes the runtime.
    const command = 'LISTEN_PID=$$ exec "$0" "$@"';
    const child = spawn("sh", ["-c", command, process.execPath, ...fixture.argv("run", id)], {
      cwd: fixture.bundle,
      env: { ...process.env, LISTEN_FDS: "1" },
      stdio: ["ignore", "pipe", "inherit", file],
    });
    closeSync(file);
    let text = "";
    child.stdout?.on("data", (chunk: Buffer) => (text += chunk.toString()));
    await new Promise((resolve) => child.on("close", resolve));
    assert.equal(text, "1 1\nLinux\n");
  });

  it("CVE-2022-29162: `exec --cap` makes no capability inheritable", async () => {
    const id = fixture.newId();
    fixture.write(["sleep", "1000"]);
    await ok("run", "-d", id);
    const status = await ok("exec", "--cap", "CAP_SYS_ADMIN", id, "cat", "/proc/self/status");
    assert.match(status, /^CapInh:\t0+$/m);
    assert.match(status, /^CapEff:\t0000000020[0-9a-f]{6}$/m);
    await ok("delete", "-f", id);
  });
});
