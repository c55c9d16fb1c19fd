import { setTimeout as sleep } from "node:timers/promises";
import { runProgram } from "../../linux/run-program.ts";
import { stringifyExactIntegers } from "../../oci/json-shape.ts";
import type { PublicState } from "../../oci/runtime/container-store.ts";
import { oomEvent, oomKills, statsEvent } from "../../oci/runtime/events.ts";
import { UsageError } from "../command.ts";
import type { ParsedFlags } from "./flags.ts";
import type { Verb } from "./verb.ts";

export const state: Verb = {
  operands: "CONTAINER",
  summary: "print the state of a container",
  flags: {},
  arity: [1, 1],
  run({ runtime: { store }, operands, print }) {
    // The owner is for `list` alone, as runc has it.
    const described = { ...store.describe(store.get(operands[0] ?? "")), owner: "" };
    print(`${JSON.stringify(described, null, 2)}\n`);
    return Promise.resolve(0);
  },
};

export const list: Verb = {
  operands: "",
  summary: "list containers",
  flags: {
    format: { short: "f", takes: "text", value: "FORMAT", help: "table or json" },
    quiet: { short: "q", help: "ids alone" },
  },
  arity: [0, 0],
  run({ runtime: { store }, flags, print }) {
    const format = formatOf(flags);
    const states = store.list().map((item) => store.describe(item));
    if (flags.switches.has("quiet")) print(states.map(({ id }) => `${id}\n`).join(""));
    else if (format === "json") print(`${states.length === 0 ? "null" : JSON.stringify(states)}\n`);
    else print(formatList(states));
    return Promise.resolve(0);
  },
};

function formatOf(flags: ParsedFlags): "table" | "json" {
  const format = flags.texts.get("format") ?? "table";
  if (format === "table" || format === "json") return format;
  throw new UsageError("invalid format option");
}

/** Columns of at least 12, three blanks between them: what scripts that read runc's list expect. */
export function formatList(states: readonly PublicState[]): string {
  const rows = [
    ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"],
    ...states.map(({ id, pid, status, bundle, created, owner }) => [
      id,
      `${pid}`,
      status,
      bundle,
      created,
      owner,
    ]),
  ];
  const widths = rows[0]?.map((_title, column) =>
    Math.max(12, ...rows.map((row) => (row[column]?.length ?? 0) + 3)),
  );
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths?.[column] ?? 0)))
        .join(""),
    )
    .map((line) => `${line}\n`)
    .join("");
}

export const ps: Verb = {
  operands: "CONTAINER [PS-OPTION...]",
  summary: "list the processes of a container",
  flags: { format: { short: "f", takes: "text", value: "FORMAT", help: "table or json" } },
  arity: [1, Infinity],
  passesRest: true,
  async run({ runtime: { store }, flags, operands, print }) {
    const [id = "", ...given] = operands;
    const pids = store.cgroups.pids(store.get(id).cgroupPath);
    if (formatOf(flags) === "json") {
      print(`${JSON.stringify(pids)}\n`);
      return 0;
    }
    const output = await runProgram({
      path: "ps",
      args: given.length === 0 ? ["-ef"] : given,
      env: [`PATH=${process.env["PATH"] ?? "/usr/bin:/bin"}`],
    });
    print(linesOf(output, new Set(pids)));
    return 0;
  },
};

/** The title and the lines whose PID column is one of `pids`. */
export function linesOf(output: string, pids: ReadonlySet<number>): string {
  const [title = "", ...lines] = output.split("\n");
  const column = title.trim().split(/\s+/).indexOf("PID");
  if (column === -1) throw new UsageError("couldn't find PID field in ps output");
  const own = lines.filter((line) => pids.has(Number(line.trim().split(/\s+/)[column])));
  return [title, ...own].map((line) => `${line}\n`).join("");
}

export const events: Verb = {
  operands: "CONTAINER",
  summary: "print what a container uses, again and again or once",
  flags: {
    stats: { help: "print once and end" },
    interval: { takes: "text", value: "DURATION", help: "time from one to the next (5s)" },
  },
  arity: [1, 1],
  async run({ runtime, flags, operands, print }) {
    const [id = ""] = operands;
    const intervalMs = durationMs(flags.texts.get("interval") ?? "5s");
    const say = (event: Record<string, unknown>): void => print(`${stringifyExactIntegers(event)}\n`);
    say(statsEvent(runtime, id));
    if (flags.switches.has("stats")) return 0;
    let kills = oomKills(runtime, id);
    for (let untilStatsMs = intervalMs; ; untilStatsMs -= oomPollMs) {
      await sleep(Math.min(untilStatsMs, oomPollMs));
      const state = runtime.store.find(id);
      if (state === undefined) return 0;
      const before = kills;
      kills = oomKills(runtime, id);
      if (kills > before) say(oomEvent(id));
      if (runtime.store.status(state) === "stopped") return 0;
      if (untilStatsMs > oomPollMs) continue;
      say(statsEvent(runtime, id));
      untilStatsMs = intervalMs + oomPollMs;
    }
  },
};

/** How soon the OOM killer is told of, and the end of the container seen. */
const oomPollMs = 500;

/** "5s", "500ms", "1m30s", as Go programs take durations. */
export function durationMs(text: string): number {
  const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text))
    throw new UsageError(`duration interval must be greater than 0`);
  let total = 0;
  for (const [, number = "0", unit = "s"] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g))
    total += Number(number) * (units[unit] ?? 0);
  if (total <= 0) throw new UsageError("duration interval must be greater than 0");
  return total;
}
