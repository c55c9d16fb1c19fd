// podman with the OCI command line as its runtime: cgroups by files, its storage in plain directories, no network.
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { startLeakCheck } from "../../support/leak-check.ts";
import { criuSkip } from "../../support/criu.ts";
import { requires } from "../../support/requires.ts";

const runtime = resolve(import.meta.dirname, "../../../dist/bin/cricket-oci");
const needs = requires("root", "package:busybox-static", "package:podman", "package:conmon");

interface Ended {
  status: number;
  stdout: string;
  stderr: string;
}

describe("podman with cricket as its runtime", needs, () => {
  const checkLeaks = startLeakCheck({ marks: ["libpod"] });
  const directory = mkdtempSync(join(tmpdir(), "cricket-podman-"));
  const options = [
    ...["root", "runroot", "tmpdir"].flatMap((name) => [`--${name}`, join(directory, name)]),
    "--storage-driver=vfs",
    "--cgroup-manager=cgroupfs",
    "--events-backend=file",
    `--runtime=${runtime}`,
  ];

  const podman = (...words: string[]): Promise<Ended> =>
    new Promise((done) => {
      const env = { ...process.env, PATH: `${join(directory, "programs")}:${process.env["PATH"]}` };
      execFile("podman", [...options, ...words], { timeout: 60_000, env }, (error, stdout, stderr) => {
        const status = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
        done({ status, stdout, stderr });
      });
    });
  const succeed = async (...words: string[]): Promise<string> => {
    const { status, stdout, stderr } = await podman(...words);
    assert.equal(status, 0, stderr);
    return stdout;
  };
  const run = (...words: string[]): Promise<Ended> => podman("run", "--rm", "--network=none", ...words);

  before(async () => {
    const programs = join(directory, "programs");
    mkdirSync(programs);
    const criu = process.env["CRICKET_TEST_CRIU"];
    if (criu !== undefined) symlinkSync(criu, join(programs, "criu"));
    const bin = join(directory, "rootfs/bin");
    mkdirSync(bin, { recursive: true });
    cpSync("/bin/busybox", join(bin, "busybox"), { dereference: true });
    const archive = join(directory, "rootfs.tar");
    execFileSync("tar", ["-C", join(directory, "rootfs"), "-cf", archive, "."]);
    await succeed("import", "-q", archive, "busybox");
  });
  after(async () => {
    await podman("rm", "--all", "--force", "--time=0");
    rmSync(directory, { recursive: true, force: true });
    await removeParents();
    await checkLeaks();
  });

  it("runs a container, with its output, input, exit status and limits", async () => {
    const script = "echo out; echo err >&2; exit 9";
    assert.deepEqual(await run("busybox", "/bin/busybox", "sh", "-c", script), {
      status: 9,
      stdout: "out\n",
      stderr: "err\n",
    });
    const limited = await run("--memory=64m", "--read-only", "busybox", "/bin/busybox", "touch", "/x");
    assert.match(limited.stderr, /Read-only file system/);
    const mapped = ["--uidmap=0:100000:1000", "--gidmap=0:100000:1000"];
    const { stdout } = await run(...mapped, "busybox", "/bin/busybox", "cat", "/proc/self/uid_map");
    assert.match(stdout, /^ +0 +100000 +1000$/m);
  });

  it("answers with 127 and 126 for what cannot be executed", async () => {
    assert.equal((await run("busybox", "/no/such")).status, 127);
    assert.equal((await run("busybox", "nosuch")).status, 127);
    assert.equal((await run("busybox", "/bin")).status, 126);
  });

  it("checkpoints a container and restores it, also from an archive", async (test) => {
    const { skip } = criuSkip();
    if (skip !== undefined) return test.skip(skip);
    const counting = "i=0; while :; do i=$((i+1)); echo $i; /bin/busybox sleep 0.02; done";
    const shell = ["/bin/busybox", "sh", "-c", counting];
    await succeed("run", "-d", "--name", "counts", "--network=none", "busybox", ...shell);
    const untilAbove = async (least: number): Promise<number> => {
      for (;;) {
        const last = Number((await succeed("logs", "--tail=1", "counts")).trim());
        if (last > least) return last;
      }
    };
    let last = await untilAbove(2);
    await succeed("container", "checkpoint", "counts");
    await succeed("container", "restore", "counts");
    last = await untilAbove(last + 2);
    const archive = join(directory, "counts.tar.gz");
    await succeed("container", "checkpoint", "--export", archive, "counts");
    await succeed("rm", "--force", "counts");
    await succeed("container", "restore", "--import", archive);
    await untilAbove(last);
    await succeed("rm", "--force", "--time=0", "counts");
  });

  it("execs in a container, pauses, measures, stops and removes it", async () => {
    await succeed("run", "-d", "--name=c1", "--network=none", "busybox", "/bin/busybox", "sleep", "1000");
    assert.equal(await succeed("exec", "c1", "/bin/busybox", "echo", "from exec"), "from exec\n");
    assert.equal((await podman("exec", "c1", "/bin/busybox", "sh", "-c", "exit 5")).status, 5);
    assert.equal((await podman("exec", "c1", "/no/such")).status, 127);
    assert.equal(await succeed("exec", "-t", "c1", "/bin/busybox", "tty"), "/dev/pts/0\r\n");
    await succeed("exec", "-d", "c1", "/bin/busybox", "sleep", "2000");
    assert.match(await succeed("top", "c1", "args"), /sleep 2000/);
    await succeed("pause", "c1");
    assert.equal(await succeed("inspect", "--format={{.State.Status}}", "c1"), "paused\n");
    await succeed("unpause", "c1");
    assert.match(await succeed("stats", "--no-stream", "--format={{.PIDs}}", "c1"), /^2$/m);
    await succeed("stop", "--time=0", "c1");
    assert.match(
      await succeed("inspect", "--format={{.State.Status}} {{.State.ExitCode}}", "c1"),
      /exited 137/,
    );
    await succeed("start", "c1");
    assert.equal(await succeed("exec", "c1", "/bin/busybox", "echo", "again"), "again\n");
    await succeed("rm", "--force", "--time=0", "c1");
    assert.equal(await succeed("ps", "--all", "--quiet"), "");
  });
});

/** podman keeps its cgroup for all containers, with what conmon was in until a moment ago. */
async function removeParents(): Promise<void> {
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const [, mountPoint] = /^\S+ \S+ \S+ \S+ (\S+) .* - cgroup2? /.exec(line) ?? [];
    if (mountPoint !== undefined) await removeCgroup(join(mountPoint, "libpod_parent"));
  }
}

async function removeCgroup(directory: string): Promise<void> {
  for (let attempt = 1; existsSync(directory); attempt++) {
    try {
      const entries = readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isDirectory());
      for (const { name } of entries) rmdirSync(join(directory, name));
      rmdirSync(directory);
    } catch (error) {
      if (attempt === 100) throw error;
      await delay(50);
    }
  }
}
