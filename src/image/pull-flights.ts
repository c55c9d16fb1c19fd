// Pulls of the same image by the same caller share one execution, and each caller may leave it.
import { setMaxListeners } from "node:events";
import type { LayerProgress, PullListener, PullProgress } from "./pull-progress.ts";
import { abortedError, throwIfAborted } from "./registry-errors.ts";

interface Flight {
  result: Promise<string>;
  stop: AbortController;
  listeners: Set<PullListener>;
  /** Those who wait for it still. */
  callers: Set<PullCaller>;
  /** Where each layer stands: what a caller that joins late is told first. */
  layers: LayerProgress[];
}

export interface PullCaller {
  onProgress: PullListener | undefined;
  signal: AbortSignal | undefined;
}

export type PullWork = (report: PullListener, signal: AbortSignal) => Promise<string>;

export class PullFlights {
  readonly #flights = new Map<string, Flight>();

  /**
   * Runs `work`, or joins the run that is under way for `key`. An aborted caller gets its error at once; the last
   * one aborts the run itself, and gets its error when the run has ended.
   */
  async run(key: string, caller: PullCaller, work: PullWork): Promise<string> {
    const { onProgress, signal } = caller;
    if (signal !== undefined) throwIfAborted(signal);
    const flight = this.#flights.get(key) ?? this.#start(key, work);
    flight.callers.add(caller);
    if (onProgress !== undefined) {
      if (flight.layers.length > 0) onProgress({ phase: "layers", layers: [...flight.layers] });
      flight.listeners.add(onProgress);
    }
    try {
      return await this.#leavable(key, flight, caller);
    } finally {
      if (onProgress !== undefined) flight.listeners.delete(onProgress);
      flight.callers.delete(caller);
    }
  }

  #start(key: string, work: PullWork): Flight {
    const stop = new AbortController();
    setMaxListeners(0, stop.signal);
    const layers: LayerProgress[] = [];
    const shared = { stop, layers, listeners: new Set<PullListener>(), callers: new Set<PullCaller>() };
    const report = (progress: PullProgress): void => {
      if (progress.phase === "layers") shared.layers = [...progress.layers];
      if (progress.phase === "layer") shared.layers[progress.layer.index] = progress.layer;
      for (const listener of shared.listeners) listener(progress);
    };
    const flight: Flight = Object.assign(shared, { result: work(report, stop.signal) });
    this.#flights.set(key, flight);
    const end = (): void => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    };
    flight.result.then(end, end);
    return flight;
  }

  async #leavable(key: string, flight: Flight, caller: PullCaller): Promise<string> {
    const { signal } = caller;
    if (signal === undefined) return flight.result;
    let leave: () => void = () => {};
    const left = new Promise<never>((_resolve, reject) => {
      leave = (): void => {
        // Now and not when the rejection has arrived: all callers of a connection that is lost leave in one turn.
        flight.callers.delete(caller);
        if (flight.callers.size > 0) return reject(abortedError(signal));
        // The last one waits until the run has cleaned up behind itself. A retry that comes meanwhile must not join it.
        if (this.#flights.get(key) === flight) this.#flights.delete(key);
        flight.stop.abort(abortedError(signal));
      };
      signal.addEventListener("abort", leave, { once: true });
    });
    try {
      return await Promise.race([flight.result, left]);
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }
}
