// The keys that leave an attached container alone: "ctrl-p,ctrl-q".
import { UsageError } from "./command.ts";

export const defaultDetachKeys = "ctrl-p,ctrl-q";

/** The bytes of "ctrl-X" and single characters, separated by commas; none for "". @throws UsageError */
export function parseDetachKeys(text: string): readonly number[] {
  if (text === "") return [];
  return text.split(",").map((key) => {
    const [, control] = /^ctrl-([a-z@[\\\]^_])$/i.exec(key) ?? [];
    if (control !== undefined) return control.toUpperCase().charCodeAt(0) & 0x1f;
    if (/^[\x20-\x7e]$/.test(key)) return key.charCodeAt(0);
    throw new UsageError(
      `--detach-keys ${JSON.stringify(text)} is not made of single characters and ctrl-X, separated by commas`,
    );
  });
}

export class DetachKeys {
  readonly #keys: readonly number[];
  /** How many of the keys have been typed; they are held back until the next one decides. */
  #typed = 0;

  constructor(keys: readonly number[]) {
    this.#keys = keys;
  }

  /** What is to be passed on of `input`. `detached`: the keys have been typed, and what follows is dropped. */
  take(input: Buffer): { passed: Buffer; detached: boolean } {
    const passed: number[] = [];
    for (const byte of input) {
      if (this.#keys[this.#typed] === byte) {
        this.#typed++;
        if (this.#typed === this.#keys.length) return { passed: Buffer.from(passed), detached: true };
        continue;
      }
      passed.push(...this.#keys.slice(0, this.#typed));
      this.#typed = this.#keys[0] === byte ? 1 : 0;
      if (this.#typed === 0) passed.push(byte);
    }
    return { passed: Buffer.from(passed), detached: false };
  }
}
