// The verbs of the command line against the kernel: what engines and people see of a container's life.
import assert from "node:assert/strict";
import { existsSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { CgroupManager } from "../../../src/linux/cgroup/cgroup-manager.ts";
import { requires } from "../../support/requires.ts";
import { OciFixture } from "./oci-fixture.ts";

interface State {
  pid: number;
  status: string;
  bundle: string;
}

describe("cricket oci", requires("root", "package:busybox-static"), () => {
  const fixture = new OciFixture();
  after(() => fixture.close());

  const ok = async (...words: string[]): Promise<string> => {
    const { status, stdout, stderr } = await fixture.run(words);
    assert.equal(status, 0, `${words.join(" ")}: ${stderr}`);
    return stdout;
  };
  const fails = async (...words: string[]): Promise<string> => {
    const { status, stderr } = await fixture.run(words);
    assert.equal(status, words[0] === "exec" ? 255 : 1, words.join(" "));
    return stderr;
  };
  const stateOf = async (id: string): Promise<State> => JSON.parse(await ok("state", id)) as State;
  const untilStopped = async (id: string): Promise<void> => {
    while ((await stateOf(id)).status !== "stopped");
  };

  it("`run` passes stdio through and ends with the program's status", async () => {
    const id = fixture.newId();
    fixture.write(["sh", "-c", "cat; echo complaint >&2; exit 3"]);
    const { status, stdout, stderr } = await fixture.run(["run", id], "input\n");
    assert.deepEqual({ status, stdout, stderr }, { status: 3, stdout: "input\n", stderr: "complaint\n" });
    assert.match(await fails("state", id), /container does not exist/);
  });

  it("`create` and `run` report a program that is not there and leave nothing", async () => {
    const id = fixture.newId();
    const programs: [name: string, message: RegExp][] = [
      ["nosuch", /exec: \\"nosuch\\": executable file not found in \$PATH/],
      ["/no/such", /exec: \\"\/no\/such\\": stat \/no\/such: no such file or directory/],
      ["/bin", /exec: \\"\/bin\\": permission denied/],
    ];
    for (const [name, message] of programs)
      for (const verb of ["create", "run"]) {
        // Before and behind a filter, as root and as the container's user.
        for (const noNewPrivileges of [true, false]) {
          fixture.write([name], ({ process, linux = {} }) => {
            Object.assign(process ?? {}, { noNewPrivileges });
            Object.assign(linux, { seccomp: { defaultAction: "SCMP_ACT_ALLOW" } });
          });
          assert.match(await fails(verb, id), message);
          assert.match(await fails("state", id), /container does not exist/);
        }
      }
  });

  it("`run` ends as a killed program does when the signal it passes on kills it", async () => {
    const id = fixture.newId();
    fixture.write(["sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.01; done"]);
    const child = fixture.start("run", id);
    const status = await new Promise((resolve) => {
      child.stdout?.once("data", () => child.kill("SIGTERM"));
      child.on("exit", resolve);
    });
    assert.equal(status, 9);
  });

  it("leads a container from created to deleted", async () => {
    const id = fixture.newId();
    const pidFile = join(fixture.directory, "pid");
    fixture.write(["sleep", "1000"]);
    await ok("create", "--pid-file", pidFile, id);
    const created = await stateOf(id);
    assert.deepEqual([created.status, created.bundle], ["created", fixture.bundle]);
    assert.equal(Number(readFileSync(pidFile, "utf8")), created.pid);
    assert.match(readFileSync(`/proc/${created.pid}/cmdline`, "utf8"), /cricket-init/);
    assert.match(await fails("create", id), /already exists/);
    await ok("start", id);
    assert.equal((await stateOf(id)).status, "running");
    assert.equal(readFileSync(`/proc/${created.pid}/cmdline`, "utf8"), "sleep\u00001000\u0000");
    assert.match(await fails("start", id), /already running/);
    assert.match(
      await ok("list"),
      new RegExp(`^ID +PID +STATUS +BUNDLE +CREATED +OWNER\n.*${id} +${created.pid} +running`, "s"),
    );
    assert.match(await ok("ps", id), /UID +PID.*\n.*sleep 1000\n$/);
    assert.deepEqual(JSON.parse(await ok("ps", "--format", "json", id)), [created.pid]);
    assert.match(await fails("delete", id), /not stopped: running/);
    await ok("kill", id, "0");
    await ok("kill", id, "KILL");
    await untilStopped(id);
    assert.match(await fails("kill", id, "TERM"), /container not running/);
    assert.match(await fails("exec", id, "true"), /stopped/);
    await ok("delete", id);
    assert.match(await fails("delete", id), /does not exist/);
    await ok("delete", "--force", id);
  });

  it("deletes a container that was never started", async () => {
    const id = fixture.newId();
    fixture.write(["true"]);
    await ok("create", id);
    const { pid } = await stateOf(id);
    await ok("delete", id);
    // Its parent is not ours: it may take a while to be reaped.
    assert.ok(!existsSync(`/proc/${pid}`) || /State:\tZ/.test(readFileSync(`/proc/${pid}/status`, "utf8")));
  });

  it("`exec` is in all namespaces of the container", async () => {
    const id = fixture.newId();
    fixture.write(["sleep", "1000"]);
    await ok("run", "--detach", id);
    const { pid } = await stateOf(id);
    const types = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
    const script = types.map((type) => `readlink /proc/self/ns/${type}`).join("; ");
    const inside = (await ok("exec", id, "sh", "-c", script)).trim().split("\n");
    assert.deepEqual(
      inside,
      types.map((type) => readlinkSync(`/proc/${pid}/ns/${type}`)),
    );
    await ok("delete", "--force", id);
  });

  it("`exec` takes directory, environment, user and process.json, and ends with the program's status", async () => {
    const id = fixture.newId();
    fixture.write(["sleep", "1000"]);
    await ok("run", "-d", id);
    const script = 'echo "$A $PWD"; id -u; id -g';
    assert.equal(
      await ok("exec", "--cwd", "/bin", "-e", "A=b", "--user", "7:8", id, "sh", "-c", script),
      "b /bin\n7\n8\n",
    );
    assert.equal((await fixture.run(["exec", id, "sh", "-c", "exit 42"])).status, 42);
    assert.match(await fails("exec", id, "nosuch"), /executable file not found/);
    assert.match(
      await fails("exec", "--cwd", "/nowhere", id, "true"),
      /chdir to cwd \(\\"\/nowhere\\"\) set in config\.json failed: no such file or directory/,
    );
    const file = join(fixture.directory, "process.json");
    writeFileSync(
      file,
      JSON.stringify({ cwd: "/", args: ["/bin/echo", "from", "file"], user: { uid: 0, gid: 0 } }),
    );
    assert.equal(await ok("exec", "--process", file, id), "from file\n");
    await ok("delete", "-f", id);
  });

  it("`exec --cgroup` runs in a cgroup below the container's", async () => {
    const id = fixture.newId();
    fixture.write(["sleep", "1000"]);
    await ok("run", "-d", id);
    const cgroups = new CgroupManager();
    const path = `/cricket-oci/${id}`;
    cgroups.create(`${path}/below`);
    const [pid = 0] = cgroups.pids(path);
    const child = fixture.start("exec", "--cgroup", "/below", id, "sh", "-c", "echo; exec sleep 1000");
    const ended = new Promise((resolve) => child.on("exit", resolve));
    await new Promise((resolve) => child.stdout?.once("data", resolve));
    assert.deepEqual(
      cgroups.pids(`${path}/below`).map((member) => member === pid),
      [false],
    );
    assert.match(await fails("exec", "--cgroup", "/nowhere", id, "true"), /nowhere.*ENOENT/);
    const v1 = cgroups.layout.v1[0];
    const [controller = "none"] = v1?.controllers ?? [];
    if (v1 !== undefined) {
      const seen = await ok("exec", "--cgroup", `${controller}:below`, id, "cat", "/proc/self/cgroup");
      const lines = seen.split("\n").filter((line) => line.endsWith("/below"));
      assert.equal(lines.length, 1, seen);
      assert.match(lines[0] ?? "", new RegExp(`[:,]${controller}[:,]`));
    }
    assert.match(await fails("exec", "--cgroup", "none:below", id, "true"), /has the controller .*none/);
    await ok("delete", "-f", id);
    assert.equal(await ended, 137);
  });

  it("a `start` that was killed before it could clear the gate away has started the container", async () => {
    const id = fixture.newId();
    fixture.write(["sleep", "1000"]);
    await ok("create", id);
    assert.equal((await stateOf(id)).status, "created");
    await ok("start", id);
    writeFileSync(join(fixture.directory, "state", id, "gate.sock"), "");
    assert.equal((await stateOf(id)).status, "running");
    assert.match(await fails("start", id), /already running/);
    assert.match(await fails("delete", id), /not stopped/);
    await ok("delete", "-f", id);
  });

  it("pauses, refuses to exec meanwhile, and resumes", async () => {
    const id = fixture.newId();
    fixture.write(["sleep", "1000"]);
    await ok("run", "-d", id);
    await ok("pause", id);
    assert.equal((await stateOf(id)).status, "paused");
    assert.match(await fails("exec", id, "true"), /paused/);
    await ok("resume", id);
    assert.equal((await stateOf(id)).status, "running");
    assert.match(await fails("resume", id), /not paused/);
    await ok("pause", id);
    // The freezer of cgroup v1 keeps also those that are to die.
    await ok("kill", id, "KILL");
    await untilStopped(id);
    await ok("delete", id);
  });

  it("`update` changes limits, and `events --stats` shows them", async () => {
    const id = fixture.newId();
    fixture.write(["sleep", "1000"]);
    await ok("run", "-d", id);
    const file = join(fixture.directory, "resources.json");
    writeFileSync(file, JSON.stringify({ memory: { limit: 64 << 20 }, pids: { limit: 55 } }));
    await ok("update", "--resources", file, id);
    const stats = JSON.parse(await ok("events", "--stats", id)) as {
      data: {
        cpu: { usage: { total: number } };
        memory: { usage: { limit: number; usage: number }; raw: Record<string, number> };
        pids: { limit: number; current: number };
      };
    };
    const { cpu, memory, pids } = stats.data;
    assert.equal(memory.usage.limit, 64 << 20);
    assert.deepEqual(pids, { current: 1, limit: 55 });
    assert.ok(cpu.usage.total > 0 && memory.usage.usage > 0 && Object.keys(memory.raw).length > 10);
    await ok("delete", "-f", id);
  });

  it("`events` tells of the OOM killer, and ends with the container", async () => {
    const id = fixture.newId();
    fixture.write(["sh", "-c", "read -r line; probe memory 200"], (spec) => {
      spec.linux = { ...spec.linux, resources: { memory: { limit: 24n << 20n } } };
    });
    await ok("create", id);
    const events = fixture.start("events", "--interval", "1m", id);
    let text = "";
    const first = new Promise((resolve) => events.stdout?.once("data", resolve));
    events.stdout?.on("data", (chunk: Buffer) => (text += chunk.toString()));
    const ended = new Promise((resolve) => events.on("close", resolve));
    await first;
    await ok("start", id);
    assert.equal(await ended, 0);
    const types = text
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { type: string }).type);
    assert.deepEqual(types, ["stats", "oom"]);
    await ok("delete", id);
  });

  it("without a pid namespace it sees the processes of the host", async () => {
    const id = fixture.newId();
    fixture.write(["sh", "-c", "ls /proc"], (spec) => {
      const namespaces = spec.linux?.namespaces?.filter(({ type }) => type !== "pid") ?? [];
      spec.linux = { ...spec.linux, namespaces };
    });
    assert.ok((await ok("run", id)).split("\n").includes(String(process.pid)));
  });

  it("with --no-pivot sees the root of its bundle, and of the host's mounts none", async () => {
    const look = "ls /; cut -d' ' -f5 /proc/self/mountinfo | sort; ls /proc/1/root/";
    fixture.write(["sh", "-c", look]);
    const pivoted = await ok("run", fixture.newId());
    const moved = await ok("run", "--no-pivot", fixture.newId());
    assert.equal(moved, pivoted);
  });

  // CVE-2019-19921 and what came after it rest on masks, which a whole proc elsewhere in the namespace would undo.
  it("with --no-pivot leaves no whole proc behind for a user namespace to mount anew", async () => {
    const id = fixture.newId();
    fixture.write(
      ["sh", "-c", "unshare -Urmpf mount -t proc proc /tmp 2>&1 && echo mounted; true"],
      (spec) => {
        spec.linux = { ...spec.linux, maskedPaths: ["/proc/kcore"] };
      },
    );
    assert.doesNotMatch(await ok("run", "--no-pivot", id), /^mounted$/m);
  });

  it("with --no-pivot can be executed in", async () => {
    const id = fixture.newId();
    fixture.write(["sleep", "1000"]);
    await ok("run", "--no-pivot", "-d", id);
    assert.equal(await ok("exec", id, "readlink", "/proc/self/root"), await ok("exec", id, "echo", "/"));
    assert.match(await ok("exec", id, "sh", "-c", "cd /; ls"), /^bin$/m);
    await ok("delete", "--force", id);
  });

  it("writes errors into --log in the form engines read", async () => {
    const log = join(fixture.directory, "log.json");
    const { status } = await fixture.run(["--log", log, "--log-format", "json", "start", "nosuch"]);
    assert.equal(status, 1);
    const { level, msg } = JSON.parse(readFileSync(log, "utf8")) as Record<string, string>;
    assert.deepEqual({ level, msg }, { level: "error", msg: "container does not exist" });
    assert.match(await fails("--log-format", "xml", "list"), /invalid log-format: xml/);
    assert.match(await fails("--log", "/nowhere/log", "list"), /--log: .*ENOENT/);
  });

  it("writes every step of a launch into --log with --debug", async () => {
    const id = fixture.newId();
    const log = join(fixture.directory, "debug.log");
    fixture.write(["true"]);
    await ok("--debug", "--log", log, "run", id);
    const lines = readFileSync(log, "utf8").split("\n");
    const steps = lines.filter((line) => line.includes("level=debug"));
    assert.match(steps[0] ?? "", /msg="step 1 of \d+: fork /);
    assert.match(steps.at(-1) ?? "", /msg="step (\d+) of \1: exec \\"true\\",/);
  });
});
