// Runtime handlers: pods whose containers another OCI runtime makes, and handlers that cannot work.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { RpcError } from "../../cri-api/client.ts";
import { toInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { startNode, untilExited, type TestNode } from "../support/node.ts";
import { requires } from "../support/requires.ts";
import { testExternalRuntime } from "../support/external-runtime-tests.ts";

const needs = requires("root", "overlay", "package:busybox-static", "package:runc", "package:criu");

testExternalRuntime({ handler: "runc", path: "/usr/sbin/runc", recursiveReadOnlyMounts: true }, needs);

describe("runtime handlers that do not work", needs, () => {
  let node: TestNode;
  let directory: string;
  let settings: Record<string, string | number>;

  /** A stand-in for a runtime: what it does for each verb is a line of shell. */
  const script = (name: string, text: string): string => {
    const file = path.join(directory, name);
    fs.writeFileSync(file, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    return file;
  };

  before(async () => {
    directory = fs.mkdtempSync("/tmp/cricket-runtimes-");
    fs.writeFileSync(path.join(directory, "garbage"), "\x7fELF this is no program", { mode: 0o755 });
    let scripts = 0;
    // Fails or hangs at one verb, and is runc at all others.
    const failing = (verb: string, then: string): string =>
      script(
        `${verb}-${scripts++}`,
        `case " $* " in *" ${verb} "*) ${then};; esac\nexec /usr/sbin/runc "$@"`,
      );
    settings = {
      "runtimes.missing.path": "/no/such/runtime",
      "runtimes.garbage.path": path.join(directory, "garbage"),
      "runtimes.lies.path": script("lies", "echo 1 >pid; exit 0"),
      "runtimes.hangs.path": failing("create", "sleep 1000 & sleep 1000"),
      "runtimes.hangs.timeout_ms": 1500,
      "runtimes.nostart.path": failing("start", "sleep 1000"),
      "runtimes.nostart.timeout_ms": 1500,
      "runtimes.noexec.path": failing("exec", "sleep 1000"),
      "runtimes.noexec.timeout_ms": 1500,
      "runtimes.nodelete.path": failing("delete", "echo broken >&2; exit 1"),
      "runtimes.nokill.path": failing("kill", "sleep 1000"),
      "runtimes.gone.path": "/usr/sbin/runc",
      // criu itself needs more of the kernel than test machines have.
      "runtimes.images.path": failing(
        "checkpoint",
        'for w in "$@"; do [ "$p" = --image-path ] && echo pages >"$w/pages-1.img"; p=$w; done; exit 0',
      ),
      "runtimes.noimages.path": failing("checkpoint", "echo 'criu failed: type NOTIFY errno 0' >&2; exit 1"),
      "runtimes.alias.type": "embedded",
    };
    node = await startNode({ settings });
  });
  after(async () => {
    await node.close();
    fs.rmSync(directory, { recursive: true, force: true });
  });

  const fails = (pattern: RegExp, code?: string) => (error: unknown) => {
    assert.ok(error instanceof RpcError, String(error));
    assert.match(error.message, pattern);
    if (code !== undefined) assert.equal(error.status, code);
    return true;
  };
  const assertNothingLeft = (): void => {
    for (const name of ["mounts", "containers"])
      assert.deepEqual(fs.readdirSync(path.join(node.daemon.runRoot, name)), []);
  };

  test("one that is not configured is refused before anything is made", async () => {
    const config = node.podConfig("unknown");
    const run = node.runtime.runPodSandbox({ config, runtimeHandler: "unknown" });
    await assert.rejects(run, fails(/runtime handler "unknown" is not configured/, "INVALID_ARGUMENT"));
    assert.deepEqual((await node.runtime.listPodSandbox({})).items, []);
    assert.deepEqual(fs.readdirSync(path.join(node.daemon.runRoot, "sandboxes")), []);
  });

  test("a pod with a user namespace is refused before anything is made", async () => {
    const { POD, CONTAINER } = v1.NamespaceMode;
    const map = [{ hostId: 1_000_000, containerId: 0, length: 65_536 }];
    const usernsOptions = { mode: POD, uids: map, gids: map };
    const namespaceOptions = { network: POD, pid: CONTAINER, ipc: POD, usernsOptions };
    const more = { linux: { securityContext: { namespaceOptions } } };
    await assert.rejects(
      node.runPod("userns", { runtimeHandler: "nodelete", more }),
      fails(/the runtime handler "nodelete" has no user namespaces/, "FAILED_PRECONDITION"),
    );
    assert.deepEqual(fs.readdirSync(path.join(node.daemon.runRoot, "sandboxes")), []);
  });

  const creations: [handler: string, pattern: RegExp, code: string][] = [
    ["missing", /runtime missing: create: execve \/no\/such\/runtime: ENOENT/, "FAILED_PRECONDITION"],
    ["garbage", /runtime garbage: create: execve .*garbage: ENOEXEC/, "FAILED_PRECONDITION"],
    ["lies", /runtime lies: create: take over the runtime's process: E/, "INTERNAL"],
    ["hangs", /runtime hangs: create: the runtime did not end in time/, "DEADLINE_EXCEEDED"],
  ];
  for (const [handler, pattern, code] of creations) {
    test(`${handler}: no container is made, the error says why, and the pod can be removed`, async () => {
      const pod = await node.runPod(handler, { runtimeHandler: handler });
      await assert.rejects(pod.create({ name: "main", command: ["sleep", "1000"] }), fails(pattern, code));
      assertNothingLeft();
      await pod.remove();
    });
  }

  test("what the runtime says is in the error", async () => {
    const pod = await node.runPod("words", { runtimeHandler: "nodelete" });
    const create = pod.create({ name: "main", command: ["/no/such/program"] });
    await assert.rejects(create, fails(/runtime nodelete: create: .*exec: "\/no\/such\/program"/));
    assertNothingLeft();
    await pod.remove();
  });

  test("a start that hangs ends the container", async () => {
    const pod = await node.runPod("nostart", { runtimeHandler: "nostart" });
    const containerId = await pod.create({ name: "main", command: ["sleep", "1000"] });
    const start = node.runtime.startContainer({ containerId });
    await assert.rejects(start, fails(/runtime nostart: start: no end after 1500 ms/, "DEADLINE_EXCEEDED"));
    const { exitCode, reason } = await untilExited(node, containerId);
    assert.deepEqual({ exitCode, reason }, { exitCode: 128, reason: "StartError" });
    await pod.remove();
  });

  test("an exec that hangs in the runtime ends, with and without a time-out of its own", async () => {
    const pod = await node.runPod("noexec", { runtimeHandler: "noexec" });
    const containerId = await pod.start({ name: "main", command: ["sleep", "1000"] });
    const exec = (seconds: bigint) =>
      node.runtime.execSync({ containerId, cmd: ["true"], timeout: toInt64(seconds) });
    await assert.rejects(
      exec(0n),
      fails(/runtime noexec: exec: the runtime did not end in time/, "INTERNAL"),
    );
    await assert.rejects(exec(1n), fails(/no end after 1000 ms/, "DEADLINE_EXCEEDED"));
    await pod.remove();
  });

  test("a container is removed also when its runtime cannot", async () => {
    const pod = await node.runPod("nodelete", { runtimeHandler: "nodelete" });
    const containerId = await pod.start({ name: "main", command: ["sleep", "1000"] });
    await node.runtime.stopContainer({ containerId, timeout: toInt64(0n) });
    await node.runtime.removeContainer({ containerId });
    assertNothingLeft();
    assert.deepEqual(fs.readdirSync(path.join(node.daemon.runRoot, "runtimes/nodelete")), []);
    assert.match(node.daemon.log(), /runtime failed.*runtime nodelete: delete: broken/);
    await pod.remove();
  });

  test("a kill that hangs in the runtime does not keep a container from being stopped", async () => {
    const pod = await node.runPod("nokill", { runtimeHandler: "nokill" });
    const containerId = await pod.start({ name: "main", command: ["sleep", "1000"] });
    await node.runtime.stopContainer({ containerId, timeout: toInt64(1n) });
    assert.equal((await untilExited(node, containerId)).exitCode, 137);
    await pod.remove();
  });

  test("containers of a handler that is not configured any more can be stopped and removed", async () => {
    const pod = await node.runPod("gone", { runtimeHandler: "gone" });
    const containerId = await pod.start({ name: "main", command: ["sleep", "1000"] });
    await node.daemon.stop();
    delete settings["runtimes.gone.path"];
    await node.daemon.start();
    const exec = node.runtime.execSync({ containerId, cmd: ["true"], timeout: toInt64(9n) });
    await assert.rejects(exec, fails(/runtime handler "gone" is not configured any more/));
    await node.runtime.stopContainer({ containerId, timeout: toInt64(1n) });
    await node.runtime.removeContainer({ containerId });
    assertNothingLeft();
    assert.deepEqual(fs.readdirSync(path.join(node.daemon.runRoot, "runtimes/gone")), []);
    await pod.remove();
  });

  test("a checkpoint: the archive has what restoring needs, and the container runs on", async () => {
    const pod = await node.runPod("images", { runtimeHandler: "images" });
    const containerId = await pod.start({
      name: "main",
      command: ["sh", "-c", "echo seen; exec sleep 1000"],
    });
    const touch = { containerId, cmd: ["sh", "-c", "echo new > /written; rm /bin/id"], timeout: toInt64(9n) };
    assert.equal((await node.runtime.execSync(touch)).exitCode, 0);
    const location = path.join(directory, "checkpoint.tar");
    // What is in the way, such as a link, is replaced and not written through.
    fs.symlinkSync("/etc/hostname", location);
    await node.runtime.checkpointContainer({ containerId, location, timeout: toInt64(60n) });
    assert.ok(fs.lstatSync(location).isFile());
    assert.equal(fs.statSync(location).mode & 0o777, 0o600);
    const unpacked = path.join(directory, "unpacked");
    fs.mkdirSync(unpacked);
    execFileSync("tar", ["-C", unpacked, "-xf", location]);
    const names = fs.readdirSync(unpacked).sort();
    const others = ["bind.mounts", "container.log", "deleted.files", "io.kubernetes.cri-o.LogPath"];
    assert.deepEqual(names, ["checkpoint", "config.dump", "rootfs-diff.tar", "spec.dump", ...others].sort());
    assert.equal(fs.readFileSync(path.join(unpacked, "checkpoint/pages-1.img"), "utf8"), "pages\n");
    const config = JSON.parse(fs.readFileSync(path.join(unpacked, "config.dump"), "utf8")) as object;
    assert.deepEqual(Object.entries(config).slice(0, 2), [
      ["id", containerId],
      ["name", "main"],
    ]);
    assert.match(fs.readFileSync(path.join(unpacked, "container.log"), "utf8"), / stdout F seen\n/);
    const diff = execFileSync("tar", ["-tvf", path.join(unpacked, "rootfs-diff.tar")], { encoding: "utf8" });
    assert.match(diff, /^-.* written$/m);
    assert.doesNotMatch(diff, /^c/m);
    const deleted = fs.readFileSync(path.join(unpacked, "deleted.files"), "utf8");
    assert.deepEqual(JSON.parse(deleted), ["/bin/id"]);
    const { stdout } = await node.runtime.execSync({
      containerId,
      cmd: ["echo", "on"],
      timeout: toInt64(9n),
    });
    assert.equal(Buffer.from(stdout).toString(), "on\n");
    await pod.remove();
  });

  test("a checkpoint that fails says why, leaves nothing, and the container runs on", async () => {
    const pod = await node.runPod("noimages", { runtimeHandler: "noimages" });
    const containerId = await pod.start({ name: "main", command: ["sleep", "1000"] });
    const places = path.join(directory, "failed");
    fs.mkdirSync(places);
    const checkpoint = (location: string) => node.runtime.checkpointContainer({ containerId, location });
    await assert.rejects(
      checkpoint(path.join(places, "checkpoint.tar")),
      fails(/runtime noimages: checkpoint: criu failed: type NOTIFY/, "INTERNAL"),
    );
    assert.deepEqual(fs.readdirSync(places), []);
    await assert.rejects(checkpoint("relative.tar"), fails(/location/, "INVALID_ARGUMENT"));
    const { stdout } = await node.runtime.execSync({
      containerId,
      cmd: ["echo", "on"],
      timeout: toInt64(9n),
    });
    assert.equal(Buffer.from(stdout).toString(), "on\n");
    await pod.remove();
  });

  test("another name of the embedded runtime runs pods as the default does", async () => {
    const pod = await node.runPod("alias", { runtimeHandler: "alias" });
    const containerId = await pod.start({ name: "main", command: ["sleep", "1000"] });
    assert.equal(fs.existsSync(path.join(node.daemon.runRoot, "runtimes/alias")), false);
    await node.runtime.removeContainer({ containerId });
    await pod.remove();
  });

  test("an environment that JSON cannot hold is refused", async () => {
    const pod = await node.runPod("bytes", { runtimeHandler: "nodelete" });
    const more = { envs: [{ key: "RAW", value: Uint8Array.of(0xff, 0xfe) }] };
    await assert.rejects(
      pod.create({ name: "main", more }),
      fails(/config\.envs.*not UTF-8/, "INVALID_ARGUMENT"),
    );
    assertNothingLeft();
    await pod.remove();
  });
});
