// A bridge network on a private bridge, with pods that are stopped and leases that are removed after the test.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { Log } from "../../../src/base/log.ts";
import { decodeLink, listLinks, type Link } from "../../../src/linux/netlink-route.ts";
import { NETLINK_ROUTE, NetlinkSocket } from "../../../src/linux/netlink-socket.ts";
import {
  createBridgeNetwork,
  type BridgeNetwork,
  type BridgeNetworkConfig,
} from "../../../src/network/bridge-network.ts";
import type { PortMapping } from "../../../src/network/pod-network.ts";
import { PodNetns } from "./pod-netns.ts";

export const bridgeName = "cricket-t0";
const uplink = "uplink0";

export interface NetworkFixture {
  network: BridgeNetwork;
  config: BridgeNetworkConfig;
  /** Lines the network has logged. */
  log: string[];
  startPod(sandboxId?: string): Promise<PodNetns>;
  /**
   * A machine beside the test's: 192.0.2.2 and fd00:77::2 on a link of its own, with no route to the pods. The test's
   * machine is 192.0.2.1 and fd00:77::1.
   */
  startNeighbour(): Promise<PodNetns>;
  /** The same network as a daemon finds it that starts again after a kill -9. */
  restart(): BridgeNetwork;
}

/** Detaches all pods, closes the network, and fails the test where a link, a lease or a rule is left. */
export function makeNetwork(t: TestContext, settings: Partial<BridgeNetworkConfig> = {}): NetworkFixture {
  const stateDir = mkdtempSync(join(tmpdir(), "cricket-network-"));
  const config: BridgeNetworkConfig = {
    bridgeName,
    subnet: "10.199.0.0/24",
    subnet6: "",
    mtu: 0,
    stateDir,
    hostPorts: "auto",
    ...settings,
  };
  const log: string[] = [];
  const create = (): BridgeNetwork =>
    createBridgeNetwork(config, new Log({ write: (line) => log.push(line) }));
  const pods: PodNetns[] = [];
  const neighbours: PodNetns[] = [];
  const fixture: NetworkFixture = {
    network: create(),
    config,
    log,
    startPod: async (sandboxId) => {
      const pod = await PodNetns.start(sandboxId);
      pods.push(pod);
      return pod;
    },
    startNeighbour: async () => {
      const neighbour = await startNeighbour();
      neighbours.push(neighbour);
      return neighbour;
    },
    restart: () => (fixture.network = create()),
  };
  t.after(async () => {
    for (const pod of pods) {
      await fixture.network.detach(pod.detachRequest());
      await pod.stop();
    }
    await fixture.network.close();
    if (neighbours.length > 0) ip("link", "delete", uplink);
    for (const neighbour of neighbours) await neighbour.stop();
    const left = [...(await linkNames()).filter(isOurs), ...leasesIn(stateDir), ...tables()];
    rmSync(stateDir, { recursive: true });
    if (left.length > 0) throw new Error(`left behind: ${left.join(" ")}`);
  });
  return fixture;
}

const isOurs = (name: string): boolean => name === bridgeName || name.startsWith("crk");

/** Addresses that are leased, of all subnets. */
export function leasesIn(stateDir: string): string[] {
  return readdirSync(stateDir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => readdirSync(join(stateDir, entry.name)))
    .filter((name) => name !== "last");
}

function tables(): string[] {
  if (!existsSync("/usr/sbin/nft")) return [];
  const list = execFileSync("nft", ["list", "tables"], { encoding: "utf8" });
  return list.split("\n").filter((line) => line.includes(bridgeName));
}

export async function links(): Promise<Link[]> {
  const socket = NetlinkSocket.open(NETLINK_ROUTE);
  try {
    return (await socket.dump(listLinks())).map(decodeLink);
  } finally {
    socket.close();
  }
}

export async function linkNames(): Promise<string[]> {
  return (await links()).map(({ name }) => name);
}

/** Runs ip(8) in the network namespace of the test. */
export function ip(...args: string[]): string {
  return execFileSync("ip", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Runs a program in the network namespace of a pod. */
export function inPod(pod: PodNetns, ...command: string[]): string {
  return execFileSync("nsenter", ["-t", String(pod.pid), "-n", "--", ...command], { encoding: "utf8" });
}

export function tcpPort(hostPort: number, containerPort: number, hostIp = ""): PortMapping {
  return { protocol: "tcp", hostPort, containerPort, hostIp };
}

export function udpPort(hostPort: number, containerPort: number, hostIp = ""): PortMapping {
  return { protocol: "udp", hostPort, containerPort, hostIp };
}

async function startNeighbour(): Promise<PodNetns> {
  const neighbour = await PodNetns.start();
  ip("link", "add", uplink, "type", "veth", "peer", "name", "eth0", "netns", String(neighbour.pid));
  ip("addr", "add", "192.0.2.1/24", "dev", uplink);
  ip("addr", "add", "fd00:77::1/64", "dev", uplink, "nodad");
  ip("link", "set", uplink, "up");
  inPod(neighbour, "ip", "link", "set", "lo", "up");
  inPod(neighbour, "ip", "addr", "add", "192.0.2.2/24", "dev", "eth0");
  inPod(neighbour, "ip", "addr", "add", "fd00:77::2/64", "dev", "eth0", "nodad");
  inPod(neighbour, "ip", "link", "set", "eth0", "up");
  return neighbour;
}
