// The walk-throughs that people learn a runtime with, command by command.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, createReadStream, createWriteStream, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import type { Spec } from "../../../src/oci/spec.ts";
import { receiveTerminal } from "../../support/receive-terminal.ts";
import { startStaticRegistry } from "../../support/static-registry.ts";
import { buildImage, buildLayer, busyboxEntries } from "../../support/test-image.ts";
import { requires } from "../../support/requires.ts";
import { OciFixture } from "./oci-fixture.ts";

describe("walk-throughs of cricket oci", requires("root", "package:busybox-static"), () => {
  const fixture = new OciFixture();
  after(() => fixture.close());
  const { bundle } = fixture;
  const config = join(bundle, "config.json");

  /** `spec`, and an editor. */
  const edit = async (change: (spec: Spec) => void): Promise<void> => {
    rmSync(config, { force: true });
    await fixture.ok("spec", "--bundle", bundle);
    const spec = JSON.parse(readFileSync(config, "utf8")) as Spec;
    change(spec);
    writeFileSync(config, JSON.stringify(spec));
  };

  it("spec, create with a console socket, list, ps, start, a shell, pause, resume, events, exit, delete", async () => {
    const id = fixture.newId();
    const socket = join(fixture.directory, "tty.sock");
    await edit((spec) => void (spec.hostname = "learning"));
    const received = receiveTerminal(socket);
    await fixture.ok("create", "-b", bundle, "--console-socket", socket, id);
    const terminal = await received;
    let screen = "";
    const output = createReadStream("", { fd: terminal, autoClose: false });
    const ended = new Promise<void>((resolve) => output.on("error", () => resolve()));
    output.on("data", (chunk: Buffer | string) => (screen += chunk.toString()));
    const input = createWriteStream("", { fd: terminal, autoClose: false });
    const until = async (pattern: RegExp): Promise<void> => {
      while (!pattern.test(screen)) await new Promise((resolve) => setTimeout(resolve, 5));
    };

    assert.match(await fixture.ok("list"), new RegExp(`${id} +\\d+ +created +${bundle}`));
    assert.match(await fixture.ok("ps", id), /UID +PID/);
    await fixture.ok("start", id);
    input.write("echo $((6 * 7)) at $(hostname)\n");
    await until(/42 at learning/);
    assert.match(await fixture.ok("list"), new RegExp(`${id} +\\d+ +running`));
    assert.match(await fixture.ok("ps", id), / sh\n/);

    await fixture.ok("pause", id);
    assert.match(await fixture.ok("list"), new RegExp(`${id} +\\d+ +paused`));
    const before = screen;
    input.write("echo $((7 * 7)) later\n");
    await new Promise((resolve) => setTimeout(resolve, 100));
    // The line discipline is the kernel's and echoes; the shell itself is frozen.
    assert.ok(!screen.slice(before.length).includes("49 later"));
    await fixture.ok("resume", id);
    await until(/49 later/);

    const stats = JSON.parse(await fixture.ok("events", "--stats", id)) as { type: string; id: string };
    assert.deepEqual([stats.type, stats.id], ["stats", id]);
    input.write("exit 4\n");
    await ended;
    while (!(await fixture.ok("list")).includes("stopped"));
    await fixture.ok("delete", id);
    assert.equal(await fixture.ok("list", "--quiet"), "");
    closeSync(terminal);
  });

  it("run in a terminal passes what the container's terminal says through, byte by byte", async () => {
    await edit((spec) => {
      if (spec.process !== undefined) spec.process = { ...spec.process, args: ["echo", "drawn"] };
    });
    const command = fixture.argv("run", "--bundle", bundle, fixture.newId());
    const quoted = [process.execPath, ...command].map((word) => `'${word}'`).join(" ");
    // script(1) gives it a terminal, and shows what arrived there.
    const seen = execFileSync("script", ["-qefc", quoted, "/dev/null"], { input: "" }).toString();
    assert.match(seen, /drawn\r\n/);
  });

  it("run with other arguments prints what they say", async () => {
    await edit((spec) => {
      if (spec.process !== undefined)
        spec.process = { ...spec.process, terminal: false, args: ["echo", "hello"] };
    });
    assert.equal(await fixture.ok("run", "--bundle", bundle, fixture.newId()), "hello\n");
  });

  it("run without the pid namespace lists the processes of the host", async () => {
    await edit((spec) => {
      if (spec.process !== undefined)
        spec.process = { ...spec.process, terminal: false, args: ["ps", "-o", "pid,comm"] };
      spec.linux = {
        ...spec.linux,
        namespaces: spec.linux?.namespaces?.filter(({ type }) => type !== "pid") ?? [],
      };
    });
    const lines = (await fixture.ok("run", "-b", bundle, fixture.newId())).split("\n");
    const pids = lines.map((line) => Number(line.trim().split(/\s+/)[0]));
    assert.ok(pids.includes(1) && pids.includes(process.pid));
  });

  it("unpack makes a bundle of an image, which then runs as the image says", async () => {
    const registry = await startStaticRegistry();
    try {
      const layers = [
        await buildLayer(busyboxEntries()),
        await buildLayer([
          { name: "srv", type: "directory", mode: 0o750, uid: 33, gid: 33 },
          { name: "srv/greeting", content: "of the image\n" },
        ]),
      ];
      const image = buildImage(layers, {
        config: {
          Entrypoint: ["/bin/sh", "-c"],
          Cmd: ['cat greeting; id -u; id -g; echo "$WORD $HOME"; pwd; stat -c "%u %a" .'],
          Env: ["WORD=said", "PATH=/bin"],
          WorkingDir: "/srv",
          User: "www-data",
        },
      });
      const reference = registry.add("demo/app", "v1", image);
      const unpacked = join(fixture.directory, "unpacked");
      const registries = join(fixture.directory, "registries.conf");
      writeFileSync(registries, `[[registry]]\nlocation = "${registry.address}"\ninsecure = true\n`);
      const settings = join(fixture.directory, "cricket.toml");
      writeFileSync(settings, `[image]\nregistries_conf = "${registries}"\n`);
      await fixture.cli({ CRICKET_CONFIG: settings }, "unpack", reference, unpacked);
      const config = JSON.parse(readFileSync(join(unpacked, "config.json"), "utf8")) as Spec;
      assert.deepEqual(config.process?.user, { uid: 33, gid: 33 });
      writeFileSync(
        join(unpacked, "config.json"),
        JSON.stringify({ ...config, process: { ...config.process, terminal: false } }),
      );
      assert.equal(
        await fixture.ok("run", "--bundle", unpacked, fixture.newId()),
        "of the image\n33\n33\nsaid /var/www\n/srv\n33 750\n",
      );
    } finally {
      await registry.close();
    }
  });

  it("exec is where nsenter is that enters all namespaces", async () => {
    const id = fixture.newId();
    await edit((spec) => {
      if (spec.process !== undefined)
        spec.process = { ...spec.process, terminal: false, args: ["sleep", "1000"] };
    });
    await fixture.ok("run", "--detach", "--bundle", bundle, id);
    const { pid } = JSON.parse(await fixture.ok("state", id)) as { pid: number };
    const types = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
    const script = types.map((type) => `readlink /proc/self/ns/${type}`).join("; ");
    const entered = execFileSync("nsenter", ["--target", String(pid), "--all", "/bin/sh", "-c", script], {
      encoding: "utf8",
    });
    assert.equal(await fixture.ok("exec", id, "sh", "-c", script), entered);
    assert.equal(new Set(entered.trim().split("\n")).size, types.length);
    await fixture.ok("delete", "--force", id);
  });
});
