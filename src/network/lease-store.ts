// The addresses of a subnet that pods hold: one file per address, named by it, with the sandbox id as content.
// Creating the file with O_EXCL is the allocation. Nothing is synced: after a power loss no pod is left either.
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { CricketError, errnoOf } from "../base/errors.ts";
import { isId } from "../base/ids.ts";
import { formatIp, tryParseIp, type IpAddress } from "./ip-address.ts";
import { formatSubnet, isPodAddress, type Subnet } from "./subnet.ts";

// The last address given out, in a line of fixed length so that it is overwritten in place.
const hintFile = "last";
const hintLength = 40;

export function leaseDirectory(parent: string, subnet: Subnet): string {
  return join(parent, formatSubnet(subnet).replace("/", "-"));
}

export class LeaseStore {
  readonly #directory: string;
  readonly #subnet: Subnet;
  readonly #hintFd: number;
  /** Who holds an address; "" for a file that is no lease of ours and only keeps the address from use. */
  readonly #holders = new Map<bigint, string>();
  readonly #addresses = new Map<string, bigint>();
  #last: bigint;

  /** Reads the leases under `parent`/<subnet>, which is made if missing; files that are no leases are removed. */
  constructor(parent: string, subnet: Subnet) {
    this.#subnet = subnet;
    this.#directory = leaseDirectory(parent, subnet);
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    this.#load();
    const hint = tryParseIp(readOptional(join(this.#directory, hintFile)).trim());
    const usable = hint !== undefined && isPodAddress(subnet, hint);
    this.#last = usable ? hint.value : subnet.lastPod;
    this.#hintFd = openSync(join(this.#directory, hintFile), "a+", 0o600);
    closeSync(this.#hintFd);
    this.#hintFd = openSync(join(this.#directory, hintFile), "r+");
  }

  get size(): number {
    return this.#addresses.size;
  }

  /** The address of a sandbox, undefined where it has none. */
  addressOf(sandboxId: string): IpAddress | undefined {
    const value = this.#addresses.get(sandboxId);
    return value === undefined ? undefined : this.#address(value);
  }

  sandboxIds(): string[] {
    return [...this.#addresses.keys()];
  }

  /**
   * Gives the sandbox an address, the same one if it has one. Addresses are handed out in a circle, so that one
   * that was just released rests as long as possible: peers may still hold connections or neighbour entries.
   * @throws resource-exhausted when all are taken
   */
  allocate(sandboxId: string): IpAddress {
    const held = this.#addresses.get(sandboxId);
    if (held !== undefined) return this.#address(held);
    const { firstPod, lastPod } = this.#subnet;
    let candidate = this.#last;
    for (let left = lastPod - firstPod + 1n; left > 0n; left--) {
      candidate = candidate >= lastPod ? firstPod : candidate + 1n;
      if (!this.#holders.has(candidate) && this.#claim(candidate, sandboxId)) return this.#address(candidate);
    }
    throw new CricketError(
      "resource-exhausted",
      `no free address in ${formatSubnet(this.#subnet)}: ${this.#holders.size} of ${lastPod - firstPod + 1n} are taken`,
    );
  }

  /** Keeps an address from use that somebody has without a lease of this store. */
  reserve({ value }: IpAddress): void {
    if (!this.#holders.has(value)) this.#holders.set(value, "");
  }

  /** Idempotent. */
  release(sandboxId: string): void {
    const value = this.#addresses.get(sandboxId);
    if (value === undefined) return;
    rmSync(this.#path(value), { force: true });
    this.#addresses.delete(sandboxId);
    this.#holders.delete(value);
  }

  close(): void {
    closeSync(this.#hintFd);
  }

  #claim(value: bigint, sandboxId: string): boolean {
    let fd: number;
    try {
      fd = openSync(this.#path(value), "wx", 0o600);
    } catch (error) {
      if (errnoOf(error) !== "EEXIST") throw error;
      this.#holders.set(value, "");
      return false;
    }
    this.#holders.set(value, sandboxId);
    this.#addresses.set(sandboxId, value);
    try {
      writeSync(fd, sandboxId);
      this.#remember(value);
    } catch (error) {
      this.release(sandboxId);
      throw error;
    } finally {
      closeSync(fd);
    }
    return true;
  }

  #remember(value: bigint): void {
    this.#last = value;
    writeSync(this.#hintFd, `${formatIp(this.#address(value)).padEnd(hintLength - 1)}\n`, 0);
  }

  #load(): void {
    for (const entry of readdirSync(this.#directory, { withFileTypes: true })) {
      if (entry.name === hintFile) continue;
      const path = join(this.#directory, entry.name);
      const address = tryParseIp(entry.name);
      const inSubnet = address !== undefined && isPodAddress(this.#subnet, address);
      const canonical = inSubnet && formatIp(address) === entry.name;
      const holder = entry.isFile() ? readOptional(path).trim() : "";
      // An empty file is left by a daemon that was killed between create and write. A second lease of the same
      // sandbox can only come from outside.
      if (canonical && isId(holder) && !this.#addresses.has(holder)) {
        this.#holders.set(address.value, holder);
        this.#addresses.set(holder, address.value);
      } else if (entry.isFile() || entry.isSymbolicLink()) {
        rmSync(path, { force: true });
      }
    }
  }

  #address(value: bigint): IpAddress {
    return { family: this.#subnet.family, value };
  }

  #path(value: bigint): string {
    return join(this.#directory, formatIp(this.#address(value)));
  }
}

function readOptional(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return "";
    throw error;
  }
}
