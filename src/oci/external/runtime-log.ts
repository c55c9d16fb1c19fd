// What a runtime says when it fails: lines of its --log in JSON, or what it printed.
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK } from "../../linux/files.ts";

const maxLogBytes = 64 * 1024;
const maxMessageCharacters = 2000;

/** The last error of the log in `path`; undefined when there is none, or no log. */
export function lastLoggedError(path: string): string | undefined {
  const text = readEnd(path);
  return text === undefined ? undefined : lastErrorOf(text);
}

/**
 * The last message of level error or fatal among lines of JSON; the last of any level where none is worse. Lines that
 * are no such JSON are skipped: the first may have been cut, and runtimes let libraries print into their log.
 */
export function lastErrorOf(text: string): string | undefined {
  let last: string | undefined;
  for (const line of text.split("\n").toReversed()) {
    const entry = parseLine(line);
    if (entry === undefined) continue;
    if (/^(?:error|fatal|panic)$/.test(entry.level)) return printable(entry.msg);
    last ??= printable(entry.msg);
  }
  return last;
}

/** One line without control characters: it goes into an error, and so into events and terminals. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  const clean = text.trim().replaceAll(/[\u0000-\u001f\u007f]+/g, " ");
  return clean.length > maxMessageCharacters ? `${clean.slice(0, maxMessageCharacters)}...` : clean;
}

function parseLine(line: string): { level: string; msg: string } | undefined {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value !== "object" || value === null) return undefined;
    const { level, msg } = value as { level?: unknown; msg?: unknown };
    if (typeof msg !== "string" || msg === "") return undefined;
    return { level: typeof level === "string" ? level : "", msg };
  } catch {
    return undefined;
  }
}

function readEnd(path: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  } catch {
    return undefined;
  }
  try {
    // What went wrong stands at the end of a log that is longer.
    const bytes = Buffer.alloc(maxLogBytes);
    const size = readSync(fd, bytes, 0, bytes.length, Math.max(0, fstatSync(fd).size - maxLogBytes));
    return bytes.toString("utf8", 0, size);
  } catch {
    return undefined;
  } finally {
    closeSync(fd);
  }
}
