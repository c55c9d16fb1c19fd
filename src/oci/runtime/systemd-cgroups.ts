// linux.cgroupsPath and annotations in the terms of systemd, for --systemd-cgroup.
import { invalidArgument } from "../../base/errors.ts";
import type { UnitProperty } from "../../linux/systemd/systemd-client.ts";
import { boolean, int32, text, uint64 } from "../../linux/systemd/unit-properties.ts";
import { cgroupName, scopeName, slicePath } from "../../linux/systemd/unit-names.ts";

/** As runc's; a spec without a path lands beside the services. */
const defaultSlice = "system.slice";
const defaultPrefix = "cricket";

/** `slice:prefix:name`, as all engines write it for systemd. `root`: where systemd's tree begins. */
export function scopePathOf(id: string, path: string | undefined, root: string): string {
  const parts = path === undefined || path === "" ? ["", defaultPrefix, id] : path.split(":");
  const [slice = "", prefix = "", name = ""] = parts;
  if (parts.length !== 3 || name === "")
    throw invalidArgument(
      `linux.cgroupsPath ${JSON.stringify(path)} is not of the form slice:prefix:name, but --systemd-cgroup is given`,
    );
  const parent = slice === "-.slice" ? "" : slicePath(slice === "" ? defaultSlice : slice);
  return `${root}${parent}/${cgroupName(scopeName(prefix, name))}`;
}

const annotationPrefix = "org.systemd.property.";
const lastSignal = 64;

type ReadValue = (value: string) => UnitProperty[1] | undefined;

const readTime: ReadValue = (value) => {
  const number = /^(?:uint64 )?(\d{1,20})$/.exec(value)?.[1];
  return number === undefined || BigInt(number) >= 1n << 64n ? undefined : uint64(BigInt(number));
};
const readFlag: ReadValue = (value) =>
  /^(?:true|false)$/.test(value) ? boolean(value === "true") : undefined;
const readSignal: ReadValue = (value) => {
  const number = Number(/^(?:int32 )?(\d{1,2})$/.exec(value)?.[1] ?? 0);
  return number >= 1 && number <= lastSignal ? int32(number) : undefined;
};
const readText =
  (pattern: RegExp): ReadValue =>
  (value) => {
    const plain = /^(['"]?)(.*)\1$/.exec(value)?.[2] ?? "";
    return pattern.test(plain) ? text(plain) : undefined;
  };

/**
 * What an annotation may say of the scope: how it ends and what it is called. Nothing that runs programs, opens devices
 * or changes limits: annotations are often written by whoever may start a pod (CVE-2024-3154).
 */
const allowed: Readonly<Record<string, { property: string; read: ReadValue }>> = {
  TimeoutStopUSec: { property: "TimeoutStopUSec", read: readTime },
  TimeoutStopSec: { property: "TimeoutStopUSec", read: (value) => inMicroseconds(readTime(value)) },
  RuntimeMaxUSec: { property: "RuntimeMaxUSec", read: readTime },
  RuntimeMaxSec: { property: "RuntimeMaxUSec", read: (value) => inMicroseconds(readTime(value)) },
  // podman says with it how its containers are to be stopped.
  KillSignal: { property: "KillSignal", read: readSignal },
  Description: { property: "Description", read: readText(/^[\x20-\x7e]{1,200}$/) },
  CollectMode: { property: "CollectMode", read: readText(/^(?:inactive|inactive-or-failed)$/) },
  SendSIGHUP: { property: "SendSIGHUP", read: readFlag },
  SendSIGKILL: { property: "SendSIGKILL", read: readFlag },
};

function inMicroseconds(seconds: UnitProperty[1] | undefined): UnitProperty[1] | undefined {
  const value = seconds?.value;
  if (typeof value !== "bigint" || value > 0xffff_ffff_ffffn) return undefined;
  return uint64(value * 1_000_000n);
}

/** The properties of `org.systemd.property.*`. Throws invalid-argument for one that is not on the list. */
export function annotatedProperties(annotations: Readonly<Record<string, string>>): UnitProperty[] {
  return Object.entries(annotations)
    .filter(([key]) => key.startsWith(annotationPrefix))
    .map(([key, value]): UnitProperty => {
      const name = key.slice(annotationPrefix.length);
      const entry = Object.hasOwn(allowed, name) ? allowed[name] : undefined;
      if (entry === undefined)
        throw invalidArgument(
          `annotation ${JSON.stringify(key)}: only ${Object.keys(allowed).join(", ")} may be set this way`,
        );
      const read = entry.read(value);
      if (read === undefined)
        throw invalidArgument(
          `annotation ${JSON.stringify(key)}: ${JSON.stringify(value)} is not a value for it`,
        );
      return [entry.property, read];
    });
}
