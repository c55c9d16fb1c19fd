// WWW-Authenticate: RFC 9110 section 11.6.1, with the parameters that registries use.
export interface Challenge {
  /** In lower case: "bearer", "basic". */
  scheme: string;
  /** Names in lower case. */
  parameters: Map<string, string>;
}

const token = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const quoted = /"((?:[^"\\]|\\.)*)"/y;
/** No registry needs more; a hostile one must not keep the parser busy. */
const lengthLimit = 8192;

/** All challenges of all header lines, in order. What cannot be read ends the line it is in. */
export function parseChallenges(lines: readonly string[]): Challenge[] {
  return lines.flatMap((line) => parseLine(line.slice(0, lengthLimit)));
}

function parseLine(line: string): Challenge[] {
  const challenges: Challenge[] = [];
  const reader = new Reader(line);
  for (reader.skip(/[\s,]*/y); !reader.atEnd(); reader.skip(/[\s,]*/y)) {
    const name = reader.take(token);
    if (name === undefined) break;
    if (!readParameter(reader, name, challenges.at(-1)))
      challenges.push({ scheme: name.toLowerCase(), parameters: new Map() });
  }
  return challenges;
}

/** True when `name` turned out to be a parameter of `current`: that is what an equals sign tells. */
function readParameter(reader: Reader, name: string, current: Challenge | undefined): boolean {
  if (current === undefined || reader.take(/\s*=\s*/y) === undefined) return false;
  const value = reader.take(quoted)?.slice(1, -1).replace(/\\(.)/g, "$1") ?? reader.take(token) ?? "";
  // The first one counts: a second must not replace what was checked.
  const key = name.toLowerCase();
  if (!current.parameters.has(key)) current.parameters.set(key, value);
  return true;
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  atEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  /** The text that the sticky pattern matches here, which is then behind. */
  take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match === null) return undefined;
    this.#at = pattern.lastIndex;
    return match[0];
  }

  skip(pattern: RegExp): void {
    this.take(pattern);
  }
}
