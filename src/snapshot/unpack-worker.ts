// A worker thread that unpacks layers: decompression, digests and thousands of synchronous file calls, away from the
// thread that answers the kubelet.
import { parentPort } from "node:worker_threads";
import { CricketError, wrapError } from "../base/errors.ts";
import { ChunkQueue } from "./chunk-queue.ts";
import type { FromUnpackWorker, ToUnpackWorker } from "./unpack-messages.ts";
import { unpackStream, type UnpackRequest } from "./unpack-stream.ts";

if (parentPort === null) throw new CricketError("internal", "unpack-worker is not a program of its own");
const port = parentPort;
const inputs = new Map<number, ChunkQueue>();

function send(message: FromUnpackWorker, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

async function run(job: number, request: UnpackRequest, input: ChunkQueue): Promise<void> {
  try {
    send({ kind: "done", job, result: await unpackStream(input, request) });
  } catch (error) {
    // An errno from node:fs becomes a code here: the error itself does not cross threads.
    const { code, message } = error instanceof CricketError ? error : wrapError("unpack", error);
    send({ kind: "failed", job, code, message });
  } finally {
    inputs.delete(job);
  }
}

port.on("message", (message: ToUnpackWorker) => {
  const { kind, job } = message;
  if (kind === "start") {
    const input = new ChunkQueue((chunk) => {
      const buffer = chunk.buffer as ArrayBuffer;
      send({ kind: "used", job, buffer }, [buffer]);
    });
    inputs.set(job, input);
    void run(job, message.request, input);
    return;
  }
  // A job that has failed gets no more input; what was under way to it is dropped.
  const input = inputs.get(job);
  if (kind === "chunk") input?.push(new Uint8Array(message.buffer, 0, message.length));
  else if (kind === "end") input?.end();
  else input?.fail(new CricketError("cancelled", "unpacking was cancelled"));
});
