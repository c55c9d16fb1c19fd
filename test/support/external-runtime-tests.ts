// What pods of a handler with another OCI runtime must do, whichever runtime that is.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { RpcError } from "../../cri-api/client.ts";
import { fromInt64, toInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { connectCommand, readAll, runCommand } from "../daemon/streaming-client.ts";
import { startNode, untilExited, type TestNode } from "./node.ts";
import { busyboxImage } from "./test-image.ts";

export interface ExternalRuntime {
  handler: string;
  path: string;
  /** What `features` of this version says. */
  recursiveReadOnlyMounts: boolean;
}

const mebibyte = 1024n * 1024n;

export const status = (wanted: string) => (error: unknown) => {
  assert.ok(error instanceof RpcError, String(error));
  assert.equal(error.status, wanted, error.message);
  return true;
};

const pidOf = async (node: TestNode, containerId: string): Promise<number> => {
  const { info } = await node.runtime.containerStatus({ containerId, verbose: true });
  return (JSON.parse(info["info"] ?? "{}") as { pid: number }).pid;
};

export const parentOf = (pid: number): number =>
  Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);

export function testExternalRuntime(runtime: ExternalRuntime, needs: object): void {
  const { handler } = runtime;

  describe(`pods of the handler ${handler}`, needs, () => {
    let node: TestNode;

    before(async () => {
      node = await startNode({ settings: { [`runtimes.${handler}.path`]: runtime.path } });
    });
    after(async () => {
      await node.close();
    });

    const exec = async (containerId: string, ...cmd: string[]): Promise<string> => {
      const result = await node.runtime.execSync({ containerId, cmd, timeout: toInt64(20n) });
      assert.equal(result.exitCode, 0, Buffer.from(result.stderr).toString());
      return Buffer.from(result.stdout).toString();
    };
    const execUrl = async (
      containerId: string,
      cmd: string[],
      { tty = false, stdin = false } = {},
    ): Promise<string> =>
      (await node.runtime.exec({ containerId, cmd, tty, stdin, stdout: true, stderr: !tty })).url;

    test("go through all states, with log, exit status and nothing left", async () => {
      const pod = await node.runPod("states", { runtimeHandler: handler });
      const sandbox = await node.runtime.podSandboxStatus({ podSandboxId: pod.id });
      assert.equal(sandbox.status?.runtimeHandler, handler);
      const script = "echo hello; echo oops >&2; trap 'exit 7' TERM; while :; do sleep 0.1; done";
      const containerId = await pod.create({ name: "main", command: ["sh", "-c", script] });
      const created = (await node.runtime.containerStatus({ containerId })).status;
      assert.equal(created?.state, v1.ContainerState.CONTAINER_CREATED);
      assert.deepEqual(readdirSync(`${node.daemon.runRoot}/mounts`), [containerId]);
      await node.runtime.startContainer({ containerId });
      const running = (await node.runtime.containerStatus({ containerId })).status;
      assert.equal(running?.state, v1.ContainerState.CONTAINER_RUNNING);
      assert.equal(await exec(containerId, "hostname"), "states\n");
      // It is the runtime's container, and the child of our monitor.
      const pid = await pidOf(node, containerId);
      assert.equal(readFileSync(`/proc/${parentOf(pid)}/comm`, "utf8"), "cricket-monitor\n");
      assert.ok(readdirSync(`${node.daemon.runRoot}/runtimes/${handler}`).includes(containerId));
      await node.runtime.stopContainer({ containerId, timeout: toInt64(20n) });
      const exited = await untilExited(node, containerId);
      assert.deepEqual([exited.exitCode, exited.reason], [7, "Error"]);
      const lines = readFileSync(pod.logPath("main"), "utf8").trimEnd().split("\n");
      assert.deepEqual(lines.map((line) => line.replace(/^\S+ /, "")).sort(), [
        "stderr F oops",
        "stdout F hello",
      ]);
      await node.runtime.removeContainer({ containerId });
      await node.runtime.removeContainer({ containerId });
      assert.deepEqual(readdirSync(`${node.daemon.runRoot}/mounts`), []);
      assert.deepEqual(readdirSync(`${node.daemon.runRoot}/runtimes/${handler}`), []);
      await pod.remove();
    });

    test("exec: output, input, exit status, time-out and a program that is not there", async () => {
      const pod = await node.runPod("execs", { runtimeHandler: handler });
      const containerId = await pod.start({ name: "main", command: ["sleep", "1000"] });
      const both = await runCommand(
        await execUrl(containerId, ["sh", "-c", "echo out; echo err >&2; exit 3"]),
      );
      assert.deepEqual([both.stdout, both.stderr], ["out\n", "err\n"]);
      assert.deepEqual(both.status.details, { causes: [{ reason: "ExitCode", message: "3" }] });
      const echoed = await runCommand(await execUrl(containerId, ["cat"], { stdin: true }), "some input");
      assert.equal(echoed.stdout, "some input");
      const late = { containerId, cmd: ["sh", "-c", "sleep 777 & sleep 777"], timeout: toInt64(1n) };
      await assert.rejects(node.runtime.execSync(late), status("DEADLINE_EXCEEDED"));
      assert.equal(await exec(containerId, "sh", "-c", "ps | grep -c '[s]leep 777'; true"), "0\n");
      const missing = { containerId, cmd: ["/no/such/program"], timeout: toInt64(20n) };
      await assert.rejects(node.runtime.execSync(missing), (error) => {
        assert.ok(error instanceof RpcError);
        assert.match(error.message, new RegExp(`runtime ${handler}: exec: .*no such file`, "i"));
        return true;
      });
      // Neither pid files nor process descriptions stay behind.
      const left = readdirSync(`${node.daemon.runRoot}/containers/${containerId}`);
      assert.deepEqual(
        left.filter((name) => name.startsWith("exec-") || name.startsWith("runtime-")),
        [],
      );
      await pod.remove();
    });

    test("a terminal: of the container by attach, of an exec, both with their size", async () => {
      const pod = await node.runPod("terminals", { runtimeHandler: handler });
      const script = 'while read line; do echo "<$line>"; stty size; done';
      const more = { tty: true, stdin: true };
      const containerId = await pod.start({ name: "main", command: ["sh", "-c", script], more });
      const { url } = await node.runtime.attach({ containerId, tty: true, stdin: true, stdout: true });
      const attached = await connectCommand(url, ["stdin", "stdout", "resize"]);
      attached.stream("resize").write('{"Width":77,"Height":22}\n');
      attached.stream("stdin").write("one\n");
      await untilMatch(attached.stream("stdout"), /<one>/);
      attached.stream("stdin").write("two\n");
      await untilMatch(attached.stream("stdout"), /<two>\s+22 77/);
      attached.connection.destroy();
      const url2 = await execUrl(containerId, ["sh", "-c", "read x; stty size; tty"], {
        tty: true,
        stdin: true,
      });
      const session = await connectCommand(url2, ["stdin", "stdout", "resize"]);
      session.stream("resize").write('{"Width":91,"Height":31}\n');
      session.stream("stdin").write("\n");
      assert.match(await readAll(session.stream("stdout")), /31 91\s+\/dev\/pts\/\d/);
      session.connection.destroy();
      await pod.remove();
    });

    test("limits: as asked, measured, changed while it runs", async () => {
      const pod = await node.runPod("limits", { runtimeHandler: handler });
      const resources = {
        memoryLimitInBytes: toInt64(64n * mebibyte),
        cpuQuota: toInt64(20_000n),
        cpuPeriod: toInt64(100_000n),
        // As the kubelet gives one for each size, also where nothing can limit them.
        hugepageLimits: [{ pageSize: "2MB", limit: toInt64(0n) }],
      };
      const containerId = await pod.start({
        name: "main",
        command: ["sleep", "1000"],
        more: { linux: { resources } },
      });
      const limits = async (): Promise<unknown[]> => {
        const { status: now } = await node.runtime.containerStatus({ containerId });
        const linux = now?.resources?.linux;
        return [fromInt64(linux?.memoryLimitInBytes), fromInt64(linux?.cpuQuota)];
      };
      assert.deepEqual(await limits(), [64n * mebibyte, 20_000n]);
      const { stats } = await node.runtime.containerStats({ containerId });
      assert.ok(fromInt64(stats?.memory?.workingSetBytes?.value) > 0n);
      const linux = { memoryLimitInBytes: toInt64(32n * mebibyte), cpuQuota: toInt64(30_000n) };
      await node.runtime.updateContainerResources({ containerId, linux });
      assert.deepEqual(await limits(), [32n * mebibyte, 30_000n]);
      await pod.remove();
    });

    test("says OOMKilled, and lets go of the pod's shared process namespace", async () => {
      const { POD } = v1.NamespaceMode;
      const namespaceOptions = { network: POD, pid: POD, ipc: POD };
      const linux = { securityContext: { namespaceOptions } };
      const pod = await node.runPod("shared", { runtimeHandler: handler, more: { linux } });
      const containerId = await pod.start({
        name: "main",
        command: ["sh", "-c", "tail /dev/zero; kill -9 $$"],
        more: { linux: { ...linux, resources: { memoryLimitInBytes: toInt64(16n * mebibyte) } } },
      });
      const { exitCode, reason } = await untilExited(node, containerId);
      assert.deepEqual({ exitCode, reason }, { exitCode: 137, reason: "OOMKilled" });
      await pod.remove();
    });

    test("images as volumes, and volumes that the image declares", async () => {
      const config = { Volumes: { "/declared": {}, "/bin": {} } };
      const image = await node.pushAndPull("test/volumes", await busyboxImage(config));
      const pod = await node.runPod("volumes", { runtimeHandler: handler });
      const mounts = [{ containerPath: "/image", readonly: true, image: { image: node.image } }];
      const containerId = await pod.start({
        name: "main",
        image,
        command: ["sleep", "1000"],
        more: { mounts },
      });
      assert.equal(
        await exec(containerId, "sh", "-c", "ls /image/bin/busybox; ls -d /declared /bin/busybox"),
        "/image/bin/busybox\n/bin/busybox\n/declared\n",
      );
      const written = await exec(
        containerId,
        "sh",
        "-c",
        "touch /declared/y && echo ok; touch /image/x 2>&1; true",
      );
      assert.match(written, /^ok\n.*Read-only/);
      await pod.remove();
      assert.deepEqual(readdirSync(`${node.daemon.runRoot}/mounts`), []);
    });

    test("survive a restart of the daemon, and its death at each step", async () => {
      await node.daemon.restart({ CRICKET_FAILPOINT: "create-container/rootfs-mounted:kill" });
      const pod = await node.runPod("crash", { runtimeHandler: handler });
      await assert.rejects(pod.create({ name: "main", command: ["sleep", "1000"] }));
      await node.daemon.ended();
      await node.daemon.start();
      assert.deepEqual(readdirSync(`${node.daemon.runRoot}/mounts`), []);
      const containerId = await pod.create({ name: "main", command: ["sleep", "1000"] });
      await node.daemon.restart({ CRICKET_FAILPOINT: "start-container/gate-opened:kill" });
      await assert.rejects(node.runtime.startContainer({ containerId }));
      await node.daemon.ended();
      await node.daemon.start();
      const { status: after } = await node.runtime.containerStatus({ containerId });
      assert.equal(after?.state, v1.ContainerState.CONTAINER_RUNNING);
      assert.equal(await exec(containerId, "echo", "alive"), "alive\n");
      await pod.remove();
    });

    test("a monitor that is killed takes its container with it", async () => {
      const pod = await node.runPod("monitor", { runtimeHandler: handler });
      const containerId = await pod.start({ name: "main", command: ["sh", "-c", "sleep 1000 & sleep 1000"] });
      process.kill(parentOf(await pidOf(node, containerId)), "SIGKILL");
      const { exitCode, reason } = await untilExited(node, containerId);
      assert.deepEqual({ exitCode, reason }, { exitCode: 255, reason: "Unknown" });
      await pod.remove();
    });

    test("the handler and what it can do are in the node's status", async () => {
      const { runtimeHandlers } = await node.runtime.status({});
      const found = runtimeHandlers.find(({ name }) => name === handler);
      assert.equal(found?.features?.recursiveReadOnlyMounts, runtime.recursiveReadOnlyMounts);
      assert.deepEqual(
        runtimeHandlers.map(({ name }) => name),
        ["", "cricket", handler],
      );
    });
  });
}

async function untilMatch(stream: NodeJS.ReadableStream, pattern: RegExp): Promise<void> {
  let text = "";
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`no ${String(pattern)} in ${JSON.stringify(text)}`)),
      10_000,
    );
    const take = (chunk: Buffer): void => {
      text += chunk.toString();
      if (!pattern.test(text)) return;
      clearTimeout(timer);
      stream.off("data", take);
      resolve();
    };
    stream.on("data", take);
  });
}
