// Devices of the host for the container's network namespace (config-linux.md#network-devices). The runtime moves them
// while the container waits at its `sync` step; a socket of that namespace lets it set them up from outside.
import { invalidArgument } from "../base/errors.ts";
import type { Step } from "../linux/launch-program.ts";
import type { ContainerLaunch } from "./container-launch.ts";
import { isolatedTypes } from "./compile-namespaces.ts";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const NETLINK_ROUTE = 0;

export function compileNetDevices({ spec }: ContainerLaunch): Step[] {
  const devices = Object.entries(spec.linux?.netDevices ?? {});
  if (devices.length === 0) return [];
  if (!isolatedTypes(spec.linux).has("network"))
    throw invalidArgument("linux.netDevices is set, but linux.namespaces has no network namespace");
  assertNamesDiffer(devices.map(([host, { name = "" }]) => (name === "" ? host : name)));
  return [
    {
      op: "sendSocket",
      domain: AF_NETLINK,
      type: SOCK_RAW,
      protocol: NETLINK_ROUTE,
      because: {
        why: `a socket stays in the namespace that made it: ${devices.map(([host]) => host).join(", ")} set up through it`,
        source: "OCI runtime-spec config-linux.md#network-devices",
      },
    },
  ];
}

function assertNamesDiffer(names: readonly string[]): void {
  const twice = names.find((name, index) => !name.includes("%d") && names.indexOf(name) !== index);
  if (twice !== undefined)
    throw invalidArgument(`linux.netDevices: two devices would be named ${twice} in the container`);
}
