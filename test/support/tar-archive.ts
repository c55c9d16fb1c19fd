// Writes tar archives byte by byte, so that tests can build what no honest program would.
import { createHash } from "node:crypto";

export interface TestEntry {
  name: string | Buffer;
  /** The type flag; "0" for a file. */
  type?: string;
  mode?: number;
  uid?: number;
  gid?: number;
  /** Seconds. */
  mtime?: number;
  linkName?: string | Buffer;
  data?: string | Buffer;
  /** The size field, where it is not the length of the data. */
  size?: number;
  device?: [major: number, minor: number];
  /** Records of a pax header in front of the entry. */
  pax?: Record<string, string | Buffer> | [string, string | Buffer][];
  /** Changes the finished header before its checksum is made. */
  patch?: (header: Buffer) => void;
}

/** An archive of the entries, with two blocks of zeros at its end. */
export function tarArchive(...entries: TestEntry[]): Buffer {
  return Buffer.concat([...entries.map(tarEntry), Buffer.alloc(1024)]);
}

/** One entry without an end of archive. */
export function tarEntry(entry: TestEntry): Buffer {
  const data = Buffer.from(entry.data ?? "");
  const parts = [header(entry, entry.size ?? data.length), padded(data)];
  if (entry.pax !== undefined) parts.unshift(paxHeader(entry.pax, "x"));
  return Buffer.concat(parts);
}

/** A pax header for the next entry ("x") or for all ("g"). */
export function paxHeader(records: NonNullable<TestEntry["pax"]>, type: "x" | "g"): Buffer {
  const list = Array.isArray(records) ? records : Object.entries(records);
  const data = Buffer.concat(list.map(([key, value]) => paxRecord(key, value)));
  return tarEntry({ name: "PaxHeaders/x", type, data });
}

/** "<length> <key>=<value>\n", the length counting itself. */
export function paxRecord(key: string, value: string | Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value), Buffer.from("\n")]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

/** A GNU long name ("L") or long link name ("K") for the next entry. */
export function gnuLong(type: "L" | "K", name: string): Buffer {
  return tarEntry({ name: "././@LongLink", type, data: `${name}\0` });
}

export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

function header(entry: TestEntry, size: number): Buffer {
  const block = Buffer.alloc(512);
  const octal = (value: number, at: number, width: number): void => {
    block.write(`${value.toString(8).padStart(width - 1, "0")}\0`, at, "latin1");
  };
  Buffer.from(entry.name).copy(block, 0, 0, 100);
  octal(entry.mode ?? 0o644, 100, 8);
  octal(entry.uid ?? 0, 108, 8);
  octal(entry.gid ?? 0, 116, 8);
  octal(size, 124, 12);
  octal(entry.mtime ?? 1_700_000_000, 136, 12);
  block.write(entry.type ?? "0", 156, "latin1");
  Buffer.from(entry.linkName ?? "").copy(block, 157, 0, 100);
  block.write("ustar\x0000", 257, "latin1");
  octal(entry.device?.[0] ?? 0, 329, 8);
  octal(entry.device?.[1] ?? 0, 337, 8);
  entry.patch?.(block);
  block.fill(" ", 148, 156);
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    8,
  );
  return block;
}

function padded(data: Buffer): Buffer {
  const over = data.length % 512;
  return over === 0 ? data : Buffer.concat([data, Buffer.alloc(512 - over)]);
}
