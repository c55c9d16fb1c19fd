// `cricket oci`: the command line that runc and crun share. Verbs are loaded when they are run, and no daemon is needed.
import { appendFileSync, existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { messageOf } from "../../base/errors.ts";
import type { HelperBinary } from "../../linux/helper-binary.ts";
import type { SystemdCgroupManager } from "../../linux/systemd/systemd-cgroup-manager.ts";
import type { Runtime } from "../../oci/runtime/runtime.ts";
import { UsageError } from "../command.ts";
import { formatFlags, parseFlags, type Flag, type FlagTable, type ParsedFlags } from "./flags.ts";
import type { Verb } from "./verb.ts";

const helpFlag: Flag = { short: "h", help: "print this" };

const globalFlags: FlagTable = {
  root: { takes: "text", value: "DIR", help: "where the state of containers is kept (/run/cricket-oci)" },
  log: { takes: "text", value: "FILE", help: "where errors and warnings are written too" },
  "log-format": { takes: "text", value: "FORMAT", help: "text or json" },
  debug: { help: "the log also has every step of a launch" },
  strict: { help: "unknown properties, and what cannot be given, are errors and not warnings" },
  "systemd-cgroup": { help: "cgroups are those of systemd: cgroupsPath is slice:prefix:name" },
  rootless: {
    takes: "text",
    value: "VALUE",
    help: "accepted, as with runc; whether root is there is found out",
  },
  criu: { takes: "text", value: "PATH", help: "accepted, as with runc: criu is looked for in PATH" },
  version: { short: "v", help: "print the version" },
  help: helpFlag,
};

const verbs: Readonly<Record<string, () => Promise<Verb>>> = {
  checkpoint: async () => (await import("./checkpoint.ts")).checkpoint,
  create: async () => (await import("./create.ts")).create,
  delete: async () => (await import("./lifecycle.ts")).deleteVerb,
  events: async () => (await import("./inspect.ts")).events,
  exec: async () => (await import("./exec.ts")).exec,
  features: async () => (await import("./spec.ts")).featuresVerb,
  kill: async () => (await import("./lifecycle.ts")).kill,
  list: async () => (await import("./inspect.ts")).list,
  pause: async () => (await import("./lifecycle.ts")).pause,
  ps: async () => (await import("./inspect.ts")).ps,
  restore: async () => (await import("./checkpoint.ts")).restore,
  resume: async () => (await import("./lifecycle.ts")).resume,
  run: async () => (await import("./run.ts")).run,
  spec: async () => (await import("./spec.ts")).spec,
  start: async () => (await import("./lifecycle.ts")).start,
  state: async () => (await import("./inspect.ts")).state,
  update: async () => (await import("./update.ts")).update,
};

const defaultRoot = "/run/cricket-oci";

/** The exit status; never rejects. */
export async function runOci(argv: readonly string[]): Promise<number> {
  let globals: ParsedFlags;
  try {
    globals = parseFlags(argv, globalFlags, false);
    assertLog(globals);
  } catch (error) {
    process.stderr.write(`cricket oci: ${messageOf(error)}\n`);
    return 1;
  }
  const [name = "help", ...rest] = globals.operands;
  if (globals.switches.has("version")) return printVersion();
  const [verbToExplain] = rest;
  if (name === "help" && verbToExplain !== undefined) return tryVerb(verbToExplain, ["--help"], globals);
  if (name === "help" || globals.switches.has("help")) return printHelp();
  return tryVerb(name, rest, globals);
}

interface NamedVerb {
  name: string;
  verb: Verb;
}

/** A log that cannot be written is said before anything is done: engines read errors from nowhere else. */
function assertLog({ texts }: ParsedFlags): void {
  const format = texts.get("log-format") ?? "text";
  if (format !== "text" && format !== "json") throw new UsageError(`invalid log-format: ${format}`);
  const log = texts.get("log") ?? "";
  try {
    if (log !== "") appendFileSync(log, "", { mode: 0o644 });
  } catch (error) {
    throw new UsageError(`--log: ${messageOf(error)}`);
  }
}

async function tryVerb(name: string, argv: readonly string[], globals: ParsedFlags): Promise<number> {
  let verb: Verb | undefined;
  try {
    verb = await loadVerb(name);
    return verb === undefined ? unknownVerb(name, globals) : await runVerb({ name, verb }, argv, globals);
  } catch (error) {
    const prefix = verb?.failure === undefined || error instanceof UsageError ? "" : `${verb.failure}: `;
    report(globals, "error", prefix + messageOf(error));
    return verb?.failureStatus ?? 1;
  }
}

/** Has an exit status of its own, as with runc. */
function unknownVerb(name: string, globals: ParsedFlags): number {
  report(globals, "error", `No help topic for '${name}'`);
  return 3;
}

async function loadVerb(name: string): Promise<Verb | undefined> {
  const load = Object.hasOwn(verbs, name) ? verbs[name] : undefined;
  return load?.();
}

async function runVerb(
  { name, verb }: NamedVerb,
  argv: readonly string[],
  globals: ParsedFlags,
): Promise<number> {
  const table = { ...verb.flags, help: helpFlag };
  const flags = parseFlags(argv, table, verb.passesRest !== true);
  if (flags.switches.has("help")) return printVerbHelp({ name, verb }, table);
  const { operands } = flags;
  const [least, most] = verb.arity;
  if (operands.length < least || operands.length > most)
    throw new UsageError(`${operands.length} operands, but it takes ${verb.operands || "none"}`);
  return verb.run({
    runtime: await openRuntime(globals),
    flags,
    operands,
    print: (text) => void process.stdout.write(text),
    warn: (message) => report(globals, "warning", message),
  });
}

async function openRuntime(globals: ParsedFlags): Promise<Runtime> {
  const { RuntimeStore } = await import("../../oci/runtime/container-store.ts");
  const { HelperBinary: Binary } = await import("../../linux/helper-binary.ts");
  let loaded: HelperBinary | undefined;
  const helper = (): HelperBinary => (loaded ??= Binary.load(helperDirectory()));
  let systemd: Promise<SystemdCgroupManager> | undefined;
  return {
    store: new RuntimeStore(globals.texts.get("root") ?? defaultRoot),
    helper,
    strict: globals.switches.has("strict"),
    usesSystemd: globals.switches.has("systemd-cgroup"),
    debug: globals.switches.has("debug") ? (message) => report(globals, "debug", message) : undefined,
    systemd: () => (systemd ??= openSystemd(helper)),
  };
}

async function openSystemd(helper: () => HelperBinary): Promise<SystemdCgroupManager> {
  const { SystemdClient } = await import("../../linux/systemd/systemd-client.ts");
  const { SystemdCgroupManager: Manager } = await import("../../linux/systemd/systemd-cgroup-manager.ts");
  const { startPlaceholder } = await import("../../linux/systemd/placeholder.ts");
  const { ociFieldNames } = await import("../../linux/cgroup/field-names.ts");
  return new Manager({
    client: new SystemdClient(),
    startPlaceholder: () => startPlaceholder(helper()),
    names: ociFieldNames,
  });
}

/** build/ beside package.json, which lies above both src and dist/lib; or where the variable says. */
function helperDirectory(): string {
  const given = process.env["CRICKET_HELPER_DIR"];
  if (given !== undefined && given !== "") return given;
  let directory = dirname(fileURLToPath(import.meta.url));
  while (directory !== "/" && !existsSync(join(directory, "package.json"))) directory = dirname(directory);
  return join(directory, "build");
}

/** One line on standard error; with --log also into the file, in the form that engines read. */
function report(globals: ParsedFlags, level: "debug" | "error" | "warning", message: string): void {
  const time = new Date().toISOString().replace(/\.\d+Z$/, "Z");
  const text = `time=${JSON.stringify(time)} level=${level} msg=${JSON.stringify(message)}`;
  const log = globals.texts.get("log") ?? "";
  const json = globals.texts.get("log-format") === "json";
  const line = json ? JSON.stringify({ level, msg: message, time }) : text;
  if (log === "") {
    process.stderr.write(`${line}\n`);
    return;
  }
  try {
    appendFileSync(log, `${line}\n`, { mode: 0o644 });
  } catch (error) {
    process.stderr.write(`cricket oci: --log: ${messageOf(error)}\n`);
  }
  if (level === "error") process.stderr.write(`${message}\n`);
}

async function printVersion(): Promise<number> {
  const { packageVersion } = await import("../package-version.ts");
  const { NEWEST_SPEC_VERSION } = await import("../../oci/spec.ts");
  process.stdout.write(`cricket version ${packageVersion()}\nspec: ${NEWEST_SPEC_VERSION}\n`);
  return 0;
}

async function printHelp(): Promise<number> {
  const loaded = await Promise.all(
    Object.entries(verbs).map(async ([name, load]) => [name, await load()] as const),
  );
  const width = Math.max(...loaded.map(([name]) => name.length)) + 2;
  const summaries = loaded.map(([name, { summary }]) => `  ${name.padEnd(width)}${summary}\n`).join("");
  process.stdout.write(
    `usage: cricket oci [OPTION...] VERB [OPTION...] [OPERAND...]\n\nverbs; VERB --help tells their options:\n${summaries}\noptions:\n${formatFlags(globalFlags)}`,
  );
  return 0;
}

function printVerbHelp({ name, verb }: NamedVerb, table: FlagTable): number {
  const operands = verb.operands === "" ? "" : ` ${verb.operands}`;
  process.stdout.write(
    `${verb.summary}\n\nusage: cricket oci ${name} [OPTION...]${operands}\n\noptions:\n${formatFlags(table)}`,
  );
  return 0;
}
