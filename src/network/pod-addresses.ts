// The leases of a pod in all subnets of the network.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomic } from "../base/atomic-file.ts";
import type { IpAddress } from "./ip-address.ts";
import { leaseDirectory, LeaseStore } from "./lease-store.ts";
import type { PodAddress } from "./pod-link.ts";
import { formatSubnet, isPodAddress, parseSubnet, type Subnet } from "./subnet.ts";

interface SubnetLeases {
  subnet: Subnet;
  leases: LeaseStore;
}

export class PodAddresses {
  readonly #stores: readonly SubnetLeases[];
  /** Of subnets that are configured no more: pods that live on keep their addresses. */
  readonly #former: readonly SubnetLeases[];

  /** Leases lie under `directory`/<subnet>/<address>. Those of an earlier boot are removed: its pods are gone. */
  constructor(directory: string, subnets: readonly Subnet[], bootId: string) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    forgetEarlierBoot(directory, bootId);
    this.#stores = subnets.map((subnet) => ({ subnet, leases: new LeaseStore(directory, subnet) }));
    this.#former = formerSubnets(directory, subnets)
      .map((subnet) => ({ subnet, leases: new LeaseStore(directory, subnet) }))
      .filter((former) => isInUse(directory, former));
    for (const { leases } of this.#former)
      for (const sandboxId of leases.sandboxIds()) this.#reserve(leases.addressOf(sandboxId));
  }

  /** True when no pod has an address. */
  get isEmpty(): boolean {
    return this.#all().every(({ leases }) => leases.size === 0);
  }

  /** Subnets that are configured no more, but had pods when this was made. */
  get formerSubnets(): Subnet[] {
    return this.#former.map(({ subnet }) => subnet);
  }

  /**
   * One address of each subnet, all or none; the same ones if the sandbox has them.
   * @throws resource-exhausted
   */
  allocate(sandboxId: string): PodAddress[] {
    try {
      return this.#stores.map(({ subnet, leases }) => ({ subnet, address: leases.allocate(sandboxId) }));
    } catch (error) {
      this.release(sandboxId);
      throw error;
    }
  }

  /** Empty where the sandbox has none. */
  of(sandboxId: string): IpAddress[] {
    return this.#all().flatMap(({ leases }) => leases.addressOf(sandboxId) ?? []);
  }

  /** Idempotent. */
  release(sandboxId: string): void {
    for (const { leases } of this.#all()) leases.release(sandboxId);
  }

  sandboxIds(): Set<string> {
    return new Set(this.#all().flatMap(({ leases }) => leases.sandboxIds()));
  }

  close(): void {
    for (const { leases } of this.#all()) leases.close();
  }

  #all(): SubnetLeases[] {
    return [...this.#stores, ...this.#former];
  }

  // The old subnet and the new one may overlap.
  #reserve(address: IpAddress | undefined): void {
    if (address === undefined) return;
    for (const { subnet, leases } of this.#stores) if (isPodAddress(subnet, address)) leases.reserve(address);
  }
}

function formerSubnets(directory: string, subnets: readonly Subnet[]): Subnet[] {
  const configured = new Set(subnets.map(formatSubnet));
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => tryParseSubnet(name.replace("-", "/")))
    .filter((subnet) => subnet !== undefined)
    .filter((subnet) => !configured.has(formatSubnet(subnet)));
}

function tryParseSubnet(text: string): Subnet | undefined {
  try {
    return parseSubnet(text, "directory");
  } catch {
    return undefined;
  }
}

function isInUse(directory: string, { subnet, leases }: SubnetLeases): boolean {
  if (leases.size > 0) return true;
  leases.close();
  rmSync(leaseDirectory(directory, subnet), { recursive: true });
  return false;
}

const bootFile = "boot-id";

// Leases of pods that died with the machine: waiting for somebody to detach them exhausts the subnet after a few
// reboots (containerd/cri#948).
function forgetEarlierBoot(directory: string, bootId: string): void {
  const path = join(directory, bootFile);
  if (existsSync(path) && readFileSync(path, "utf8").trim() === bootId) return;
  for (const entry of readdirSync(directory, { withFileTypes: true }))
    if (entry.isDirectory()) rmSync(join(directory, entry.name), { recursive: true });
    else if (entry.name !== bootFile) rmSync(join(directory, entry.name));
  writeFileAtomic(path, `${bootId}\n`);
}
