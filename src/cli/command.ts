// What a command of the command line is made of: its options, its help and its exit statuses.
import type { Readable, Writable } from "node:stream";
import { parseArgs } from "node:util";

/** The streams of the process, for commands that pass bytes through; ttys where they are terminals. */
export interface StandardStreams {
  stdin: Readable & { isTTY?: boolean; fd?: number; setRawMode?: (isRaw: boolean) => unknown };
  stdout: Writable & { isTTY?: boolean; rows?: number; columns?: number };
  stderr: Writable;
}

/** Where a command writes and what it knows of its surroundings; tests give their own. */
export interface Surroundings {
  stdout: (data: string | Uint8Array) => void;
  stderr: (data: string | Uint8Array) => void;
  streams: StandardStreams;
  /** Width of the terminal behind stderr; undefined when it is none: no progress bars then. */
  columns: number | undefined;
  env: Readonly<Record<string, string | undefined>>;
  /** Aborted by the first SIGINT, SIGTERM or SIGHUP, or when standard output is closed; its reason is an Interrupted. */
  interrupted: AbortSignal;
  /** Aborted by the second one. */
  killed: AbortSignal;
}

/** SIGPIPE stands for a standard output that nobody reads any more. */
export type InterruptSignal = "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGPIPE";

// As a shell reports a program that was killed by the signal; but `cricket ps | head` is no failure.
const exitStatuses: Record<InterruptSignal, number> = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129, SIGPIPE: 0 };

/** Why `interrupted` was aborted. */
export class Interrupted extends Error {
  readonly signal: InterruptSignal;

  constructor(signal: InterruptSignal) {
    super(`interrupted by ${signal}`);
    this.name = "Interrupted";
    this.signal = signal;
  }

  get exitStatus(): number {
    return exitStatuses[this.signal];
  }
}

export interface Option {
  short?: string;
  /** What stands for the value in the help: "NAME". Absent: the option is a switch. */
  value?: string;
  multiple?: boolean;
  about: string;
}

export type OptionTable = Readonly<Record<string, Option>>;

export type OptionValues<Table extends OptionTable> = {
  readonly [Name in keyof Table]: Table[Name] extends { value: string; multiple: true }
    ? readonly string[]
    : Table[Name] extends { value: string }
      ? string | undefined
      : boolean;
};

export interface Invocation<Table extends OptionTable> {
  options: OptionValues<Table>;
  operands: readonly string[];
  surroundings: Surroundings;
}

export interface Command<Table extends OptionTable = OptionTable> {
  /** "IMAGE [COMMAND [ARG...]]": what follows the options. */
  operands: string;
  /** One line for the list of commands. */
  summary: string;
  /** More lines for the command's own help. */
  description?: string;
  options: Table;
  /** Least and greatest number of operands. */
  arity: readonly [number, number];
  /** Everything from the first operand on is an operand, also what looks like an option: a command to run. */
  passesRest?: boolean;
  run(invocation: Invocation<Table>): Promise<number>;
}

/** Types a command by its own option table. */
export function defineCommand<const Table extends OptionTable>(command: Command<Table>): Command<Table> {
  return command;
}

/** A wrong command line: exit status 2, and a hint at --help. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "UsageError";
  }
}

/** Ends a command with a message and an exit status of its own. */
export class ExitError extends Error {
  readonly exitStatus: number;

  constructor(exitStatus: number, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "ExitError";
    this.exitStatus = exitStatus;
  }
}

export const exitStatus = {
  ok: 0,
  failure: 1,
  usage: 2,
  /** As timeout(1). */
  timedOut: 124,
  /** As docker run: cricket itself failed, before or beside the program. */
  notRun: 125,
  /** As a shell: the program is there but cannot be executed. */
  notExecutable: 126,
  /** As a shell: there is no such program. */
  notFound: 127,
} as const;

/** The options every command has. */
const generalOptions = {
  endpoint: { value: "SOCKET", about: "socket of the daemon (also CRICKET_SOCKET)" },
  help: { short: "h", about: "show this help" },
} satisfies OptionTable;

export interface Parsed {
  options: Record<string, string | boolean | readonly string[] | undefined>;
  operands: string[];
}

/** @throws UsageError */
export function parseCommandLine(command: Command, argv: readonly string[]): Parsed {
  const table: OptionTable = { ...command.options, ...generalOptions };
  const [own, rest] = command.passesRest === true ? splitAtOperand(argv, table) : [argv, []];
  const { values, positionals } = parseStrictly(own, table);
  const operands = [...positionals, ...rest];
  const options: Parsed["options"] = {};
  for (const [name, option] of Object.entries(table)) {
    const value = values[name];
    if (option.value === undefined) options[name] = value === true;
    else if (option.multiple === true) options[name] = Array.isArray(value) ? value.map(String) : [];
    else options[name] = typeof value === "string" ? value : undefined;
  }
  if (options["help"] !== true) assertArity(command, operands.length);
  return { options, operands };
}

type ParseOptions = Record<string, { type: "string" | "boolean"; short?: string; multiple?: boolean }>;

function parseOptionsOf(table: OptionTable): ParseOptions {
  const entries = Object.entries(table).map(([name, { short, value, multiple }]) => [
    name,
    {
      type: value === undefined ? "boolean" : "string",
      ...(short === undefined ? {} : { short }),
      ...(multiple === undefined ? {} : { multiple }),
    },
  ]);
  return Object.fromEntries(entries) as ParseOptions;
}

function parseStrictly(argv: readonly string[], table: OptionTable): ReturnType<typeof parseArgs> {
  try {
    return parseArgs({
      args: [...argv],
      options: parseOptionsOf(table),
      allowPositionals: true,
      strict: true,
    });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    // Node explains how to pass such a thing as an operand, in several sentences.
    throw new UsageError(`${message.charAt(0).toLowerCase()}${message.slice(1).split(". ")[0] ?? ""}`);
  }
}

function splitAtOperand(argv: readonly string[], table: OptionTable): [readonly string[], readonly string[]] {
  const options = parseOptionsOf(table);
  const { tokens } = parseArgs({
    args: [...argv],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const first = tokens.find((token) => token.kind === "positional" || token.kind === "option-terminator");
  if (first === undefined) return [argv, []];
  const restFrom = first.kind === "positional" ? first.index : first.index + 1;
  return [argv.slice(0, first.index), argv.slice(restFrom)];
}

function assertArity(command: Command, given: number): void {
  const [least, most] = command.arity;
  if (given < least) throw new UsageError(`${command.operands} is missing`);
  if (given > most) throw new UsageError(most === 0 ? "takes no operands" : "too many operands");
}

/** The text of `cricket NAME --help`. */
export function helpOf(name: string, command: Command): string {
  const table: OptionTable = { ...command.options, ...generalOptions };
  const rows = Object.entries(table).map(([long, { short, value, about }]) => {
    const shortForm = short === undefined ? "    " : `-${short}, `;
    return [`  ${shortForm}--${long}${value === undefined ? "" : ` ${value}`}`, about] as const;
  });
  const width = Math.max(...rows.map(([left]) => left.length));
  const lines = rows.map(([left, about]) => `${left.padEnd(width)}  ${about}`);
  const usage = `usage: cricket ${name} [OPTION...]${command.operands === "" ? "" : ` ${command.operands}`}`;
  const description = command.description === undefined ? "" : `\n${command.description.trim()}\n`;
  return `${usage}\n\n${command.summary}\n${description}\noptions:\n${lines.join("\n")}\n`;
}
