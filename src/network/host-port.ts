// Host ports as a pod asks for them, and who holds which: two pods must not claim the same one.
import { CricketError, invalidArgument } from "../base/errors.ts";
import { shortId } from "../base/ids.ts";
import { formatIp, parseIp, type IpAddress, type IpFamily } from "./ip-address.ts";
import type { PortMapping, PortProtocol } from "./pod-network.ts";

export interface HostPort {
  protocol: PortProtocol;
  hostPort: number;
  containerPort: number;
  /** Families of the host's addresses that are meant. */
  families: readonly IpFamily[];
  /** One address of the host; undefined: all addresses of these families. */
  hostIp: IpAddress | undefined;
}

/**
 * The mappings that open a port on the host; "" as host address means all, "0.0.0.0" and "::" all of their family.
 * Throws invalid-argument that names the field.
 */
export function parseHostPorts(mappings: readonly PortMapping[]): HostPort[] {
  const seen = new Set<string>();
  const ports: HostPort[] = [];
  for (const [index, mapping] of mappings.entries()) {
    // "host_port: 0" only documents the container's port.
    if (mapping.hostPort === 0) continue;
    const port = parseHostPort(mapping, `port_mappings[${index}]`);
    // Two containers of a pod may name the same mapping.
    const key = `${describeHostPort(port)} ${port.containerPort}`;
    if (!seen.has(key)) ports.push(port);
    seen.add(key);
  }
  return ports;
}

function parseHostPort(mapping: PortMapping, field: string): HostPort {
  assertPort(mapping.hostPort, `${field}.host_port`);
  assertPort(mapping.containerPort, `${field}.container_port`);
  const { protocol, hostPort, containerPort } = mapping;
  if (mapping.hostIp === "")
    return { protocol, hostPort, containerPort, families: [4, 6], hostIp: undefined };
  const hostIp = unmap(parseIp(mapping.hostIp, `${field}.host_ip`));
  const families = [hostIp.family];
  return { protocol, hostPort, containerPort, families, hostIp: hostIp.value === 0n ? undefined : hostIp };
}

// "::ffff:127.0.0.1" is another way to write 127.0.0.1, and no address a socket of IPv6 alone can have.
function unmap(address: IpAddress): IpAddress {
  if (address.family !== 6 || address.value >> 32n !== 0xffffn) return address;
  return { family: 4, value: address.value & 0xffffffffn };
}

function assertPort(value: number, field: string): void {
  if (!Number.isInteger(value) || value < 1 || value > 65_535)
    throw invalidArgument(`${field} is ${value}: not in 1..65535`);
}

/** "8080/tcp", "127.0.0.1:8080/tcp", "[::1]:8080/tcp". */
export function describeHostPort(port: HostPort): string {
  const number = `${port.hostPort}/${port.protocol}`;
  if (port.hostIp === undefined && port.families.length === 2) return number;
  const address = port.hostIp ?? { family: port.families[0] ?? 4, value: 0n };
  const text = formatIp(address);
  return address.family === 4 ? `${text}:${number}` : `[${text}]:${number}`;
}

function meet(one: HostPort, other: HostPort): boolean {
  if (one.hostPort !== other.hostPort || one.protocol !== other.protocol) return false;
  if (!one.families.some((family) => other.families.includes(family))) return false;
  if (one.hostIp === undefined || other.hostIp === undefined) return true;
  return one.hostIp.value === other.hostIp.value;
}

/** Who holds which host port. */
export class HostPortClaims {
  readonly #claims = new Map<string, readonly HostPort[]>();

  /**
   * Notes the ports for the sandbox, all or none.
   * @throws already-exists where another pod, or another mapping of this one, has a port
   */
  claim(sandboxId: string, ports: readonly HostPort[]): void {
    for (const [index, port] of ports.entries()) {
      const holder = this.#holder(sandboxId, port);
      if (holder !== undefined)
        throw new CricketError(
          "already-exists",
          `host port ${describeHostPort(port)} is taken by sandbox ${shortId(holder)}`,
        );
      if (ports.slice(0, index).some((earlier) => meet(earlier, port)))
        throw new CricketError("already-exists", `host port ${describeHostPort(port)} is mapped twice`);
    }
    this.#claims.set(sandboxId, ports);
  }

  /** True where nobody holds a port. */
  get isEmpty(): boolean {
    return this.#claims.size === 0;
  }

  release(sandboxId: string): void {
    this.#claims.delete(sandboxId);
  }

  #holder(sandboxId: string, port: HostPort): string | undefined {
    for (const [id, claimed] of this.#claims)
      if (id !== sandboxId && claimed.some((other) => meet(other, port))) return id;
    return undefined;
  }
}
