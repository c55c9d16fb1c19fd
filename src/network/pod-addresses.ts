// The leases of a pod in all subnets of the network.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomic } from "../base/atomic-file.ts";
import type { IpAddress } from "./ip-address.ts";
import { LeaseStore } from "./lease-store.ts";
import type { PodAddress } from "./pod-link.ts";
import type { Subnet } from "./subnet.ts";

export class PodAddresses {
  readonly #stores: readonly { subnet: Subnet; leases: LeaseStore }[];

  /** Leases lie under `directory`/<subnet>/<address>. Those of an earlier boot are removed: its pods are gone. */
  constructor(directory: string, subnets: readonly Subnet[], bootId: string) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    forgetEarlierBoot(directory, bootId);
    this.#stores = subnets.map((subnet) => ({ subnet, leases: new LeaseStore(directory, subnet) }));
  }

  /** True when no pod has an address. */
  get isEmpty(): boolean {
    return this.#stores.every(({ leases }) => leases.size === 0);
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
    return this.#stores.flatMap(({ leases }) => leases.addressOf(sandboxId) ?? []);
  }

  /** Idempotent. */
  release(sandboxId: string): void {
    for (const { leases } of this.#stores) leases.release(sandboxId);
  }

  sandboxIds(): Set<string> {
    return new Set(this.#stores.flatMap(({ leases }) => leases.sandboxIds()));
  }

  close(): void {
    for (const { leases } of this.#stores) leases.close();
  }
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
