// Domain -> wire, looked at after encoding and decoding, as a client sees it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { containerStatusToWire } from "../../../../src/cri/convert/container-status.ts";
import { imageToWire, authFromWire } from "../../../../src/cri/convert/image.ts";
import { noResources } from "../../../../src/cri/convert/resources.ts";
import { sandboxStatusToWire } from "../../../../src/cri/convert/sandbox-status.ts";
import { signalFromWire, signalToWire } from "../../../../src/cri/convert/signal.ts";
import { containerStatsToWire, sandboxStatsToWire } from "../../../../src/cri/convert/stats.ts";
import { timeoutMsFromWire } from "../../../../src/cri/convert/timeout.ts";
import { containerList, listContainers } from "../../../../src/cri/rpc/list-containers.ts";
import { listPodSandbox, sandboxList } from "../../../../src/cri/rpc/list-pod-sandbox.ts";
import type { ContainerUseCases, SandboxUseCases } from "../../../../src/cri/services.ts";
import { fromInt64, toInt64 } from "../../../../cri-api/int64.ts";
import { v1 } from "../../../../cri-api/runtime/v1/api.js";
import { containerView, sandboxView } from "./views.ts";
import { refusal } from "./wire.ts";

const labels = { "io.kubernetes.pod.name": "ü\n\0", "": "" };

test("`sandboxStatusToWire()` gives the kubelet what it compares: state, namespaces, addresses, labels", () => {
  const securityContext = { namespaceOptions: { pid: 1 } };
  const view = sandboxView(
    "s1",
    { labels, linux: { securityContext } },
    { ips: ["10.0.0.2", "fd00::2", "fd00::3"] },
  );
  const status = v1.PodSandboxStatus.decode(v1.PodSandboxStatus.encode(sandboxStatusToWire(view)).finish());
  assert.equal(status.state, v1.PodSandboxState.SANDBOX_READY);
  assert.equal(fromInt64(status.createdAt), 1_700_000_000_000_000_001n);
  assert.equal(status.network?.ip, "10.0.0.2");
  assert.deepEqual(
    status.network.additionalIps.map(({ ip }) => ip),
    ["fd00::2", "fd00::3"],
  );
  assert.deepEqual(status.labels, labels);
  const options = status.linux?.namespaces?.options;
  assert.deepEqual([options?.network, options?.pid, options?.ipc], [0, 1, 0]);
  assert.equal(sandboxStatusToWire(sandboxView("s1", {}, { isReady: false })).state, 1);
  assert.deepEqual(sandboxStatusToWire(sandboxView("s1")).network, { ip: "", additionalIps: [] });
});

test("`containerStatusToWire()` has 0 for times that have not come, and the end when it has", () => {
  const created = containerStatusToWire(containerView("c1"), noResources);
  assert.deepEqual([created.state, fromInt64(created.startedAt), fromInt64(created.finishedAt)], [0, 0n, 0n]);
  const end = { exitCode: 137, reason: "OOMKilled" as const, message: "m", finishedAtNs: 9n };
  const exited = containerStatusToWire(containerView("c1", { labels }, { startedAtNs: 5n, end }), {
    ...noResources,
    memoryLimitBytes: 2n ** 55n + 1n,
  });
  const status = v1.ContainerStatus.decode(v1.ContainerStatus.encode(exited).finish());
  assert.deepEqual(
    [status.state, fromInt64(status.startedAt), fromInt64(status.finishedAt), status.exitCode, status.reason],
    [2, 5n, 9n, 137, "OOMKilled"],
  );
  assert.equal(fromInt64(status.resources?.linux?.memoryLimitInBytes), 2n ** 55n + 1n);
  assert.equal(fromInt64(status.user?.linux?.uid), 5n);
  assert.deepEqual([status.imageId, status.imageRef], ["sha256:aa", "docker.io/library/busybox@sha256:bb"]);
  assert.equal(status.image?.image, "docker.io/library/busybox:1");
  assert.equal(status.stopSignal, v1.Signal.SIGTERM);
  assert.deepEqual(status.labels, labels);
});

test("`listContainers()` encodes the same list as the whole message would be, and follows changes of state", () => {
  const views = [
    containerView("c1", { labels }, { startedAtNs: 5n }),
    containerView("c2", { annotations: { long: "x".repeat(70_000) } }),
  ];
  const containers = { list: () => views } as unknown as ContainerUseCases;
  const list = containerList();
  const decode = (): v1.Container[] => {
    const { bytes } = listContainers(containers, list, v1.ListContainersRequest.decode(new Uint8Array()));
    return v1.ListContainersResponse.decode(bytes).containers;
  };
  const [first, second] = decode();
  assert.deepEqual([first?.id, first?.state, second?.id, second?.state], ["c1", 1, "c2", 0]);
  assert.deepEqual(first?.labels, labels);
  assert.equal(second?.annotations["long"]?.length, 70_000);
  const [view] = views;
  assert.ok(view);
  views[0] = { ...view, state: "exited" };
  assert.equal(decode()[0]?.state, 2);
  views[0] = containerView("c9");
  assert.equal(decode()[0]?.id, "c9");
  views.length = 0;
  assert.deepEqual(decode(), []);
});

test("`listPodSandbox()` follows the state of a sandbox", () => {
  const view = sandboxView("s1", { labels });
  let isReady = true;
  const sandboxes = { list: () => [{ ...view, isReady }] } as unknown as SandboxUseCases;
  const list = sandboxList();
  const decode = (): v1.PodSandbox[] => {
    const { bytes } = listPodSandbox(sandboxes, list, v1.ListPodSandboxRequest.decode(new Uint8Array()));
    return v1.ListPodSandboxResponse.decode(bytes).items;
  };
  assert.deepEqual([decode()[0]?.state, decode()[0]?.metadata?.name], [0, "web"]);
  isReady = false;
  assert.equal(decode()[0]?.state, 1);
});

test("`containerStatsToWire()` leaves out what is unknown instead of sending 0", () => {
  const container = containerView("c1");
  const bare = v1.ContainerStats.decode(
    v1.ContainerStats.encode(containerStatsToWire({ container })).finish(),
  );
  assert.deepEqual(
    [bare.cpu, bare.memory, bare.writableLayer, bare.swap, bare.io],
    [null, null, null, null, null],
  );
});

test("`containerStatsToWire()` sends measurements, 0 among them, and no others", () => {
  const container = containerView("c1");
  const averages = { totalMicroseconds: 5n, avg10: 0.5, avg60: 0, avg300: 0 };
  const sent = containerStatsToWire({
    container,
    usage: {
      timestampNs: 1n,
      cpu: { usageCoreNs: 2n ** 60n, pressure: { some: averages, full: averages } },
      memory: { workingSetBytes: 0n, usageBytes: 2n, rssBytes: 3n, pageFaults: 4n, majorPageFaults: 5n },
    },
    writableLayer: { timestampNs: 1n, mountpoint: "/m", usedBytes: 7n, inodesUsed: 8n },
  });
  const stats = v1.ContainerStats.decode(v1.ContainerStats.encode(sent).finish());
  assert.equal(fromInt64(stats.cpu?.usageCoreNanoSeconds?.value), 2n ** 60n);
  assert.equal(stats.cpu?.usageNanoCores, null);
  assert.equal(stats.cpu?.psi?.Some?.Avg10, 0.5);
  // CRI PsiData: nanoseconds.
  assert.equal(fromInt64(stats.cpu.psi.Some.Total), 5000n);
  assert.equal(fromInt64(stats.memory?.workingSetBytes?.value), 0n);
  assert.ok(stats.memory?.workingSetBytes);
  assert.equal(stats.memory.availableBytes, null);
  assert.equal(stats.writableLayer?.fsId?.mountpoint, "/m");
});

test("`sandboxStatsToWire()` takes the first interface for the default one", () => {
  const usage = { rxBytes: 1n, rxErrors: 0n, txBytes: 2n, txErrors: 0n };
  const { linux } = sandboxStatsToWire({
    sandbox: sandboxView("s1"),
    network: {
      timestampNs: 1n,
      interfaces: [
        { name: "eth0", ...usage },
        { name: "eth1", ...usage },
      ],
    },
    processCount: 3n,
    containers: [{ container: containerView("c1") }],
  });
  assert.ok(linux);
  assert.equal(linux.network?.defaultInterface?.name, "eth0");
  const others = linux.network.interfaces ?? [];
  assert.deepEqual(
    others.map(({ name }) => name),
    ["eth1"],
  );
  assert.equal(fromInt64(linux.process?.processCount?.value), 3n);
  assert.equal(linux.containers?.length, 1);
});

test("`imageToWire()` tells user 0 from no user", () => {
  const image = {
    id: "i",
    repoTags: [],
    repoDigests: [],
    sizeBytes: 1,
    username: "",
    pinned: false,
    annotations: {},
  };
  assert.equal(imageToWire(image).uid, undefined);
  assert.equal(fromInt64(imageToWire({ ...image, uid: 0 }).uid?.value), 0n);
});

test("`authFromWire()` takes an empty AuthConfig for none", () => {
  const decode = (auth: v1.AuthConfigSent) =>
    authFromWire(v1.AuthConfig.decode(v1.AuthConfig.encode(auth).finish()));
  assert.equal(decode({}), undefined);
  assert.equal(decode({ serverAddress: "registry" }), undefined);
  assert.equal(decode({ registryToken: "t" })?.registryToken, "t");
  assert.equal(authFromWire(null), undefined);
});

test("`signalToWire()` is the inverse of `signalFromWire()`", () => {
  for (let value = 1; value <= 65; value++)
    assert.equal(signalToWire(signalFromWire(value, "stop_signal") ?? ""), value);
  assert.equal(signalFromWire(0, "stop_signal"), undefined);
  for (const name of ["", "37", "SIGNONE", "constructor", "0"])
    assert.equal(signalToWire(name), v1.Signal.RUNTIME_DEFAULT);
});

test("`timeoutMsFromWire()` cuts off what no timer can wait, and refuses negative times", () => {
  assert.equal(timeoutMsFromWire(toInt64(0n), "timeout"), 0);
  assert.equal(timeoutMsFromWire(toInt64(30n), "timeout"), 30_000);
  assert.equal(timeoutMsFromWire(toInt64(2n ** 63n - 1n), "timeout"), 2_147_483_647);
  assert.match(
    refusal(() => timeoutMsFromWire(toInt64(-1n), "timeout")),
    /^timeout is -1: not in 0\.\./,
  );
});
