// The network of a pod, and the sessions of the streaming server over both of its protocols.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { WebSocket } from "ws";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { connectCommand, connectSpdy, readAll, runCommand } from "../daemon/streaming-client.ts";
import type { TestPod } from "../support/node.ts";
import { needs, openTarget, uniqueName, type Target } from "./target.ts";

const serve = (word: string): string[] => [
  "sh",
  "-c",
  `mkdir /www; echo ${word} > /www/index.html; exec httpd -f -p 8080 -h /www`,
];

async function fetchSoon(url: string): Promise<string> {
  for (const deadline = Date.now() + 20_000; ;) {
    try {
      return await (await fetch(url)).text();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

describe("conformance: network and streaming", needs, () => {
  let target: Target;

  before(async () => {
    target = await openTarget();
  });
  after(async () => {
    await target.close();
  });

  const addressOf = async ({ id }: TestPod): Promise<string> => {
    const { status } = await target.runtime.podSandboxStatus({ podSandboxId: id });
    return status?.network?.ip ?? "";
  };

  test("a pod has the name and the DNS configuration that it was given", async () => {
    const dnsConfig = { servers: ["10.10.10.10"], searches: ["example.test"], options: ["ndots:8"] };
    await target.withPod({ hostname: "named", dnsConfig }, async (pod) => {
      assert.equal(await target.ask(pod, {}, "hostname; cat /etc/hostname"), "named\nnamed\n");
      const lines = (await target.ask(pod, {}, "cat /etc/resolv.conf")).trim().split("\n");
      const expected = ["nameserver 10.10.10.10", "options ndots:8", "search example.test"];
      assert.deepEqual(lines.toSorted(), expected);
    });
  });

  test("a port is reached by the pod's address, whether it is mapped or not", async () => {
    const portMappings = [{ containerPort: 8080, protocol: v1.Protocol.TCP }];
    await target.withPod({ portMappings }, async (pod) => {
      await pod.start({ name: "web", command: serve("reached") });
      assert.equal(await fetchSoon(`http://${await addressOf(pod)}:8080/`), "reached\n");
    });
  });

  test("a container ends, another starts, and the pod keeps its address", async () => {
    await target.withPod({}, async (pod) => {
      const address = await addressOf(pod);
      for (const word of ["first", "second"]) {
        const containerId = await pod.start({ name: uniqueName(), command: serve(word) });
        assert.equal(await fetchSoon(`http://${address}:8080/`), `${word}\n`);
        await target.runtime.removeContainer({ containerId });
      }
      assert.equal(await addressOf(pod), address);
    });
  });

  test("exec: output, errors, a status, input to its end", async () => {
    await target.withPod({}, async (pod) => {
      const containerId = await target.startSleeping(pod);
      const url = async (cmd: string[], stdin = false) =>
        (await target.runtime.exec({ containerId, cmd, stdin, stdout: true, stderr: true })).url;
      const both = await runCommand(await url(["sh", "-c", "echo out; echo err >&2; exit 3"]));
      assert.deepEqual([both.stdout, both.stderr], ["out\n", "err\n"]);
      assert.equal(both.status.reason, "NonZeroExitCode");
      assert.equal((await runCommand(await url(["cat"], true), "typed")).stdout, "typed");
    });
  });

  test("exec: the same over WebSocket", async () => {
    await target.withPod({}, async (pod) => {
      const containerId = await target.startSleeping(pod);
      const request = {
        containerId,
        cmd: ["sh", "-c", "echo out; echo err >&2"],
        stdout: true,
        stderr: true,
      };
      const channels = await readChannels((await target.runtime.exec(request)).url, "v4.channel.k8s.io");
      assert.deepEqual([channels[1], channels[2]], ["out\n", "err\n"]);
      assert.match(channels[3] ?? "", /"Success"/);
    });
  });

  test("attach: what is typed arrives, and what is printed comes back", async () => {
    await target.withPod({}, async (pod) => {
      const more = { stdin: true, stdinOnce: true };
      const containerId = await pod.start({
        name: "cat",
        command: ["sh", "-c", "read x; echo got $x; sleep 1000"],
        more,
      });
      const request = { containerId, stdin: true, stdout: true, stderr: true };
      const client = await connectCommand((await target.runtime.attach(request)).url, [
        "stdin",
        "stdout",
        "stderr",
      ]);
      client.stream("stdin").write("a line\n");
      for await (const chunk of client.stream("stdout").iterator({ destroyOnReturn: false })) {
        assert.equal(String(chunk), "got a line\n");
        break;
      }
      client.connection.destroy();
    });
  });

  test("port-forward: bytes go to a port of the pod and back", async () => {
    await target.withPod({}, async (pod) => {
      await pod.start({ name: "web", command: serve("forwarded") });
      await fetchSoon(`http://${await addressOf(pod)}:8080/`);
      const { url } = await target.runtime.portForward({ podSandboxId: pod.id, port: [8080] });
      const connection = await connectSpdy(url, "portforward.k8s.io");
      const headers = { port: "8080", requestid: String(randomInt(1000)) };
      const error = connection.openStream(new Map(Object.entries({ streamtype: "error", ...headers })));
      const data = connection.openStream(new Map(Object.entries({ streamtype: "data", ...headers })));
      data.end("GET / HTTP/1.0\r\n\r\n");
      assert.match(await readAll(data), /forwarded\n$/);
      assert.equal(await readAll(error), "");
      connection.destroy();
    });
  });
});

/** What comes on each channel of a WebSocket until it is closed. */
function readChannels(url: string, protocol: string): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const channels: string[] = [];
    const socket = new WebSocket(url.replace(/^http/, "ws"), protocol);
    socket.on("message", (message: Buffer) => {
      const channel = message[0] ?? 0;
      channels[channel] = (channels[channel] ?? "") + message.toString("utf8", 1);
    });
    socket.once("close", () => resolve(channels)).once("error", reject);
  });
}
