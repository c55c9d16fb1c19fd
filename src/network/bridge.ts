// The bridge all pods of the node are ports of: made on demand with its gateway addresses, and made again if
// somebody removed it.
import { CricketError, errnoOf, failedPrecondition } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import {
  decodeAddress,
  decodeLink,
  decodeRoute,
  deleteLink,
  getLink,
  listAddresses,
  listRoutes,
  newAddress,
  newBridge,
  refuseLinkLocalAddress,
  setLinkUp,
  type Link,
  type Route,
} from "../linux/netlink-route.ts";
import type { NetlinkMessage, NetlinkRequest } from "../linux/netlink-message.ts";
import type { NetlinkSocket } from "../linux/netlink-socket.ts";
import { addressBits, formatIp, ipBytes } from "./ip-address.ts";
import { enableForwarding, refuseRouterAdvertisements } from "./network-sysctl.ts";
import { formatSubnet, type Subnet } from "./subnet.ts";

export interface BridgeOptions {
  name: string;
  /** Any number per family; the first one decides the hardware address. */
  subnets: readonly Subnet[];
  /** 0: the MTU of the host's default routes, the smallest of them. */
  mtu: number;
}

/** A bridge that exists, with what pods need to know of it. */
export interface BridgeLink {
  index: number;
  mtu: number;
}

const defaultMtu = 1500;
const loopbackMtu = 65_536;
/** fe80::1, which the pods know as their router's. */
const linkLocal = ipBytes({ family: 6, value: (0xfe80n << 112n) | 1n });

export class Bridge {
  readonly #options: BridgeOptions;
  readonly #socket: NetlinkSocket;
  readonly #log: Log;
  #ready: Promise<BridgeLink> | undefined;

  constructor(options: BridgeOptions, socket: NetlinkSocket, log: Log) {
    this.#options = options;
    this.#socket = socket;
    this.#log = log;
  }

  /**
   * Makes the bridge if it is not known to be there.
   * @throws failed-precondition where its name belongs to another kind of interface, or its subnet to another interface
   */
  async ensure(): Promise<BridgeLink> {
    this.#ready ??= this.#setUp().catch((error: unknown) => {
      this.#ready = undefined;
      throw error;
    });
    return this.#ready;
  }

  /** To be called when the bridge turned out not to be there any more. */
  forget(): void {
    this.#ready = undefined;
  }

  /** The bridge as the kernel has it; undefined where there is none. Throws failed-precondition as `ensure`. */
  async find(): Promise<Link | undefined> {
    const { name } = this.#options;
    const link = await findLink(this.#socket, name);
    if (link !== undefined && link.kind !== "bridge")
      throw failedPrecondition(
        `interface ${name} is ${link.kind === "" ? "a device" : `of kind ${link.kind}`}, not a bridge`,
      );
    return link;
  }

  /**
   * Puts right what others did to a bridge that is in use: it was removed or taken down, or forwarding turned off. True
   * where it was made anew, without its ports. Throws as `ensure`.
   */
  async tend(): Promise<boolean> {
    const before = await this.#ready;
    const found = await this.find();
    if (before === undefined || found?.index !== before.index) {
      this.forget();
      await this.ensure();
      return before !== undefined;
    }
    if (!found.up) this.#log.warn("the bridge was down, and is taken up", { name: found.name });
    await this.#configure(found);
    return false;
  }

  /** Looks for what would make `ensure` fail, and changes nothing. Throws as `ensure`. */
  async probe(): Promise<void> {
    await this.#assertSubnetsFree((await this.find())?.index);
  }

  /** Idempotent. */
  async remove(): Promise<void> {
    this.forget();
    const link = await this.find();
    if (link !== undefined) await this.#socket.request([deleteLink({ index: link.index })], ["ENODEV"]);
  }

  async #setUp(): Promise<BridgeLink> {
    const { name, subnets } = this.#options;
    const found = await this.find();
    await this.#assertSubnetsFree(found?.index);
    const link = found ?? (await this.#create());
    await this.#configure(link);
    if (found === undefined)
      this.#log.info("bridge created", { name, subnet: subnets.map(formatSubnet).join(",") });
    return { index: link.index, mtu: link.mtu };
  }

  async #configure({ index }: Link): Promise<void> {
    const { name, subnets } = this.#options;
    refuseRouterAdvertisements(name, this.#log);
    await this.#socket.request(
      [refuseLinkLocalAddress(name), ...this.#newAddresses(index), setLinkUp({ index })],
      ["EEXIST", "EAFNOSUPPORT"],
    );
    enableForwarding(
      subnets.some((subnet) => subnet.family === 6),
      this.#log,
    );
  }

  #newAddresses(linkIndex: number): NetlinkRequest[] {
    const requests: NetlinkRequest[] = [];
    for (const { gateway, prefixLength, broadcast, family } of this.#options.subnets) {
      requests.push(
        newAddress({
          linkIndex,
          address: ipBytes(gateway),
          prefixLength,
          ...(broadcast === undefined ? {} : { broadcast: ipBytes(broadcast) }),
        }),
      );
      // Forwarded packets need neighbour discovery from a link-local address. The kernel's own one is unusable for
      // the first seconds (duplicate address detection), and the node's first pod with it.
      if (family === 6) requests.push(newAddress({ linkIndex, address: linkLocal, prefixLength: 64 }));
    }
    return requests;
  }

  async #create(): Promise<Link> {
    const { name, subnets } = this.#options;
    const mtu = this.#options.mtu === 0 ? await this.#uplinkMtu() : this.#options.mtu;
    const gateway = subnets[0]?.gateway;
    if (gateway === undefined) throw new CricketError("internal", `bridge ${name} has no subnet`);
    // Two daemons may start side by side: who comes second takes the bridge as it is.
    await this.#socket.request([newBridge(name, mtu, hardwareAddressOf(ipBytes(gateway)))], ["EEXIST"]);
    const link = await this.find();
    if (link === undefined)
      throw new CricketError("internal", `bridge ${name} is gone right after its creation`);
    return link;
  }

  // Packets larger than the uplink takes would depend on path MTU discovery, which many networks filter. Where there are
  // several, or one for each family, the narrowest counts.
  async #uplinkMtu(): Promise<number> {
    const routes = await this.#routes();
    const uplinks = routes.filter((route) => route.prefixLength === 0 && route.linkIndex !== 0);
    const mtus: number[] = [];
    for (const index of new Set(uplinks.map(({ linkIndex }) => linkIndex)))
      mtus.push(decodeLink(await this.#socket.get(getLink({ index }))).mtu);
    // A route to nowhere leads over the loopback interface.
    const usable = mtus.filter((mtu) => mtu < loopbackMtu);
    return usable.length === 0 ? defaultMtu : Math.min(...usable);
  }

  async #routes(): Promise<Route[]> {
    const messages: NetlinkMessage[] = [];
    for (const family of [4, 6] as const) messages.push(...(await this.#socket.dump(listRoutes(family))));
    return messages.map(decodeRoute).filter((route) => route !== undefined);
  }

  // With the same subnet on two interfaces, or a route of another one into it, pods would be unreachable.
  async #assertSubnetsFree(bridgeIndex: number | undefined): Promise<void> {
    const addresses = (await this.#socket.dump(listAddresses())).map(decodeAddress);
    const routes = await this.#routes();
    for (const subnet of this.#options.subnets) {
      const isTaken = ({ linkIndex, address }: { linkIndex: number; address: Buffer }): boolean =>
        linkIndex !== bridgeIndex && isInside(subnet, address);
      const address = addresses.find(isTaken);
      if (address !== undefined)
        throw failedPrecondition(
          `subnet ${formatSubnet(subnet)} is in use on interface ${await this.#nameOf(address.linkIndex)}`,
        );
      const route = routes.find(
        ({ linkIndex, destination, prefixLength }) =>
          destination !== undefined &&
          prefixLength >= subnet.prefixLength &&
          isTaken({ linkIndex, address: destination }),
      );
      if (route === undefined) continue;
      const interfaceName = await this.#nameOf(route.linkIndex);
      throw failedPrecondition(
        `subnet ${formatSubnet(subnet)} has a route to ${formatRoute(route)} in it, over ${interfaceName}`,
      );
    }
  }

  async #nameOf(linkIndex: number): Promise<string> {
    if (linkIndex === 0) return "no interface of its own";
    return decodeLink(await this.#socket.get(getLink({ index: linkIndex }))).name;
  }
}

function formatRoute({ destination, prefixLength }: Route): string {
  const bytes = destination ?? Buffer.alloc(0);
  const value = BigInt(`0x${bytes.toString("hex")}`);
  return `${formatIp({ family: bytes.length === 4 ? 4 : 6, value })}/${prefixLength}`;
}

// A wider network around ours (10.0.0.0/8 on the uplink) is no conflict: the kernel prefers the longer prefix.
function isInside(subnet: Subnet, address: Buffer): boolean {
  const bits = addressBits(subnet.family);
  if (address.length * 8 !== bits) return false;
  const shift = BigInt(bits - subnet.prefixLength);
  return BigInt(`0x${address.toString("hex")}`) >> shift === subnet.network >> shift;
}

/** Undefined where there is no interface of that name. */
export async function findLink(socket: NetlinkSocket, name: string): Promise<Link | undefined> {
  try {
    return decodeLink(await socket.get(getLink({ name })));
  } catch (error) {
    if (errnoOf(error) === "ENODEV") return undefined;
    throw error;
  }
}

/** A locally administered address that is derived from an IP address of the subnet, and as unique as it. */
export function hardwareAddressOf(address: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from([0x0a, 0x58]), address.subarray(address.length - 4)]);
}
