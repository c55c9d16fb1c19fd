// Lists of CPUs and memory nodes as the kernel writes them: "0-3,7".
import { invalidArgument } from "../base/errors.ts";

/** More than any kernel has; a mask of 1 KiB. */
const maxNumber = 8191;

/**
 * The bits of a list, in whole words of 64, lowest first; none for "".
 * @param what "CPUs", for the error
 * @throws CricketError invalid-argument naming `field`
 */
export function parseNumberList(list: string, field: string, what: string): Uint8Array {
  const mask: number[] = [];
  if (list.trim() === "") return new Uint8Array();
  for (const part of list.split(",")) {
    const match = /^\s*(\d{1,4})(?:-(\d{1,4}))?\s*$/.exec(part);
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? match?.[1]);
    if (match === null || last < first || last > maxNumber)
      throw invalidArgument(`${field} is ${JSON.stringify(list)}: not a list of ${what}`);
    for (let number = first; number <= last; number++)
      mask[number >> 3] = (mask[number >> 3] ?? 0) | (1 << (number & 7));
  }
  return Uint8Array.from({ length: Math.ceil(mask.length / 8) * 8 }, (_unused, index) => mask[index] ?? 0);
}
