import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { CricketError, notFound } from "../../../src/base/errors.ts";
import { fromInt64, toInt64 } from "../../../cri-api/int64.ts";
import { v1 } from "../../../cri-api/runtime/v1/api.js";
import { interruption, runWith, scriptedDaemon } from "./scripted-daemon.ts";

const idA = "aa".repeat(32);
const idB = `ab${"b".repeat(62)}`;
const imageId = `sha256:${"c".repeat(64)}`;
const createdAt = toInt64(BigInt(Date.now() - 90_000) * 1_000_000n);

const containers: v1.ContainerSent[] = [
  {
    id: idA,
    podSandboxId: idB,
    metadata: { name: "web", attempt: 1 },
    image: { image: imageId, userSpecifiedImage: "nginx:1" },
    imageId,
    state: v1.ContainerState.CONTAINER_RUNNING,
    createdAt,
    labels: { app: "web" },
  },
  { id: idB, podSandboxId: idB, metadata: { name: "job" }, image: { image: imageId }, state: 2, createdAt },
];

const listContainers = (request: v1.ListContainersRequest): v1.ListContainersResponseSent => {
  const state = request.filter?.state?.state;
  return { containers: containers.filter((item) => state === undefined || item.state === state) };
};

test("`cricket version` and `cricket help` need no daemon", async () => {
  const version = await runWith(["version"], {});
  assert.equal(version.status, 0);
  assert.match(version.stdout, /^cricket \d+\.\d+\.\d+ /);
  const help = await runWith([], {});
  assert.equal(help.status, 0);
  for (const name of ["daemon", "run", "pull", "explain"])
    assert.match(help.stdout, new RegExp(`^ {2}${name} `, "m"));
  assert.match((await runWith(["help", "ps"], {})).stdout, /^usage: cricket ps /);
  assert.match((await runWith(["daemon", "--help"], {})).stdout, /--config FILE/);
});

test("`cricket config` prints a configuration that it reads back as it is, and refuses a wrong one", async () => {
  const directory = mkdtempSync(join(tmpdir(), "cricket-config-"));
  const file = join(directory, "cricket.toml");
  const print = () => runWith(["config", "--config", file], { env: {} });
  writeFileSync(file, '[network]\nmtu = 1400\n[runtimes.runc]\npath = "/usr/sbin/runc"\n');
  const { status, stdout } = await print();
  assert.equal(status, 0);
  assert.match(stdout, new RegExp(`^# ${file}\n`));
  assert.match(stdout, /^network\.mtu = 1400$/m);
  assert.match(stdout, /^runtimes\.runc\.path = "\/usr\/sbin\/runc"$/m);
  writeFileSync(file, stdout);
  assert.equal((await print()).stdout, stdout);
  writeFileSync(file, "network.mtu = 'a'\n");
  const wrong = await print();
  assert.deepEqual([wrong.status, wrong.stdout], [1, ""]);
  assert.match(wrong.stderr, /^cricket: config: .*network\.mtu is "a": not a whole number\n$/);
  rmSync(directory, { recursive: true });
});

test("`cricket` ends with 2 for a wrong command line and names the command", async () => {
  assert.deepEqual(await runWith(["nonsense"], {}), {
    status: 2,
    stdout: "",
    stderr: "cricket: nonsense: no such command (see `cricket help`)\n",
  });
  assert.equal((await runWith(["ps", "--bogus"], {})).status, 2);
  assert.equal((await runWith(["ps", "--endpoint", "tcp://x"], {})).status, 2);
  assert.equal((await runWith(["constructor"], {})).status, 2);
});

test("`cricket ps` says what to do when there is no daemon", async () => {
  const { status, stderr } = await runWith(["ps", "--endpoint", "/nowhere/c.sock"], {});
  assert.equal(status, 1);
  assert.equal(stderr, "cricket: ps: cannot reach the daemon at unix:///nowhere/c.sock: is it running?\n");
});

test("`cricket ps` shows running containers, all with -a, ids with -q, data with -o json", async () => {
  const daemon = await scriptedDaemon({ runtime: { ListContainers: listContainers } });
  const table = await daemon.cli(["ps"]);
  assert.match(
    table.stdout,
    /^CONTAINER +IMAGE +CREATED +STATE +NAME +ATTEMPT +POD ID\naaaaaaaaaaaa +nginx:1 +1 minute ago +running +web +1 +abbbbbbbbbbb\n$/,
  );
  assert.equal((await daemon.cli(["ps", "-aq"])).stdout, `${idA}\n${idB}\n`);
  const [first] = JSON.parse((await daemon.cli(["ps", "-o", "json"])).stdout) as Record<string, unknown>[];
  assert.equal(first?.["state"], "CONTAINER_RUNNING");
  assert.deepEqual(first?.["labels"], { app: "web" });
  assert.match(String(first?.["createdAt"]), /^\d{4}-.*Z$/);
  assert.equal((await daemon.cli(["ps", "-o", "xml"])).status, 2);
  await daemon.close();
});

test("`cricket images` shows one line a tag, `rmi` fails for what is not there", async () => {
  const removed: string[] = [];
  const image = { id: imageId, repoTags: ["docker.io/library/nginx:1"], size: toInt64(123_456_789n) };
  const daemon = await scriptedDaemon({
    image: {
      ListImages: () => ({
        images: [image, { id: `sha256:${"d".repeat(64)}`, repoDigests: ["quay.io/x@sha256:1"] }],
      }),
      ImageStatus: (request) => (request.image?.image === "nginx" ? { image } : {}),
      RemoveImage: (request) => {
        removed.push(request.image?.image ?? "");
        return {};
      },
    },
  });
  const { stdout } = await daemon.cli(["images"]);
  assert.match(stdout, /^docker\.io\/library\/nginx +1 +cccccccccccc +123MB$/m);
  assert.match(stdout, /^quay\.io\/x +<none> +dddddddddddd +0B$/m);
  const ended = await daemon.cli(["rmi", "missing", "nginx"]);
  assert.deepEqual(ended, {
    status: 1,
    stdout: "nginx\n",
    stderr: "cricket: rmi missing: there is no such image\n",
  });
  assert.deepEqual(removed, [imageId]);
  await daemon.close();
});

test("`cricket stop` and `rm` take names, ids and beginnings of ids of containers and pods", async () => {
  const calls: string[] = [];
  const note = (what: string, id: string): object => {
    calls.push(`${what} ${id.slice(0, 2)}`);
    return {};
  };
  const daemon = await scriptedDaemon({
    runtime: {
      ListContainers: listContainers,
      ListPodSandbox: () => ({ items: [{ id: "cc".repeat(32), metadata: { name: "pod" }, createdAt }] }),
      StopContainer: (request) => note(`stop ${fromInt64(request.timeout)}`, request.containerId),
      RemoveContainer: (request) => note("remove", request.containerId),
      StopPodSandbox: (request) => note("stop pod", request.podSandboxId),
      RemovePodSandbox: (request) => note("remove pod", request.podSandboxId),
    },
  });
  assert.equal((await daemon.cli(["stop", "-t", "3", "web", "pod"])).status, 0);
  const running = await daemon.cli(["rm", "web", "job"]);
  assert.equal(running.status, 1);
  assert.match(running.stderr, /^cricket: rm web: the container is running/);
  assert.equal((await daemon.cli(["rm", "-f", "aaaa", "pod"])).status, 0);
  assert.match((await daemon.cli(["rm", "a"])).stderr, /a is the beginning of several ids/);
  assert.deepEqual(calls, [
    "stop 3 aa",
    "stop pod cc",
    "remove ab",
    "remove aa",
    "stop pod cc",
    "remove pod cc",
  ]);
  await daemon.close();
});

test("`cricket inspect` prints containers, pods and images as one array", async () => {
  const daemon = await scriptedDaemon({
    runtime: {
      ListContainers: listContainers,
      ListPodSandbox: () => ({}),
      ContainerStatus: () => ({
        status: { id: idA, state: 1, createdAt, mounts: [{ containerPath: "/a", propagation: 1 }] },
        info: { info: '{"pid":42}' },
      }),
    },
    image: { ImageStatus: () => ({}) },
  });
  const ended = await daemon.cli(["inspect", "web", "nothing"]);
  assert.equal(ended.status, 1);
  assert.match(ended.stderr, /inspect nothing: there is no such container, pod or image/);
  interface Inspected {
    status: { state: string; mounts: { propagation: string }[] };
    info: unknown;
  }
  const [web, ...others] = JSON.parse(ended.stdout) as [Inspected, ...Inspected[]];
  assert.equal(others.length, 0);
  assert.deepEqual(web.info, { pid: 42 });
  assert.equal(web.status.state, "CONTAINER_RUNNING");
  assert.deepEqual(
    web.status.mounts.map((mount) => mount.propagation),
    ["PROPAGATION_HOST_TO_CONTAINER"],
  );
  await daemon.close();
});

test("`cricket logs` prints the last lines, and follows until the container ends", async () => {
  const running = { state: v1.ContainerState.CONTAINER_RUNNING };
  let logPath = "";
  let end: () => void = () => {};
  const daemon = await scriptedDaemon({
    runtime: { ListContainers: listContainers, ContainerStatus: () => ({ status: { ...running, logPath } }) },
    cricket: {
      WaitContainer: async () => {
        await new Promise<void>((resolve) => {
          end = resolve;
        });
        return {};
      },
    },
  });
  logPath = join(daemon.directory, "web.log");
  const line = (text: string): string => `2026-11-22T02:30:00Z stdout F ${text}\n`;
  writeFileSync(logPath, line("one") + line("two"));
  assert.equal((await daemon.cli(["logs", "-n", "1", "web"])).stdout, "two\n");
  const seen: string[] = [];
  const following = daemon.cli(["logs", "-f", "web"], {
    stdout: (data) => {
      seen.push(Buffer.from(data).toString());
      if (seen.length === 2) {
        writeFileSync(logPath, line("three"), { flag: "a" });
        end();
      }
    },
  });
  assert.equal((await following).status, 0);
  assert.deepEqual(seen, ["one\n", "two\n", "three\n"]);
  logPath = "";
  assert.match((await daemon.cli(["logs", "web"])).stderr, /the container keeps no log/);
  await daemon.close();
});

test("`cricket pull` prints the id, shows bars on a terminal only, and reports the daemon's message", async () => {
  const daemon = await scriptedDaemon({
    cricket: {
      PullImage: async function* (request) {
        if (request.image !== "nginx")
          throw new CricketError("unknown", "RegistryUnavailable: connect\n\u001b[2J");
        await Promise.resolve();
        const layer = { digest: `sha256:${"e".repeat(64)}`, state: "downloading" };
        yield { layers: [{ ...layer, doneBytes: toInt64(50n), totalBytes: toInt64(100n) }] };
        yield { imageId };
      },
    },
  });
  assert.deepEqual(await daemon.cli(["pull", "nginx"]), { status: 0, stdout: `${imageId}\n`, stderr: "" });
  const onTerminal = await daemon.cli(["pull", "nginx"], { columns: 80 });
  assert.match(onTerminal.stderr, /eeeeeeeeeeee \[=+> +\] +50B\/100B {2}downloading\n/);
  assert.equal((await daemon.cli(["pull", "-q", "nginx"], { columns: 80 })).stderr, "");
  assert.deepEqual(await daemon.cli(["pull", "other"]), {
    status: 1,
    stdout: "",
    stderr: "cricket: pull: RegistryUnavailable: connect; ?[2J\n",
  });
  await daemon.close();
});

test("`cricket pull` ends with 130 at Ctrl-C", async () => {
  const { signal, abort } = interruption();
  const daemon = await scriptedDaemon({
    cricket: {
      PullImage: async function* (_request, call) {
        abort();
        await new Promise((resolve) => call.signal.addEventListener("abort", resolve));
        yield {};
      },
    },
  });
  assert.deepEqual(await daemon.cli(["pull", "nginx"], { interrupted: signal }), {
    status: 130,
    stdout: "",
    stderr: "",
  });
  await daemon.close();
});

test("`cricket stats` takes the daemon's rate, or makes one of two samples", async () => {
  let samples = 0n;
  const daemon = await scriptedDaemon({
    runtime: {
      ListContainerStats: () => {
        samples++;
        return {
          stats: [
            {
              attributes: { id: idA, metadata: { name: "web" } },
              cpu: {
                timestamp: toInt64(samples * 1_000_000_000n),
                usageCoreNanoSeconds: { value: toInt64(samples * 250_000_000n) },
              },
              memory: { workingSetBytes: { value: toInt64(1_500_000n) } },
            },
          ],
        };
      },
    },
  });
  assert.match((await daemon.cli(["stats"])).stdout, /^aaaaaaaaaaaa +web +25\.00 +1\.50MB +- +- +-$/m);
  await daemon.close();
});

test("`cricket explain` prints the daemon's text", async () => {
  const daemon = await scriptedDaemon({
    runtime: { ListContainers: listContainers },
    cricket: {
      ExplainContainer: (request) => {
        if (request.containerId !== idA) throw notFound("gone");
        return { text: " 1  fork" };
      },
    },
  });
  assert.equal((await daemon.cli(["explain", "web"])).stdout, " 1  fork\n");
  assert.match((await daemon.cli(["explain", "/nowhere/config.json"])).stderr, /ENOENT/);
  await daemon.close();
});
