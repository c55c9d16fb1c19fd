// The ends of an interactive session: what exec and attach get of a client, however it is connected.
import { finished, pipeline, type Readable, type Writable } from "node:stream";

export interface TerminalSize {
  rows: number;
  columns: number;
}

/** What is undefined was not asked for. */
export interface SessionStreams {
  /** Ends when the client has no more input. */
  stdin: Readable | undefined;
  /** Ended by the session when the program has said everything. */
  stdout: Writable | undefined;
  stderr: Writable | undefined;
  /** `take` gets the sizes of the client's terminal, the last one so far at once. */
  onResize(take: (size: TerminalSize) => void): void;
  /** Aborted when the client is gone. */
  gone: AbortSignal;
}

/** The program's side. */
export interface ProgramStreams {
  stdin: Writable;
  stdout: Readable;
  stderr: Readable;
}

/**
 * Connects the two, each byte with back-pressure. Resolves when all output has been taken by the client or cannot be
 * any more; a client that is gone never holds up the program, whose output is then dropped.
 */
export async function relayStreams(program: ProgramStreams, client: SessionStreams): Promise<void> {
  // A program that ends or closes its input leaves the rest of it unread; that is no failure.
  if (client.stdin !== undefined) pipeline(client.stdin, program.stdin, () => {});
  await Promise.all([relayOutput(program.stdout, client.stdout), relayOutput(program.stderr, client.stderr)]);
}

function relayOutput(from: Readable, to: Writable | undefined): Promise<void> {
  return new Promise((resolve) => {
    // Destroyed, the source drops what comes, so that the other output goes on.
    if (to === undefined) finished(from.resume(), () => resolve());
    else pipeline(from, to, () => resolve());
  });
}
