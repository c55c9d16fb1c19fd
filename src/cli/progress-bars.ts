// Progress of a pull on a terminal: one line a layer, redrawn in place.
import { fromInt64 } from "../../cri-api/int64.ts";
import type { v1 } from "../../cri-api/cricket/v1/api.js";
import { formatBytes, shortDigest } from "./format.ts";

const up = (lines: number): string => (lines === 0 ? "" : `\u001b[${lines}A`);
const clearBelow = "\u001b[0J";

export class ProgressBars {
  readonly #write: (text: string) => void;
  readonly #columns: number;
  #drawn = 0;

  constructor(write: (text: string) => void, columns: number) {
    this.#write = write;
    this.#columns = columns;
  }

  draw(layers: readonly v1.LayerProgress[]): void {
    const lines = layers.map((layer) => layerLine(layer, this.#columns));
    this.#write(`${up(this.#drawn)}${clearBelow}${lines.map((line) => `${line}\n`).join("")}`);
    this.#drawn = lines.length;
  }

  /** Removes the bars: what stays on the screen is the result alone. */
  clear(): void {
    this.#write(`${up(this.#drawn)}${this.#drawn === 0 ? "" : clearBelow}`);
    this.#drawn = 0;
  }
}

const states: Readonly<Record<string, string>> = {
  waiting: "waiting",
  downloading: "downloading",
  unpacked: "unpacked",
  done: "done",
  exists: "already here",
};

/** "0a1b2c3d4e5f [=====>     ]  12.3MB/40.0MB  downloading", never wider than the terminal. */
function layerLine(layer: v1.LayerProgress, columns: number): string {
  const done = Number(fromInt64(layer.doneBytes));
  const total = Number(fromInt64(layer.totalBytes));
  const left = `${shortDigest(layer.digest)} `;
  const amount = `${formatBytes(done)}/${total === 0 ? "?" : formatBytes(total)}`;
  const right = ` ${amount.padStart(13)}  ${states[layer.state] ?? ""}`;
  const width = Math.min(40, columns - left.length - right.length - 3);
  const line = width < 5 ? `${left}${right}` : `${left}${bar(done, total, width)}${right}`;
  return line.slice(0, Math.max(0, columns - 1));
}

function bar(done: number, total: number, width: number): string {
  const filled = total === 0 ? 0 : Math.min(width, Math.floor((done / total) * width));
  const head = filled > 0 && filled < width ? ">" : "";
  return `[${"=".repeat(filled - head.length)}${head}${" ".repeat(width - filled)}]`;
}
