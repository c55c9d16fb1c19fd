// Two ends of a connection in memory, with back-pressure: node:stream has duplexPair() only from Node 22 on.
import { Duplex } from "node:stream";

class PairEnd extends Duplex {
  other!: PairEnd;
  #waiting: (() => void) | undefined;

  override _read(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.();
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    if (this.other.destroyed || this.other.push(chunk)) queueMicrotask(done);
    else this.other.#waiting = done;
  }

  override _final(done: () => void): void {
    if (!this.other.destroyed) this.other.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.();
    if (!this.other.destroyed) queueMicrotask(() => this.other.destroy());
    done(error);
  }
}

export function duplexPair(): [Duplex, Duplex] {
  const [one, two] = [new PairEnd(), new PairEnd()];
  one.other = two;
  two.other = one;
  return [one, two];
}
