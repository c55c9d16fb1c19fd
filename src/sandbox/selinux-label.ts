// SELinux labels as text: "user:role:type" and, where the policy has levels, ":level". A level has colons and commas
// of its own: "s0:c1,c2".
import type { SelinuxOptions } from "./sandbox-config.ts";

/** What the process runs under, and what its files are labelled with; "" is none. */
export interface SelinuxLabels {
  process: string;
  mount: string;
}

/** What policies of the field call a container that may do what the host may. */
export const superPrivilegedType = "spc_t";

export function parseSelinuxLabel(text: string): SelinuxOptions {
  const [user = "", role = "", type = "", ...level] = text.split(":");
  return { user, role, type, level: level.join(":") };
}

export function formatSelinuxLabel({ user, role, type, level }: SelinuxOptions): string {
  return [user, role, type, ...(level === "" ? [] : [level])].join(":");
}

/** `labels` with what was asked for in their place. Files follow in user and level: role and type are theirs. */
export function overrideLabels(labels: SelinuxLabels, options: SelinuxOptions | undefined): SelinuxLabels {
  if (options === undefined || labels.process === "") return labels;
  const pick = (asked: string, otherwise: string): string => (asked === "" ? otherwise : asked);
  const process = parseSelinuxLabel(labels.process);
  const mount = parseSelinuxLabel(labels.mount);
  return {
    process: formatSelinuxLabel({
      user: pick(options.user, process.user),
      role: pick(options.role, process.role),
      type: pick(options.type, process.type),
      level: pick(options.level, process.level),
    }),
    mount: formatSelinuxLabel({
      ...mount,
      user: pick(options.user, mount.user),
      level: pick(options.level, mount.level),
    }),
  };
}

/**
 * A level of two categories that no one else has. `random` is Math.random's; undefined when all pairs are taken.
 */
export function uniqueLevel(
  range: number,
  taken: ReadonlySet<string>,
  random: () => number = Math.random,
): string | undefined {
  const pairs = (range * (range - 1)) / 2;
  const start = Math.floor(random() * pairs);
  for (let step = 0; step < pairs; step++) {
    const level = levelOf((start + step) % pairs);
    if (!taken.has(level)) return level;
  }
  return undefined;
}

// The pairs in the order c0,c1 c0,c2 c1,c2 c0,c3 ...: `high` begins at its triangular number.
function levelOf(index: number): string {
  let high = Math.floor((1 + Math.sqrt(1 + 8 * index)) / 2);
  if ((high * (high - 1)) / 2 > index) high--;
  return `s0:c${index - (high * (high - 1)) / 2},c${high}`;
}

/** lxc_contexts(5): lines `process = "label"`, `file = "label"`. */
export function parseContexts(text: string): { process?: string; file?: string } {
  const contexts: { process?: string; file?: string } = {};
  for (const line of text.split("\n")) {
    const match = /^\s*(process|file)\s*=\s*"([^"]+)"\s*$/.exec(line);
    if (match?.[2] !== undefined) contexts[match[1] as "process" | "file"] = match[2];
  }
  return contexts;
}
