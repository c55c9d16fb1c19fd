// Device rules as properties of a unit, for cgroup v1: there a reload of systemd opens all devices again for a unit
// that has none (on v2 the filter is a program of cricket's own, which systemd does not touch).
import type { DeviceException, DevicePolicy } from "../cgroup/device-rules.ts";
import { formatException } from "../cgroup/device-rules.ts";
import { text } from "./unit-properties.ts";
import type { UnitProperty } from "./systemd-client.ts";

/** `groups`: the content of /proc/devices, which names whole majors. */
export function deviceProperties(policy: DevicePolicy, groups: string): UnitProperty[] {
  if (policy.allowByDefault)
    return [
      ["DevicePolicy", text("auto")],
      ["DeviceAllow", { signature: "a(ss)", value: [] }],
    ];
  const names = parseGroups(groups);
  const allowed = policy.exceptions.flatMap((exception) => {
    const node = nodeOf(exception, names);
    return node === undefined ? [] : [[node, accessOf(exception)]];
  });
  return [
    ["DevicePolicy", text("strict")],
    // An empty list first: assigning adds to what is there.
    ["DeviceAllow", { signature: "a(ss)", value: [] }],
    ["DeviceAllow", { signature: "a(ss)", value: allowed }],
  ];
}

const accessOf = (exception: DeviceException): string => formatException(exception).split(" ").at(-1) ?? "";

function nodeOf({ type, major, minor }: DeviceException, names: GroupNames): string | undefined {
  const kind = type === "b" ? "block" : "char";
  if (major !== -1 && minor !== -1) return `/dev/${kind}/${major}:${minor}`;
  if (major === -1) return minor === -1 ? `${kind}-*` : undefined;
  const name = names[type].get(major);
  return name === undefined ? undefined : `${kind}-${name}`;
}

type GroupNames = Readonly<Record<"b" | "c", ReadonlyMap<number, string>>>;

function parseGroups(groups: string): GroupNames {
  const [character = "", block = ""] = groups.split(/^Block devices:$/m);
  const parse = (part: string): Map<number, string> => {
    const names = new Map<number, string>();
    for (const [, major = "", name = ""] of part.matchAll(/^\s*(\d+) (\S+)$/gm)) {
      // A major can have several drivers; the first is the one for the whole of it.
      if (!names.has(Number(major))) names.set(Number(major), name);
    }
    return names;
  };
  return { c: parse(character), b: parse(block) };
}
