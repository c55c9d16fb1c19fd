// Idmapped mounts (config.md#linux-mount-options: idmap, ridmap): which user namespace says how a mount's ids are mapped.
import { CricketError, invalidArgument } from "../base/errors.ts";
import type { Descriptor, Made, Step, Tree } from "../linux/launch-program.ts";
import { formatIdMap } from "./compile-namespaces.ts";
import type { ContainerLaunch } from "./container-launch.ts";
import type { IdMapping } from "./linux-spec.ts";
import type { MountOptions } from "./mount-options.ts";
import type { Mount } from "./spec.ts";
import { sameMappings, userNamespaceKind } from "./user-namespace.ts";

const source = "OCI runtime-spec config.md#linux-mount-options";

type Idmap = Tree["idmap"];

interface Mappings {
  uids: readonly IdMapping[];
  gids: readonly IdMapping[];
}

/** Gives every mount its user namespace. Those that do not exist yet are made, one for equal mappings. */
export class MountIdmaps {
  /** The first steps of the program. */
  readonly steps: Step[] = [];
  readonly #launch: ContainerLaunch;
  readonly #made: Mappings[] = [];

  constructor(launch: ContainerLaunch) {
    this.#launch = launch;
  }

  /** @throws CricketError invalid-argument for mappings that cannot be, and where there are none to take */
  of(mount: Mount, options: MountOptions, at: string): Idmap {
    const own = ownMappings(mount, at);
    if (own === undefined && options.idmap === "none") return undefined;
    return { userNamespace: this.#namespace(own, at), recursive: options.idmap === "ridmap" };
  }

  #namespace(own: Mappings | undefined, at: string): { fd: Descriptor } | Made {
    const { uidMappings: uids = [], gidMappings: gids = [] } = this.#launch.spec.linux ?? {};
    const kind = userNamespaceKind(this.#launch.spec.linux);
    const isContainers =
      own === undefined || (kind !== "none" && sameMappings(own.uids, uids) && sameMappings(own.gids, gids));
    if (!isContainers) return this.#make(own);
    if (kind === "none")
      throw invalidArgument(
        `${at}.options has idmap, but neither the mount has mappings nor the container a user namespace`,
      );
    const { userNamespace } = this.#launch;
    if (kind === "joined" && userNamespace !== undefined) return { fd: userNamespace };
    if (uids.length + gids.length > 0) return this.#make({ uids, gids });
    throw new CricketError("internal", `${at}: no descriptor of the container's user namespace`);
  }

  #make(mappings: Mappings): Made {
    const found = this.#made.findIndex(
      ({ uids, gids }) => sameMappings(uids, mappings.uids) && sameMappings(gids, mappings.gids),
    );
    if (found !== -1) return { made: found };
    this.steps.push({
      op: "makeUserNamespace",
      uidMap: formatIdMap(mappings.uids, "uidMappings"),
      gidMap: formatIdMap(mappings.gids, "gidMappings"),
      because: { why: "how the ids of mounts are mapped; nobody ever runs in it", source },
    });
    return { made: this.#made.push(mappings) - 1 };
  }
}

function ownMappings(
  { uidMappings: uids = [], gidMappings: gids = [] }: Mount,
  at: string,
): Mappings | undefined {
  if (uids.length + gids.length === 0) return undefined;
  for (const [name, list, other] of [
    ["uidMappings", uids, "gidMappings"],
    ["gidMappings", gids, "uidMappings"],
  ] as const) {
    if (list.length === 0) throw invalidArgument(`${at}.${name} is missing, but ${other} is given`);
    if (list.some(({ size }) => size === 0)) throw invalidArgument(`${at}.${name} has a size of 0`);
  }
  return { uids, gids };
}
