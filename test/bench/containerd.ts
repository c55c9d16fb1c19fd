// A containerd of the benchmark's own: root, state, socket, CNI configuration and bridge in private places, so that
// neither a containerd of the machine nor what it runs is touched.

import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connectCri } from "../../cri-api/client.ts";
import { stopProcess } from "../support/registry.ts";
import type { BenchImages } from "./bench-images.ts";
import type { Target } from "./measure.ts";

export interface Peer extends Target {
  close(): Promise<void>;
}

/** Where its images come from, in plain http, and which of them is its sandbox image. */
export type PeerImages = Pick<BenchImages, "address" | "pause">;

const programs = ["/usr/bin/containerd", "/usr/sbin/runc", "/usr/lib/cni/bridge"];

/** Why there is no peer to measure, or undefined. */
export function cannotRunContainerd(): string | undefined {
  const missing = programs.filter((program) => !fs.existsSync(program));
  if (missing.length === 0) return undefined;
  return `${missing.join(", ")} missing: install containerd runc containernetworking-plugins iptables to compare`;
}

/** Starts containerd with runc, overlayfs and the CNI bridge plugin, as its documentation sets them up. */
export async function startContainerd(images: PeerImages): Promise<Peer> {
  const token = randomBytes(4).toString("hex");
  const state = `/run/cricket-bench-${token}`;
  const root = `/var/lib/cricket-bench-${token}`;
  const bridge = `cb${token}`;
  const hadSharedDirectory = fs.existsSync("/run/containerd");
  for (const directory of [state, root, `${state}/cni`, `${state}/certs.d/${images.address}`])
    fs.mkdirSync(directory, { recursive: true });
  fs.writeFileSync(`${state}/config.toml`, configOf({ state, root }, images));
  fs.writeFileSync(`${state}/cni/10-bench.conflist`, networkOf(bridge, state));
  fs.writeFileSync(`${state}/certs.d/${images.address}/hosts.toml`, hostsOf(images.address));
  const log = fs.openSync(`${state}/log`, "w");
  const containerd = spawn("containerd", ["--config", `${state}/config.toml`], {
    stdio: ["ignore", log, log],
  });
  fs.closeSync(log);
  const client = connectCri(`unix://${state}/containerd.sock`);
  const close = async (): Promise<void> => {
    client.close();
    await stopProcess(containerd);
    removeTraces([state, root], bridge);
    // Its shims keep their sockets in a directory that no setting moves.
    if (!hadSharedDirectory) fs.rmSync("/run/containerd", { recursive: true, force: true });
  };
  try {
    await untilReady(containerd, () => client.runtime.status({}, { deadlineMs: 5000 }), `${state}/log`);
  } catch (error) {
    await close();
    throw error;
  }
  return { label: "containerd", client, pid: containerd.pid ?? 0, close };
}

function configOf(places: { state: string; root: string }, images: PeerImages): string {
  const cri = `plugins."io.containerd.grpc.v1.cri"`;
  return `version = 2
root = "${places.root}"
state = "${places.state}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
address = "${places.state}/containerd.sock"
[ttrpc]
address = "${places.state}/containerd.sock.ttrpc"
[${cri}]
sandbox_image = "${images.pause}"
# A machine without CAP_SYS_RESOURCE cannot lower it.
restrict_oom_score_adj = true
disable_apparmor = true
[${cri}.containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[${cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[${cri}.cni]
bin_dir = "/usr/lib/cni"
conf_dir = "${places.state}/cni"
[${cri}.registry]
config_path = "${places.state}/certs.d"
`;
}

function networkOf(bridge: string, state: string): string {
  const subnet = `10.${randomInt(64, 128)}.${randomInt(256)}.0/24`;
  const ipam = {
    type: "host-local",
    dataDir: `${state}/leases`,
    ranges: [[{ subnet }]],
    routes: [{ dst: "0.0.0.0/0" }],
  };
  const ipMasq = fs.existsSync("/usr/sbin/iptables");
  const plugin = { type: "bridge", bridge, isGateway: true, ipMasq, ipam };
  return JSON.stringify({ cniVersion: "1.0.0", name: bridge, plugins: [plugin] });
}

const hostsOf = (address: string): string => `server = "http://${address}"
[host."http://${address}"]
capabilities = ["pull", "resolve"]
`;

async function untilReady(containerd: ChildProcess, ask: () => Promise<unknown>, log: string): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    if (containerd.exitCode !== null) throw new Error(`containerd ended: ${fs.readFileSync(log, "utf8")}`);
    try {
      await ask();
      return;
    } catch {
      await delay(100);
    }
  }
  throw new Error(`containerd does not answer: ${fs.readFileSync(log, "utf8")}`);
}

function removeTraces(directories: string[], bridge: string): void {
  spawnSync("ip", ["link", "delete", bridge], {
    env: { ...process.env, PATH: `${process.env["PATH"]}:/sbin` },
  });
  const mountPoints = fs
    .readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((point) => directories.some((directory) => point.startsWith(path.join(directory, "/"))));
  for (const point of mountPoints.toReversed()) spawnSync("umount", ["-l", point]);
  for (const directory of directories) fs.rmSync(directory, { recursive: true, force: true });
}
