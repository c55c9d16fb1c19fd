// Classes of caches and memory bandwidth: groups of resctrl that somebody has made on this node.
import { join } from "node:path";
import { failedPrecondition, invalidArgument } from "../../base/errors.ts";
import { findResctrl, groupExists } from "../../linux/resctrl.ts";
import type { IntelRdt } from "../../oci/linux-spec.ts";

/** What goresctrl calls the group that all processes begin in. */
const rootClass = "system/default";

/**
 * @param resctrlPath where resctrl is; "": wherever it is mounted
 * @throws CricketError invalid-argument for what names no group, failed-precondition for one that there is not
 */
export function resolveRdtClass(name: string, resctrlPath: string): IntelRdt {
  if (name !== rootClass && (/[/\n]/.test(name) || name === "." || name === ".." || name.length > 255))
    throw invalidArgument(`RDT class ${JSON.stringify(name)} is not a name`);
  const root = resctrlPath === "" ? findResctrl() : resctrlPath;
  if (root === undefined)
    throw failedPrecondition(`RDT class ${name}: no resctrl file system is mounted on this host`);
  const group = name === rootClass ? root : join(root, name);
  if (!groupExists(group)) throw failedPrecondition(`RDT class ${name}: there is no group ${group}`);
  return { closID: name === rootClass ? "/" : name };
}
