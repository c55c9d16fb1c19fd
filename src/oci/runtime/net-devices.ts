// linux.netDevices: devices of the runtime's network namespace, moved into the container's while it waits. When the
// namespace goes the kernel gives physical ones back; only a create that fails has to undo the move.
import { closeSync, openSync } from "node:fs";
import { errnoOf, failedPrecondition, wrapError } from "../../base/errors.ts";
import { close, O_CLOEXEC, O_RDONLY } from "../../linux/files.ts";
import { isKeptAddress, moveLink, sameAddress } from "../../linux/netlink-device.ts";
import type { NetlinkMessage } from "../../linux/netlink-message.ts";
import {
  decodeLink,
  getLink,
  listAddresses,
  listLinks,
  setLinkUp,
  type Link,
} from "../../linux/netlink-route.ts";
import { NETLINK_ROUTE, NetlinkSocket } from "../../linux/netlink-socket.ts";
import type { NetDevice } from "../linux-spec.ts";

interface Moved {
  hostName: string;
  wasUp: boolean;
  /** In the container's namespace. */
  index: number;
  addresses: readonly NetlinkMessage[];
}

export class MovedNetDevices implements Disposable {
  readonly #host = NetlinkSocket.open(NETLINK_ROUTE);
  readonly #moved: Moved[] = [];
  readonly #keepsPresent: boolean;
  // Keeps the namespace alive, so that the devices can be brought back when the container has already died.
  #containerFd = -1;

  /**
   * `keepsPresent`: for a namespace that outlives its containers: a device that the host does not have any more, but the
   * namespace has by the name wanted, was moved for an earlier one.
   */
  constructor({ keepsPresent = false } = {}) {
    this.#keepsPresent = keepsPresent;
  }

  /** `socket`: a route socket of the container's network namespace; it is closed with this. */
  async move(devices: Readonly<Record<string, NetDevice>>, pid: number, socket: number): Promise<void> {
    this.#containerFd = socket;
    const container = NetlinkSocket.over(socket);
    const namespace = openSync(`/proc/${pid}/ns/net`, O_RDONLY | O_CLOEXEC);
    try {
      for (const [name, { name: wanted = "" }] of Object.entries(devices)) {
        const place = { namespace, name: wanted === "" ? name : wanted };
        await this.#moveOne(container, name, place).catch((error: unknown) => {
          throw wrapError(`linux.netDevices[${JSON.stringify(name)}]`, error);
        });
      }
    } finally {
      closeSync(namespace);
    }
  }

  async #moveOne(
    container: NetlinkSocket,
    hostName: string,
    place: { namespace: number; name: string },
  ): Promise<void> {
    const before = await linksOf(container);
    const isPresent = before.some(({ name }) => name === place.name);
    if (isPresent && this.#keepsPresent && !(await this.#isOnHost(hostName))) return;
    const link = await this.#find(hostName);
    // The kernel would move it first and refuse the name afterwards.
    if (isPresent) throw failedPrecondition(`the container already has a device named ${place.name}`);
    const addresses = (await this.#host.dump(listAddresses())).filter((message) =>
      isKeptAddress(message, link.index),
    );
    await this.#host.request([moveLink(link.index, place.namespace, place.name)]);
    const names = new Set(before.map(({ name }) => name));
    const after = (await linksOf(container)).filter(({ name }) => !names.has(name));
    const here = after.find(({ name }) => name === place.name) ?? after.find(({ name }) => name !== hostName);
    const index = (here ?? after[0])?.index;
    if (index === undefined) throw failedPrecondition("it is not in the container's network namespace");
    this.#moved.push({ hostName, wasUp: link.up, index, addresses });
    await container.request([
      ...addresses.map((address) => sameAddress(address, index)),
      setLinkUp({ index }),
    ]);
  }

  async #isOnHost(name: string): Promise<boolean> {
    const links = await linksOf(this.#host);
    return links.some((link) => link.name === name);
  }

  async #find(name: string): Promise<Link> {
    try {
      return decodeLink(await this.#host.get(getLink({ name })));
    } catch (error) {
      if (errnoOf(error) === "ENODEV") throw failedPrecondition("the host has no such network device");
      throw error;
    }
  }

  /** Undoes `move`, as far as it came. */
  async moveBack(): Promise<void> {
    if (this.#moved.length === 0) return;
    const container = NetlinkSocket.over(this.#containerFd);
    const own = openSync("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    try {
      for (const { hostName, wasUp, index, addresses } of this.#moved.splice(0).reverse()) {
        await container.request([moveLink(index, own, hostName)]);
        const { index: at } = await this.#find(hostName);
        const requests = addresses.map((address) => sameAddress(address, at));
        await this.#host.request([...requests, ...(wasUp ? [setLinkUp({ index: at })] : [])]);
      }
    } finally {
      closeSync(own);
    }
  }

  [Symbol.dispose](): void {
    this.#host.close();
    if (this.#containerFd !== -1) close(this.#containerFd);
  }
}

async function linksOf(socket: NetlinkSocket): Promise<Link[]> {
  return (await socket.dump(listLinks())).map(decodeLink);
}
