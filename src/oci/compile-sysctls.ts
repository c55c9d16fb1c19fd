// Kernel parameters of a container. They are written through the host's /proc, before any mount that an image could
// have prepared (CVE-2025-52881), and only where a namespace of the container keeps them from the host (CVE-2022-0532).
import { invalidArgument } from "../base/errors.ts";
import type { Step } from "../linux/launch-program.ts";
import { isolatedTypes } from "./compile-namespaces.ts";
import type { NamespaceType } from "./linux-spec.ts";
import type { Spec } from "./spec.ts";

const source = "OCI runtime-spec config-linux.md#sysctl";

const ipcParameters = /^kernel\.(sem|shm[a-z_]*|msg[a-z_]*)$|^fs\.mqueue\./;
const utsParameters = /^kernel\.(hostname|domainname)$/;

export function compileSysctls(spec: Spec): Step[] {
  const isolated = isolatedTypes(spec.linux);
  return Object.entries(spec.linux?.sysctl ?? {}).map(([name, value]): Step => {
    const type = namespaceOf(name);
    if (setsName(spec, name)) throw refused(name, "the spec sets it by a property of its own, too");
    if (type === undefined) throw refused(name, "it belongs to no namespace and would change the host");
    if (!isolated.has(type)) throw refused(name, `the container has no ${type} namespace of its own`);
    // One parameter, one file, one value: nothing is ever joined to one string (CVE-2022-0811).
    if (/[\n\0]/.test(value)) throw refused(name, "its value has a newline");
    return {
      op: "writeProc",
      path: sysctlFile(name),
      value,
      because: { why: `kernel parameter of the ${type} namespace`, source },
    };
  });
}

/** Which of the two counts would depend on the order of the launch. */
function setsName({ hostname = "", domainname = "" }: Spec, name: string): boolean {
  const dotted = name.replaceAll("/", ".");
  return (
    (dotted === "kernel.hostname" && hostname !== "") || (dotted === "kernel.domainname" && domainname !== "")
  );
}

function refused(name: string, why: string): Error {
  return invalidArgument(`linux.sysctl[${JSON.stringify(name)}]: ${why}`);
}

function namespaceOf(name: string): NamespaceType | undefined {
  if (name.includes("..") || !/^[a-z0-9_-]+([./][a-zA-Z0-9_./-]+)+$/.test(name)) return undefined;
  const dotted = isSlashForm(name) ? name.replaceAll("/", ".") : name;
  if (dotted.startsWith("net.")) return "network";
  if (ipcParameters.test(dotted)) return "ipc";
  return utsParameters.test(dotted) ? "uts" : undefined;
}

// sysctl(8): when the first separator is a slash, dots belong to names, such as the interface eth0.100.
function isSlashForm(name: string): boolean {
  return /^[^.]*\//.test(name);
}

function sysctlFile(name: string): string {
  if (isSlashForm(name)) return `/proc/sys/${name}`;
  return `/proc/sys/${name.replace(/[./]/g, (separator) => (separator === "." ? "/" : "."))}`;
}
