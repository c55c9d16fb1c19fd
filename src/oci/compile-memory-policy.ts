// NUMA memory policy (config-linux.md#memory-policy): inherited over fork and execve, so it is set once.
import { invalidArgument } from "../base/errors.ts";
import type { Step } from "../linux/launch-program.ts";
import { memoryPolicyModes, type MemoryPolicy } from "./linux-spec.ts";
import { parseNumberList } from "./number-list.ts";

// linux/mempolicy.h
const flagBits: Record<NonNullable<MemoryPolicy["flags"]>[number], number> = {
  MPOL_F_NUMA_BALANCING: 1 << 13,
  MPOL_F_RELATIVE_NODES: 1 << 14,
  MPOL_F_STATIC_NODES: 1 << 15,
};

// The kernel says EINVAL to all of these; here the property is named. MPOL_PREFERRED takes both.
const withoutNodes: ReadonlySet<MemoryPolicy["mode"]> = new Set(["MPOL_DEFAULT", "MPOL_LOCAL"]);
const mayLackNodes: ReadonlySet<MemoryPolicy["mode"]> = new Set([...withoutNodes, "MPOL_PREFERRED"]);

export function compileMemoryPolicy(policy: MemoryPolicy | undefined): Step[] {
  if (policy === undefined) return [];
  const { mode, nodes: list = "", flags = [] } = policy;
  const nodes = parseNumberList(list, "linux.memoryPolicy.nodes", "memory nodes");
  if (nodes.length > 0 && withoutNodes.has(mode))
    throw invalidArgument(`linux.memoryPolicy.nodes is ${JSON.stringify(list)}: ${mode} takes none`);
  if (nodes.length === 0 && !mayLackNodes.has(mode))
    throw invalidArgument(`linux.memoryPolicy.nodes is empty: ${mode} needs some`);
  return [
    {
      op: "memoryPolicy",
      mode: flags.reduce((bits, flag) => bits | flagBits[flag], memoryPolicyModes.indexOf(mode)),
      nodes,
      because: {
        why: `${[mode, ...flags].join(" | ")}${list === "" ? "" : ` of nodes ${list}`}, kept over execve`,
        source: "OCI runtime-spec config-linux.md#memory-policy",
      },
    },
  ];
}
