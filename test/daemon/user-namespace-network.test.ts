// What reaches into a pod with a user namespace from outside: port-forward, exec, attach, host ports.
import assert from "node:assert/strict";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { startNode, type TestNode, type TestPod } from "../support/node.ts";
import { requires } from "../support/requires.ts";
import { until } from "../support/until.ts";
import { connectCommand, connectSpdy, readAll, runCommand } from "./streaming-client.ts";
import { execIn, firstHostId, options, security, start, withPod } from "./user-namespace-pods.ts";

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe(
  "a pod with a user namespace is reached",
  requires("root", "overlay", "user-namespaces", "package:busybox-static"),
  () => {
    let node: TestNode;
    before(async () => {
      node = await startNode();
    });
    after(async () => {
      await node.close();
    });

    /** A page on port 80 of `address`, as root of the pod: a port below 1024 is its to open. */
    const serve = async (pod: TestPod, address: string, page: string): Promise<string> => {
      const script = `mkdir -p /www; echo ${page} > /www/index; exec httpd -f -p '${address}' -h /www`;
      const name = page;
      const id = await pod.start({ name, command: ["sh", "-c", script], more: security() });
      await until(`${page} is served`, async () => / 0A |:0050 /.test(await listeners(id)));
      return id;
    };
    const listeners = (id: string): Promise<string> => execIn(node, id, "cat /proc/net/tcp /proc/net/tcp6");

    const forwarded = async (pod: TestPod, port: number): Promise<{ page: string; error: string }> => {
      const { url } = await node.runtime.portForward({ podSandboxId: pod.id, port: [port] });
      const connection = await connectSpdy(url, "portforward.k8s.io");
      const open = (type: string) =>
        connection.openStream(
          new Map([
            ["port", String(port)],
            ["requestid", "0"],
            ["streamtype", type],
          ]),
        );
      const [error, data] = [open("error"), open("data")];
      data.end("GET /index HTTP/1.0\r\n\r\n");
      const [page, failure] = await Promise.all([readAll(data), readAll(error)]);
      connection.destroy();
      return { page: page.split("\r\n\r\n").at(-1) ?? "", error: failure };
    };

    for (const [family, address] of [
      ["IPv4", "127.0.0.1:80"],
      ["IPv6", "[::1]:80"],
    ] as const)
      test(`by port-forward over ${family}, also after the daemon was killed`, async () => {
        await withPod(node, { name: `forward-${family.toLowerCase()}` }, async (pod) => {
          await serve(pod, address, "page");
          assert.deepEqual(await forwarded(pod, 80), { page: "page\n", error: "" });
          await node.daemon.kill();
          await node.daemon.start();
          assert.deepEqual(await forwarded(pod, 80), { page: "page\n", error: "" });
          assert.match((await forwarded(pod, 81)).error, /port 81.*ECONNREFUSED/);
        });
      });

    test("by port-forward where it shares the host's network", async () => {
      const port = await freePort();
      const namespaceOptions = options({ network: v1.NamespaceMode.NODE });
      const more = security({ namespaceOptions });
      await withPod(node, { name: "forward-host", namespaceOptions }, async (pod) => {
        const script = `mkdir -p /www; echo host > /www/index; exec httpd -f -p 127.0.0.1:${port} -h /www`;
        await pod.start({ name: "main", command: ["sh", "-c", script], more });
        await until("the page is there", async () => (await forwarded(pod, port)).page === "host\n");
      });
    });

    test("by exec and attach, also after the daemon was killed", async () => {
      await withPod(node, { name: "streams" }, async (pod) => {
        const sleeping = await start(pod, "sleeping");
        const command = ["sh", "-c", "cat; id -u; cat /proc/self/uid_map >&2"];
        const exec = async (): Promise<void> => {
          const request = { containerId: sleeping, cmd: command, stdin: true, stdout: true, stderr: true };
          const { url } = await node.runtime.exec(request);
          const { stdout, stderr, status } = await runCommand(url, "typed\n");
          assert.equal(stdout, "typed\n0\n");
          assert.match(stderr, new RegExp(` ${firstHostId} `));
          assert.equal(status.status, "Success");
        };
        await exec();
        const cat = await pod.start({
          name: "cat",
          command: ["cat"],
          more: { ...security(), stdin: true, stdinOnce: true },
        });
        await node.daemon.kill();
        await node.daemon.start();
        await exec();
        const { url } = await node.runtime.attach({
          containerId: cat,
          stdin: true,
          stdout: true,
          stderr: true,
        });
        const client = await connectCommand(url, ["stdin", "stdout", "stderr"]);
        client.stream("stdin").end("to the end\n");
        assert.equal(await readAll(client.stream("stdout")), "to the end\n");
        client.connection.destroy();
      });
    });

    test("by a host port, also after the daemon was killed", async () => {
      const hostPort = await freePort();
      const portMappings = [{ protocol: v1.Protocol.TCP, containerPort: 80, hostPort, hostIp: "" }];
      await withPod(node, { name: "hostport", more: { portMappings } }, async (pod) => {
        await serve(pod, "80", "mapped");
        const get = async (): Promise<string> =>
          (await fetch(`http://127.0.0.1:${hostPort}/index`, { headers: { Connection: "close" } })).text();
        assert.equal(await get(), "mapped\n");
        await node.daemon.kill();
        await node.daemon.start();
        assert.equal(await get(), "mapped\n");
      });
      await assert.rejects(fetch(`http://127.0.0.1:${hostPort}/index`));
    });
  },
);
