// A CNI network of plugins that do what a test wants, and pods whose namespace is the test's own.
import fs from "node:fs";
import path from "node:path";
import type { TestContext } from "node:test";
import { newId } from "../../../src/base/ids.ts";
import { mount, MNT_DETACH, MS_BIND, umount } from "../../../src/linux/mount.ts";
import { NETLINK_ROUTE, NetlinkSocket } from "../../../src/linux/netlink-socket.ts";
import { CniNetwork, type CniNetworkConfig } from "../../../src/network/cni/cni-network.ts";
import type { AttachRequest, DetachRequest } from "../../../src/network/pod-network.ts";
import { CniDouble, recordingLog } from "../../support/cni-double.ts";

/** A configuration of two plugins. */
export const chain = (version = "1.1.0", more: object = {}) => ({
  cniVersion: version,
  name: "podnet",
  plugins: [
    { type: "first", custom: { kept: [1, "two"] }, capabilities: { ipRanges: true } },
    { type: "second", capabilities: { portMappings: true, bandwidth: true, dns: false } },
  ],
  ...more,
});

export class CniNode {
  readonly double = new CniDouble();
  readonly lines: string[];
  network: CniNetwork;
  readonly #config: CniNetworkConfig;
  readonly #netns: string;
  readonly #routes = NetlinkSocket.open(NETLINK_ROUTE);
  readonly #log;

  constructor(timeouts: CniNetworkConfig["timeouts"] = {}, config: unknown = chain()) {
    this.double.install("first", "second");
    if (config !== undefined) this.double.configure("10-pod.conflist", config);
    this.#netns = path.join(this.double.directory, "netns");
    fs.writeFileSync(this.#netns, "");
    mount("/proc/self/ns/net", this.#netns, "none", MS_BIND);
    const { stateDir, binDir, confDir } = this.double;
    this.#config = { cniConfDir: confDir, cniBinDirs: [binDir], stateDir, timeouts };
    const { log, lines } = recordingLog();
    this.#log = log;
    this.lines = lines;
    this.network = new CniNetwork(this.#config, log);
  }

  static async start(
    t: TestContext,
    timeouts?: CniNetworkConfig["timeouts"],
    config?: unknown,
  ): Promise<CniNode> {
    const node = new CniNode(timeouts, config ?? chain());
    t.after(() => node.close());
    await node.network.recover([]);
    return node;
  }

  /** As a daemon that was killed and started again. */
  async restart(live: DetachRequest[]): Promise<void> {
    await this.network.close();
    this.network = new CniNetwork(this.#config, this.#log);
    await this.network.recover(live);
    await this.network.settle();
  }

  get netnsPath(): string {
    return this.#netns;
  }

  loseNetns(): void {
    umount(this.#netns, MNT_DETACH);
  }

  request(more: Partial<AttachRequest> = {}): AttachRequest {
    return {
      sandboxId: newId(),
      pod: { name: "web", namespace: "shop", uid: "u-1" },
      netnsPath: this.#netns,
      netnsFd: -1,
      routeSocket: this.#routes.fd,
      portMappings: [],
      annotations: {},
      ...more,
    };
  }

  async close(): Promise<void> {
    await this.network.close();
    // Plugins that are still running write into the directory.
    await this.network.settle();
    this.#routes.close();
    if (fs.readFileSync("/proc/self/mountinfo", "utf8").includes(this.#netns)) this.loseNetns();
    this.double[Symbol.dispose]();
  }
}
