// One line of a container's log in the form of the CRI: "<RFC 3339 time> <stdout|stderr> <P|F> <content>\n".

export interface LogRecord {
  /** As it stands in the file. */
  time: string;
  stream: "stdout" | "stderr";
  /** More of the same line follows in the next record. */
  partial: boolean;
  content: Buffer;
}

const space = 0x20;

/** Undefined for a line that has not this form. `line` is without its newline. */
export function parseLogRecord(line: Buffer): LogRecord | undefined {
  const afterTime = line.indexOf(space);
  const afterStream = line.indexOf(space, afterTime + 1);
  if (afterTime <= 0 || afterStream === -1) return undefined;
  // A record with an empty content may lack the last blank.
  const found = line.indexOf(space, afterStream + 1);
  const afterTags = found === -1 ? line.length : found;
  const stream = line.toString("latin1", afterTime + 1, afterStream);
  if (stream !== "stdout" && stream !== "stderr") return undefined;
  const tags = line.toString("latin1", afterStream + 1, afterTags).split(":");
  if (tags[0] !== "P" && tags[0] !== "F") return undefined;
  const time = line.toString("latin1", 0, afterTime);
  return { time, stream, partial: tags[0] === "P", content: line.subarray(afterTags + 1) };
}

/** The time of a record in nanoseconds since 1970; 0 when it cannot be read. */
export function recordTimeNs({ time }: LogRecord): bigint {
  const match = /^(.*:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)$/.exec(time);
  const ms = Date.parse(match === null ? "" : `${match[1]}${match[3]}`);
  if (match === null || Number.isNaN(ms)) return 0n;
  return BigInt(ms) * 1_000_000n + BigInt((match[2] ?? "").padEnd(9, "0"));
}

/** Cuts bytes that come in any pieces into lines. */
export class LineSplitter {
  #rest: Buffer = Buffer.alloc(0);

  /** The lines that `chunk` completes, without their newlines. */
  push(chunk: Buffer): Buffer[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const lines: Buffer[] = [];
    let start = 0;
    for (let end = bytes.indexOf(0x0a); end !== -1; end = bytes.indexOf(0x0a, start)) {
      lines.push(bytes.subarray(start, end));
      start = end + 1;
    }
    // A copy: the chunk's memory is used again for the next read.
    this.#rest = Buffer.from(bytes.subarray(start));
    return lines;
  }

  reset(): void {
    this.#rest = Buffer.alloc(0);
  }
}
