// checkpoint and restore with a real criu, and what is said without one.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import {
  closeSync,
  createReadStream,
  openSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, describe, it } from "node:test";
import type { Spec } from "../../../src/oci/spec.ts";
import { criuSkip, hasMemoryTracking } from "../../support/criu.ts";
import { receiveTerminal } from "../../support/receive-terminal.ts";
import { requires } from "../../support/requires.ts";
import { OciFixture, type Ended } from "./oci-fixture.ts";

/** Counts in a file of a tmpfs, which only a checkpoint can carry over. */
const counting = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > /tmp/count; echo $i; sleep 0.02; done"];

function withTmp(spec: Spec): void {
  spec.mounts?.push({ destination: "/tmp", type: "tmpfs", source: "tmpfs" });
}

class Checkpoints extends OciFixture {
  /** Where the program `criu` is for the commands that follow. */
  readonly programs = join(this.directory, "programs");
  readonly #path = process.env["PATH"];

  use(criu: string): void {
    mkdirSync(this.programs);
    symlinkSync(criu, join(this.programs, "criu"));
    process.env["PATH"] = `${this.programs}:${this.#path}`;
  }

  pretend(script: string): void {
    mkdirSync(this.programs);
    writeFileSync(join(this.programs, "criu"), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    process.env["PATH"] = `${this.programs}:${this.#path}`;
  }

  images(name: string): string {
    return join(this.directory, name);
  }

  async state(id: string): Promise<{ status: string; pid: number }> {
    return JSON.parse(await this.ok("state", id)) as { status: string; pid: number };
  }

  /** Starts a counting container and waits for its first numbers. */
  async running(change: (spec: Spec) => void = () => {}): Promise<string> {
    const id = this.newId();
    this.write(counting, (spec) => {
      withTmp(spec);
      change(spec);
    });
    await this.detached("run", "--detach", id);
    await this.untilAbove(id, 2);
    return id;
  }

  /**
   * With a file as its output: what Node makes for a child are sockets, which criu does not take out of another network
   * namespace.
   */
  startToFile(file: string, ...words: string[]): ChildProcess {
    const output = openSync(file, "a");
    try {
      const stdio: ["ignore", number, number] = ["ignore", output, output];
      return spawn(process.execPath, this.argv(...words), { cwd: this.bundle, stdio });
    } finally {
      closeSync(output);
    }
  }

  readonly streams = join(this.directory, "output");

  readonly piped = join(this.directory, "piped.out");

  /** Resolves when nobody has the pipe any more. */
  pipe(...words: string[]): Promise<unknown> {
    const script = '"$@" </dev/null 2>&1 | cat >"$OUTPUT"';
    const argv = ["-c", script, "sh", process.execPath, ...this.argv(...words)];
    const env = { ...process.env, OUTPUT: this.piped };
    const shell = spawn("sh", argv, { cwd: this.bundle, env, stdio: "ignore" });
    return new Promise((resolve) => shell.on("exit", resolve));
  }

  async detached(...words: string[]): Promise<void> {
    const child = this.startToFile(this.streams, ...words);
    const status = await new Promise((resolve) => child.on("exit", resolve));
    assert.equal(status, 0, readFileSync(this.streams, "utf8").slice(-2000));
  }

  async count(id: string): Promise<number> {
    return Number(await this.ok("exec", id, "cat", "/tmp/count"));
  }

  async untilAbove(id: string, number: number): Promise<number> {
    for (;;) {
      const { status, stdout } = await this.run(["exec", id, "cat", "/tmp/count"]);
      if (status === 0 && Number(stdout) > number) return Number(stdout);
    }
  }

  override async close(): Promise<void> {
    process.env["PATH"] = this.#path;
    await super.close();
  }
}

const failed = ({ status, stderr }: Ended): string => {
  assert.equal(status, 1, stderr);
  return stderr;
};

describe(
  "cricket oci checkpoint and restore",
  { ...requires("root", "package:busybox-static"), ...criuSkip() },
  () => {
    const fixture = new Checkpoints();
    before(() => fixture.use(process.env["CRICKET_TEST_CRIU"] ?? "/usr/sbin/criu"));
    after(() => fixture.close());

    it("goes on where it was, under the same id and with all verbs", async () => {
      const id = await fixture.running((spec) => {
        spec.mounts?.push({
          destination: "/var/data",
          type: "bind",
          source: fixture.directory,
          options: ["rbind"],
        });
      });
      const images = fixture.images("same");
      await fixture.ok("checkpoint", "--image-path", images, id);
      assert.equal((await fixture.state(id)).status, "stopped");
      assert.equal(statSync(images).mode & 0o777, 0o700);
      const pidFile = join(fixture.directory, "pid");
      await fixture.detached("restore", "--detach", "--image-path", images, "--pid-file", pidFile, id);
      const { status, pid } = await fixture.state(id);
      assert.deepEqual([status, Number(readFileSync(pidFile, "utf8"))], ["running", pid]);
      await fixture.untilAbove(id, await fixture.count(id));
      assert.match(await fixture.ok("exec", id, "ls", "/var/data"), /^bundle$/m);
      assert.match(await fixture.ok("ps", id), /while :/);
      assert.match(readFileSync(`/proc/${pid}/cgroup`, "utf8"), new RegExp(`/cricket-oci/${id}$`, "m"));
      await fixture.ok("kill", id, "KILL");
      while ((await fixture.state(id)).status !== "stopped");
      await fixture.ok("delete", id);
    });

    it("leaves it running, and restores beside it under another id and in cgroups of its own", async () => {
      const id = await fixture.running();
      const images = fixture.images("other");
      await fixture.ok("checkpoint", "--leave-running", "--image-path", images, id);
      assert.equal((await fixture.state(id)).status, "running");
      const copy = fixture.newId();
      await fixture.detached("restore", "-d", "--image-path", images, copy);
      await fixture.untilAbove(copy, await fixture.count(copy));
      const { pid } = await fixture.state(copy);
      const cgroups = readFileSync(`/proc/${pid}/cgroup`, "utf8");
      assert.match(cgroups, new RegExp(`/cricket-oci/${copy}$`, "m"));
      assert.doesNotMatch(cgroups, new RegExp(`/${id}$`, "m"));
      for (const each of [id, copy]) await fixture.ok("delete", "--force", each);
    });

    it("in the foreground it has the caller's output, passes signals on and is deleted at its end", async () => {
      const id = fixture.newId();
      fixture.write([
        "sh",
        "-c",
        "trap 'echo bye; exit 7' TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done",
      ]);
      const images = fixture.images("front");
      const output = join(fixture.directory, "front.out");
      const lines = (): string[] => (existsSync(output) ? readFileSync(output, "utf8").split("\n") : []);
      const grown = async (of: ChildProcess): Promise<void> => {
        const before = lines().length;
        while (lines().length <= before + 2) {
          assert.equal(of.exitCode, null, lines().join("\n"));
          await sleep(10);
        }
      };
      const first = fixture.startToFile(output, "run", id);
      await grown(first);
      const ended = new Promise((resolve) => first.on("exit", resolve));
      await fixture.ok("checkpoint", "--image-path", images, id);
      assert.equal(await ended, 137);
      const second = fixture.startToFile(output, "restore", "--image-path", images, id);
      await grown(second);
      second.kill("SIGTERM");
      const status = await new Promise((resolve) => second.on("exit", resolve));
      const text = readFileSync(output, "utf8");
      assert.equal(status, 7, text);
      const numbers = lines().slice(0, -2);
      assert.deepEqual(
        numbers,
        numbers.map((_line, index) => `${index + 1}`),
      );
      assert.match(text, /\nbye\n$/);
      assert.match(failed(await fixture.run(["state", id])), /does not exist/);
    });

    it("joins the network namespace that the spec names, before and after", async () => {
      const holder = spawn("unshare", ["--net", "sleep", "1000"], { stdio: "ignore" });
      try {
        const path = `/proc/${holder.pid}/ns/net`;
        while (readlinkSync(path) === readlinkSync("/proc/self/ns/net")) await sleep(5);
        const id = await fixture.running(({ linux = {} }) => {
          for (const item of linux.namespaces ?? []) if (item.type === "network") item.path = path;
        });
        const images = fixture.images("joined");
        await fixture.ok("checkpoint", "--image-path", images, id);
        await fixture.detached("restore", "-d", "--image-path", images, id);
        const { pid } = await fixture.state(id);
        assert.equal(readlinkSync(`/proc/${pid}/ns/net`), readlinkSync(path));
        await fixture.untilAbove(id, await fixture.count(id));
        await fixture.ok("delete", "--force", id);
      } finally {
        holder.kill("SIGKILL");
      }
    });

    it("of a container with a user namespace", async () => {
      const id = fixture.newId();
      fixture.write(counting, (spec) => {
        withTmp(spec);
        const map = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
        Object.assign(spec.linux ?? {}, { uidMappings: map, gidMappings: map });
        spec.linux?.namespaces?.push({ type: "user" });
      });
      const first = fixture.pipe("run", "-d", id);
      await fixture.untilAbove(id, 2);
      const images = fixture.images("user");
      await fixture.ok("checkpoint", "--image-path", images, id);
      await first;
      const second = fixture.pipe("restore", "-d", "--image-path", images, id);
      await fixture.untilAbove(id, 2);
      const { pid } = await fixture.state(id);
      assert.match(readFileSync(`/proc/${pid}/uid_map`, "utf8"), /^ +0 +100000 +65536\n$/);
      await fixture.untilAbove(id, await fixture.count(id));
      assert.equal(statSync(images).mode & 0o777, 0o700);
      await fixture.ok("delete", "--force", id);
      await second;
    });

    it("goes on writing into the caller's pipe", async () => {
      const id = fixture.newId();
      fixture.write(counting, withTmp);
      const images = fixture.images("piped");
      const first = fixture.pipe("run", "-d", id);
      await fixture.untilAbove(id, 2);
      await fixture.ok("checkpoint", "--image-path", images, id);
      await first;
      const second = fixture.pipe("restore", "-d", "--image-path", images, id);
      await fixture.untilAbove(id, 2);
      await fixture.untilAbove(id, await fixture.count(id));
      await fixture.ok("delete", "--force", id);
      await second;
      const [line = "0"] = readFileSync(fixture.piped, "utf8").split("\n");
      assert.ok(Number(line) > 2, line);
    });

    it("takes memory ahead with --pre-dump, and the rest with --parent-path", async (test) => {
      if (!hasMemoryTracking()) return test.skip("needs a kernel with CONFIG_MEM_SOFT_DIRTY");
      const id = await fixture.running();
      await fixture.ok("checkpoint", "--pre-dump", "--image-path", fixture.images("pre"), id);
      assert.equal((await fixture.state(id)).status, "running");
      await fixture.ok("checkpoint", "--parent-path", "../pre", "--image-path", fixture.images("post"), id);
      await fixture.detached("restore", "-d", "--image-path", fixture.images("post"), id);
      await fixture.untilAbove(id, await fixture.count(id));
      await fixture.ok("delete", "--force", id);
    });

    it("with a terminal, whose master goes to --console-socket, and hooks before it goes on", async () => {
      const id = fixture.newId();
      const ran = fixture.images("hook");
      fixture.write(["sh", "-c", "while read -r line; do echo got $line; done"], (spec) => {
        if (spec.process !== undefined) spec.process.terminal = true;
        const hook = { path: "/bin/sh", args: ["sh", "-c", `echo ran >> ${ran}`] };
        spec.hooks = { createRuntime: [hook] };
      });
      const socket = join(fixture.directory, "tty.sock");
      const first = receiveTerminal(socket);
      await fixture.ok("run", "--detach", "--console-socket", socket, id);
      const before = await first;
      const images = fixture.images("terminal");
      await fixture.ok("checkpoint", "--image-path", images, id);
      closeSync(before);
      assert.match(
        failed(await fixture.run(["restore", "-d", "--image-path", images, id])),
        /needs --console-socket/,
      );
      const again = receiveTerminal(socket);
      await fixture.ok("restore", "-d", "--console-socket", socket, "--image-path", images, id);
      const master = await again;
      writeSync(master, "hello\n");
      let text = "";
      const output = createReadStream("", { fd: master });
      await new Promise<void>((resolve) =>
        output.on("data", (chunk: Buffer | string) => {
          text += chunk.toString();
          if (text.includes("got hello")) resolve();
        }),
      );
      output.on("error", () => {});
      assert.equal(readFileSync(ran, "utf8"), "ran\nran\n");
      await fixture.ok("delete", "--force", id);
      output.destroy();
    });

    it("what criu refuses at a restore leaves nothing", async () => {
      const id = await fixture.running();
      const images = fixture.images("broken");
      await fixture.ok("checkpoint", "--image-path", images, id);
      await fixture.ok("delete", id);
      const core = readdirSync(images).find((name) => name.startsWith("core-"));
      writeFileSync(join(images, core ?? ""), "no image");
      const complaint = failed(await fixture.run(["restore", "-d", "--image-path", images, id]));
      assert.match(complaint, /restore failed: criu restore failed: Error \(criu.*restore\.log/);
      assert.match(failed(await fixture.run(["state", id])), /does not exist/);
      assert.ok(!existsSync(`/sys/fs/cgroup/memory/cricket-oci/${id}`));
    });
  },
);

describe(
  "cricket oci checkpoint without a criu that works",
  requires("root", "package:busybox-static"),
  () => {
    const fixture = new Checkpoints();
    before(() => fixture.pretend("exit 1"));
    after(() => fixture.close());

    it("says so, and the container runs on", async () => {
      const id = await fixture.running();
      const images = fixture.images("failing");
      const complaint = failed(await fixture.run(["checkpoint", "--image-path", images, id]));
      assert.match(
        complaint,
        /checkpoint failed: criu dump failed: criu ended without an answer \(.*dump\.log\)/,
      );
      await fixture.untilAbove(id, await fixture.count(id));
      const again = failed(await fixture.run(["restore", "-d", "--image-path", images, id]));
      assert.match(again, /already exists/);
      await fixture.ok("delete", "--force", id);
      const restored = failed(await fixture.run(["restore", "-d", "--image-path", images, id]));
      assert.match(restored, /restore failed: criu restore failed: criu ended without an answer/);
      assert.match(failed(await fixture.run(["state", id])), /does not exist/);
    });

    it("follows no link to the images, and names what it does not do", async () => {
      const id = await fixture.running();
      symlinkSync(fixture.bundle, fixture.images("link"));
      const link = ["--image-path", fixture.images("link"), id];
      assert.match(
        failed(await fixture.run(["checkpoint", ...link])),
        /--image-path .*link: .*(ENOTDIR|ELOOP)/,
      );
      assert.match(failed(await fixture.run(["restore", "-d", ...link])), /(ENOTDIR|ELOOP)/);
      assert.match(
        failed(await fixture.run(["checkpoint", "--lazy-pages", id])),
        /--lazy-pages needs --page-server/,
      );
      await fixture.ok("pause", id);
      assert.match(failed(await fixture.run(["checkpoint", id])), /paused state/);
      await fixture.ok("delete", "--force", id);
    });
  },
);
