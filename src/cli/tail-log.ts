// Where the last lines of a log begin, without reading all of it.
import { open, type FileHandle } from "node:fs/promises";
import { parseLogRecord } from "./log-record.ts";

const blockBytes = 64 * 1024;

/** The byte at which the last `lines` lines of a log begin; 0 when it has fewer. A line may consist of several records. */
export async function tailStart(path: string, lines: number): Promise<number> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    if (lines === 0) return size;
    for (let length = blockBytes; ; length *= 2) {
      const start = Math.max(0, size - length);
      const found = lastLines(await readBlock(file, start, size - start), lines, start === 0);
      if (found !== undefined) return start + found;
      if (start === 0) return 0;
    }
  } finally {
    await file.close();
  }
}

async function readBlock(file: FileHandle, start: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(buffer, done, length - done, start + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return buffer.subarray(0, done);
}

/** Offset in `block` after the record that ends the line before the last `lines` ones; undefined: not in this block. */
function lastLines(block: Buffer, lines: number, isWhole: boolean): number | undefined {
  let end = block.lastIndexOf(0x0a);
  for (let complete = 0; end !== -1;) {
    const start = end === 0 ? 0 : block.lastIndexOf(0x0a, end - 1) + 1;
    // The first record of a block that does not begin the file may be cut.
    if (start === 0 && !isWhole) return undefined;
    const record = parseLogRecord(block.subarray(start, end));
    if (record !== undefined && !record.partial && ++complete > lines) return end + 1;
    end = start - 1;
  }
  return undefined;
}
