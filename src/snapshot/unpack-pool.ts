// Worker threads for unpacking, started when layers come and ended when none have come for a while: an idle daemon
// pays nothing for them.
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { CricketError, messageOf } from "../base/errors.ts";
import { keepYoungHeapSmall } from "../linux/young-heap.ts";
import {
  type FromUnpackWorker,
  type ToUnpackWorker,
  transferBuffers,
  transferBytes,
} from "./unpack-messages.ts";
import type { UnpackRequest, UnpackResult } from "./unpack-stream.ts";

const idleMs = 1500;

// One worker keeps two processors busy: it digests and writes while threads of the pool decompress for it.
const maxWorkers = Math.min(Math.max(Math.floor(availableParallelism() / 2), 1), 4);

// A hostile archive must not take the daemon's memory: the worker dies at this limit, and only its layers fail.
const maxHeapMiB = 512;

interface Job {
  receive(message: FromUnpackWorker): void;
  fail(error: CricketError): void;
}

interface PoolWorker {
  thread: Worker;
  jobs: Map<number, Job>;
  idleTimer: NodeJS.Timeout | undefined;
}

export class UnpackPool {
  readonly #workers = new Set<PoolWorker>();
  #nextJob = 1;
  #closed = false;

  /** True while a worker is there: then it is quicker than the main thread even for a small layer. */
  get isRunning(): boolean {
    return this.#workers.size > 0;
  }

  /** unpackStream on a worker. `bytes` is copied, and read no faster than the worker unpacks. */
  async unpack(bytes: AsyncIterable<Uint8Array>, request: UnpackRequest): Promise<UnpackResult> {
    if (this.#closed) throw new CricketError("unavailable", "the layer store is closed");
    const worker = this.#pickWorker();
    const number = this.#nextJob++;
    const job = new WorkerJob((message, transfer) => worker.thread.postMessage(message, transfer), number);
    worker.jobs.set(number, job);
    worker.thread.ref();
    clearTimeout(worker.idleTimer);
    try {
      return await job.run(bytes, request);
    } finally {
      worker.jobs.delete(number);
      if (worker.jobs.size === 0) this.#rest(worker);
    }
  }

  /** Ends all workers; layers under way fail. */
  async close(): Promise<void> {
    this.#closed = true;
    const workers = [...this.#workers];
    await Promise.all(workers.map((worker) => this.#end(worker, "the layer store is closed")));
  }

  #pickWorker(): PoolWorker {
    let best: PoolWorker | undefined;
    for (const worker of this.#workers) {
      if (best === undefined || worker.jobs.size < best.jobs.size) best = worker;
    }
    if (best !== undefined && (best.jobs.size === 0 || this.#workers.size >= maxWorkers)) return best;
    return this.#start();
  }

  #start(): PoolWorker {
    const worker: PoolWorker = { thread: startThread(), jobs: new Map(), idleTimer: undefined };
    this.#workers.add(worker);
    // Setting up the heap of a thread undoes it.
    worker.thread.on("online", keepYoungHeapSmall);
    worker.thread.on("message", (message: FromUnpackWorker) =>
      worker.jobs.get(message.job)?.receive(message),
    );
    worker.thread.on("error", (error) => void this.#end(worker, `unpack worker failed: ${messageOf(error)}`));
    worker.thread.on("exit", () => void this.#end(worker, "unpack worker ended"));
    return worker;
  }

  #rest(worker: PoolWorker): void {
    // So do the threads that a worker starts by itself: a module loader's.
    keepYoungHeapSmall();
    // Neither an idle worker nor its timer keeps the process from ending.
    worker.thread.unref();
    worker.idleTimer = setTimeout(() => void this.#end(worker, "unpack worker was idle"), idleMs);
    worker.idleTimer.unref();
  }

  async #end(worker: PoolWorker, reason: string): Promise<void> {
    if (!this.#workers.delete(worker)) return;
    clearTimeout(worker.idleTimer);
    for (const job of worker.jobs.values()) job.fail(new CricketError("internal", reason));
    await worker.thread.terminate();
  }
}

/** One layer's way through a worker: fills its buffers, waits for them to come back, and for the result. */
class WorkerJob implements Job {
  readonly #post: (message: ToUnpackWorker, transfer: ArrayBuffer[]) => void;
  readonly #job: number;
  readonly #free: ArrayBuffer[] = Array.from(
    { length: transferBuffers },
    () => new ArrayBuffer(transferBytes),
  );
  readonly #result: Promise<UnpackResult>;
  #resolve: (result: UnpackResult) => void = () => {};
  #reject: (error: CricketError) => void = () => {};
  #wake: () => void = () => {};
  #failed: CricketError | undefined;

  constructor(post: (message: ToUnpackWorker, transfer: ArrayBuffer[]) => void, job: number) {
    this.#post = post;
    this.#job = job;
    this.#result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  async run(bytes: AsyncIterable<Uint8Array>, request: UnpackRequest): Promise<UnpackResult> {
    this.#post({ kind: "start", job: this.#job, request }, []);
    const feeding = this.#feed(bytes).catch((error: unknown) => {
      if (this.#failed === undefined) this.#post({ kind: "abort", job: this.#job }, []);
      throw error;
    });
    // The worker's failure comes before the end of a source that has stalled.
    const [result] = await Promise.all([this.#result, feeding]).catch(async (error: unknown) => {
      // The directory is the caller's again only when the worker is done with it.
      await this.#result.catch(() => {});
      throw error;
    });
    return result;
  }

  receive(message: FromUnpackWorker): void {
    if (message.kind === "done") this.#resolve(message.result);
    else if (message.kind === "failed") this.fail(new CricketError(message.code, message.message));
    else {
      this.#free.push(message.buffer);
      this.#wake();
    }
  }

  fail(error: CricketError): void {
    this.#failed ??= error;
    this.#reject(error);
    this.#wake();
  }

  async #feed(bytes: AsyncIterable<Uint8Array>): Promise<void> {
    let buffer: Uint8Array | undefined;
    let filled = 0;
    for await (const chunk of bytes) {
      for (let done = 0; done < chunk.length;) {
        buffer ??= await this.#freeBuffer();
        const length = Math.min(chunk.length - done, buffer.length - filled);
        buffer.set(chunk.subarray(done, done + length), filled);
        done += length;
        filled += length;
        if (filled < buffer.length) continue;
        this.#send(buffer, filled);
        buffer = undefined;
        filled = 0;
      }
      if (this.#failed !== undefined) throw this.#failed;
    }
    if (buffer !== undefined) this.#send(buffer, filled);
    this.#post({ kind: "end", job: this.#job }, []);
  }

  #send(bytes: Uint8Array, length: number): void {
    const buffer = bytes.buffer as ArrayBuffer;
    this.#post({ kind: "chunk", job: this.#job, buffer, length }, [buffer]);
  }

  async #freeBuffer(): Promise<Uint8Array> {
    for (;;) {
      if (this.#failed !== undefined) throw this.#failed;
      const buffer = this.#free.pop();
      if (buffer !== undefined) return new Uint8Array(buffer);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

/**
 * What is built has the worker beside it as a script. From source, as the tests run, a worker thread of Node 20
 * does not inherit the loader hooks of its parent and needs its own.
 */
function startThread(): Worker {
  const resourceLimits = { maxOldGenerationSizeMb: maxHeapMiB };
  if (!import.meta.url.endsWith(".ts"))
    return new Worker(new URL("./unpack-worker.cjs", import.meta.url), { resourceLimits });
  const script = new URL("./unpack-worker.ts", import.meta.url).href;
  const loader = import.meta.resolve("tsx/esm/api");
  const code = `import(${JSON.stringify(loader)}).then(({ register }) => { register(); return import(${JSON.stringify(script)}); })`;
  return new Worker(code, { eval: true, execArgv: [], resourceLimits });
}
