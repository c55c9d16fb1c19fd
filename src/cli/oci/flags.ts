// Options as the runtimes of the field take them: `-name` is `--name`, a value follows or stands behind "=".
import { UsageError } from "../command.ts";

export interface Flag {
  short?: string;
  /** "text" takes a value, "list" takes one each time it is given. */
  takes?: "text" | "list";
  /** What the value is, for the help: "FILE". */
  value?: string;
  /** One line. */
  help: string;
}

export type FlagTable = Readonly<Record<string, Flag>>;

export interface ParsedFlags {
  switches: ReadonlySet<string>;
  texts: ReadonlyMap<string, string>;
  lists: ReadonlyMap<string, readonly string[]>;
  operands: readonly string[];
}

interface Collected {
  switches: Set<string>;
  texts: Map<string, string>;
  lists: Map<string, string[]>;
}

/**
 * `interleaved`: options may follow operands; otherwise everything from the first operand on is one.
 * @throws UsageError
 */
export function parseFlags(argv: readonly string[], table: FlagTable, interleaved: boolean): ParsedFlags {
  const found: Collected = { switches: new Set(), texts: new Map(), lists: new Map() };
  const operands: string[] = [];
  for (let at = 0; at < argv.length; at++) {
    const argument = argv[at] ?? "";
    if (argument === "--") {
      operands.push(...argv.slice(at + 1));
      break;
    }
    if (!argument.startsWith("-") || argument === "-") {
      operands.push(...(interleaved ? [argument] : argv.slice(at)));
      if (!interleaved) break;
      continue;
    }
    at += takeFlag(argument, argv[at + 1], table, found);
  }
  return { ...found, operands };
}

/** How many arguments more than this one it took. */
function takeFlag(argument: string, next: string | undefined, table: FlagTable, found: Collected): number {
  const [given, value] = splitOnce(argument.replace(/^--?/, ""));
  const name = nameOf(given, table);
  const takes = table[name]?.takes;
  if (takes === undefined) {
    setSwitch(found.switches, name, value ?? "true");
    return 0;
  }
  const text = value ?? next;
  if (text === undefined) throw new UsageError(`flag needs an argument: -${given}`);
  if (takes === "text") found.texts.set(name, text);
  else found.lists.set(name, [...(found.lists.get(name) ?? []), text]);
  return value === undefined ? 1 : 0;
}

function nameOf(given: string, table: FlagTable): string {
  if (Object.hasOwn(table, given)) return given;
  const name = Object.keys(table).find((key) => table[key]?.short === given);
  if (name === undefined) throw new UsageError(`flag provided but not defined: -${given}`);
  return name;
}

function setSwitch(switches: Set<string>, name: string, value: string): void {
  if (value === "true") switches.add(name);
  else if (value === "false") switches.delete(name);
  else throw new UsageError(`invalid boolean value ${JSON.stringify(value)} for -${name}`);
}

function splitOnce(text: string): [string, string | undefined] {
  const equals = text.indexOf("=");
  return equals === -1 ? [text, undefined] : [text.slice(0, equals), text.slice(equals + 1)];
}

/** A number that is not negative. @throws UsageError */
export function countOf(flags: ParsedFlags, name: string): number {
  const text = flags.texts.get(name) ?? "0";
  if (!/^\d{1,6}$/.test(text))
    throw new UsageError(`invalid value ${JSON.stringify(text)} for flag -${name}`);
  return Number(text);
}

/** The options, one a line with what they do. */
export function formatFlags(table: FlagTable): string {
  const rows = Object.entries(table).map(([name, flag]): [string, string] => {
    const short = flag.short === undefined ? "    " : `-${flag.short}, `;
    const value = flag.takes === undefined ? "" : ` ${flag.value ?? "VALUE"}`;
    return [`  ${short}--${name}${value}`, flag.help + (flag.takes === "list" ? "; again and again" : "")];
  });
  const width = Math.max(...rows.map(([option]) => option.length)) + 2;
  return rows.map(([option, help]) => `${option.padEnd(width)}${help}\n`).join("");
}
