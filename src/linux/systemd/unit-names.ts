// Names of systemd's units and the cgroups they stand for (systemd.unit(5), systemd.slice(5)).
import { invalidArgument } from "../../base/errors.ts";
import { readProcessCgroups } from "../proc.ts";

// UNIT_NAME_MAX is 256 with the final NUL; a file name in a cgroup hierarchy may have no more either.
const maxUnitName = 255;

/** Throws invalid-argument for what is no name of a slice: it comes from cgroup_parent or cgroupsPath. */
export function checkSliceName(name: string): string {
  const stem = name.slice(0, -".slice".length);
  const isName =
    name.endsWith(".slice") && /^[\w:.\\]+(?:-[\w:.\\]+)*$/.test(stem) && name.length <= maxUnitName;
  if (!isName) throw invalidArgument(`${JSON.stringify(name)} is not the name of a systemd slice`);
  return name;
}

/** A slice lies in those that its name begins with: a-b.slice is /a.slice/a-b.slice. */
export function slicePath(name: string): string {
  const parts = checkSliceName(name).slice(0, -".slice".length).split("-");
  return parts
    .map((_part, index) => `/${cgroupName(`${parts.slice(0, index + 1).join("-")}.slice`)}`)
    .join("");
}

/** `<prefix>-<name>.scope`; characters that no unit may have become \xNN, as systemd-escape(1) does it. */
export function scopeName(prefix: string, name: string): string {
  const stem = escapeUnitName(prefix === "" ? name : `${prefix}-${name}`);
  const unit = `${stem}.scope`;
  if (stem === "" || unit.length > maxUnitName)
    throw invalidArgument(`${JSON.stringify(unit)} is not the name of a systemd scope`);
  return unit;
}

function escapeUnitName(text: string): string {
  return [...Buffer.from(text)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[\w:.-]/.test(character) ? character : `\\x${byte.toString(16).padStart(2, "0")}`;
    })
    .join("");
}

const controllerFile =
  /^(?:cgroup|cpu|cpuacct|cpuset|io|blkio|memory|devices|pids|hugetlb|misc|rdma|freezer)\./;

/** The directory of a unit: those that could be mistaken for a file of the kernel's begin with "_". */
export function cgroupName(unit: string): string {
  return /^[_.]/.test(unit) || controllerFile.test(unit) ? `_${unit}` : unit;
}

/** The unit of a cgroup, from its path: the inverse of the above. */
export function unitOf(path: string): string {
  const name = path.slice(path.lastIndexOf("/") + 1);
  return name.startsWith("_") ? name.slice(1) : name;
}

/** Where systemd's tree begins: "" but on machines whose systemd itself runs in a cgroup (a container as a node). */
export function systemdRoot(cgroups = readProcessCgroups(1)): string {
  const init = cgroups.get("name=systemd") ?? cgroups.get("") ?? "/";
  return init.replace(/\/init\.scope$/, "").replace(/\/$/, "");
}
