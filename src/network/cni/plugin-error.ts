// What a plugin says when it fails (CNI 1.1, section 5 "Error").
import { CricketError, type ErrorCode } from "../../base/errors.ts";
import { isJsonObject } from "./json-object.ts";

/** Well-known codes that mean something to us. */
export const incompatibleVersion = 1;
export const containerUnknown = 3;
const tryAgainLater = 11;
const notAvailable = 50;
const notAvailableLimited = 51;

/** A plugin that ran and failed. `pluginCode` is 0 where it gave none. */
export class PluginError extends CricketError {
  readonly pluginCode: number;

  constructor(message: string, pluginCode: number) {
    super(codeOf(pluginCode), message);
    this.name = "PluginError";
    this.pluginCode = pluginCode;
  }
}

function codeOf(pluginCode: number): ErrorCode {
  const isTransient = [tryAgainLater, notAvailable, notAvailableLimited].includes(pluginCode);
  return isTransient ? "unavailable" : "internal";
}

const maxTextLength = 1024;

export interface PluginFailure {
  /** "plugin bridge ADD". */
  what: string;
  /** "exit status 1", "signal SIGSEGV". */
  ending: string;
  stdout: string;
  stderr: string;
}

/** The error object on standard output, or what else the plugin left behind. */
export function pluginErrorOf({ what, ending, stdout, stderr }: PluginFailure): PluginError {
  const said = tryParseError(stdout);
  if (said !== undefined) {
    const code = said.code === 0 ? "" : ` (code ${said.code})`;
    return new PluginError(`${what}: ${said.text}${code}`, said.code);
  }
  const output = oneLine(stderr) || oneLine(stdout);
  return new PluginError(`${what}: ${ending}${output === "" ? "" : `: ${output}`}`, 0);
}

function tryParseError(stdout: string): { code: number; text: string } | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(stdout);
  } catch {
    return undefined;
  }
  if (!isJsonObject(parsed)) return undefined;
  const { code, msg, details } = parsed;
  const parts = [msg, details].filter((part) => typeof part === "string").map(oneLine);
  const text = parts.filter((part) => part !== "").join("; ");
  const isCode = typeof code === "number" && Number.isSafeInteger(code) && code >= 0;
  if (text === "" && !isCode) return undefined;
  return { code: isCode ? code : 0, text: text === "" ? "failed without a message" : text };
}

/** Bounded, printable, in one line: it goes into messages that others show. */
export function oneLine(text: string): string {
  const cut = text.length > maxTextLength ? `${text.slice(0, maxTextLength)}...` : text;
  return cut.replaceAll(/[\s\p{Cc}]+/gu, " ").trim();
}
