// Updates of existing containers that plugins ask for in their answers, one after the other.
import { failedPrecondition } from "../../base/errors.ts";
import type { v1 } from "../../../cri-api/nri/v1/api.js";
import type { FieldOwners } from "./field-owners.ts";
import { claimFor, mergeResources } from "./merge-resources.ts";

export interface MergedUpdate {
  containerId: string;
  resources: v1.LinuxResourcesSent;
  ignoreFailure: boolean;
}

export class UpdateMerge {
  readonly #owners: FieldOwners;
  readonly #updates = new Map<string, MergedUpdate>();
  readonly #beingCreated: string | undefined;

  /** `beingCreated`: a container that is adjusted and cannot be updated yet. */
  constructor(owners: FieldOwners, beingCreated?: string) {
    this.#owners = owners;
    this.#beingCreated = beingCreated;
  }

  /** What the runtime itself is about to set: plugins add to it. */
  seed(containerId: string, resources: v1.LinuxResourcesSent): void {
    this.#updates.set(containerId, { containerId, resources, ignoreFailure: false });
  }

  /** @throws CricketError failed-precondition for a conflict, unless the plugin said that failure does not matter */
  add(plugin: string, updates: readonly v1.ContainerUpdate[]): void {
    for (const update of updates) {
      if (update.containerId === this.#beingCreated)
        throw failedPrecondition(
          `plugin ${plugin} asks for an update of container ${update.containerId}, which it is to adjust`,
        );
      try {
        this.#merge(plugin, update);
      } catch (error) {
        if (!update.ignoreFailure) throw error;
      }
    }
  }

  #merge(plugin: string, { containerId, linux, ignoreFailure }: v1.ContainerUpdate): void {
    const change = linux?.resources;
    if (change === undefined || change === null) return;
    const before = this.#updates.get(containerId);
    this.#updates.set(containerId, {
      containerId,
      resources: mergeResources(before?.resources ?? {}, change, claimFor(this.#owners, containerId, plugin)),
      ignoreFailure: ignoreFailure && (before?.ignoreFailure ?? true),
    });
  }

  get(containerId: string): MergedUpdate | undefined {
    return this.#updates.get(containerId);
  }

  /** All but that of `containerId`. */
  others(containerId?: string): MergedUpdate[] {
    return [...this.#updates.values()].filter((update) => update.containerId !== containerId);
  }
}
