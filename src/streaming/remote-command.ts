// remotecommand, the protocol of exec and attach, as far as it is the same over SPDY and WebSocket: versions, the
// status at the end, sizes of the terminal.
import { messageOf } from "../base/errors.ts";
import type { SessionStreams, TerminalSize } from "../container/session-streams.ts";

/** Which streams the client asked for in its CRI request. */
export interface StreamChoice {
  tty: boolean;
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
}

/** A client that has all its streams. */
export interface RemoteCommand {
  readonly streams: SessionStreams;
  /** Sends the status, after all output, and closes the connection. */
  finish(status: RemoteStatus): void;
}

/** The end of a session; "command" is a command that ended with another status than 0. */
export type RemoteStatus =
  { kind: "success" } | { kind: "command"; exitCode: number } | { kind: "failure"; message: string };

export function commandStatus(exitCode: number): RemoteStatus {
  return exitCode === 0 ? { kind: "success" } : { kind: "command", exitCode };
}

export function failureStatus(error: unknown): RemoteStatus {
  return { kind: "failure", message: messageOf(error) };
}

/** From version 4 on: a meta.k8s.io Status as JSON. */
export function formatStatus(status: RemoteStatus): string {
  switch (status.kind) {
    case "success":
      return JSON.stringify({ metadata: {}, status: "Success" });
    case "command":
      return JSON.stringify({
        metadata: {},
        status: "Failure",
        message: plainStatus(status),
        reason: "NonZeroExitCode",
        details: { causes: [{ reason: "ExitCode", message: String(status.exitCode) }] },
      });
    case "failure":
      return JSON.stringify({
        metadata: {},
        status: "Failure",
        message: status.message,
        reason: "InternalError",
        code: 500,
        details: { causes: [{ message: status.message }] },
      });
  }
}

/** Before version 4: text, and nothing for success. */
export function plainStatus(status: RemoteStatus): string {
  if (status.kind === "success") return "";
  return status.kind === "failure"
    ? status.message
    : `command terminated with non-zero exit code: exit status ${status.exitCode}`;
}

/** What a client says about a size is a few dozen bytes. */
const maxPendingLength = 4096;
/** TIOCSWINSZ has 16 bits for each. */
const maxSize = 0xffff;

/** Reads `{"Width":W,"Height":H}` objects out of a stream of text, however it was chopped. Garbage is skipped. */
export class SizeReader {
  #pending = "";

  push(bytes: Buffer): TerminalSize[] {
    this.#pending += bytes.toString("latin1");
    const sizes: TerminalSize[] = [];
    for (let end = this.#pending.indexOf("}"); end !== -1; end = this.#pending.indexOf("}")) {
      const size = parseSize(this.#pending.slice(0, end + 1));
      this.#pending = this.#pending.slice(end + 1);
      if (size !== undefined) sizes.push(size);
    }
    if (this.#pending.length > maxPendingLength) this.#pending = "";
    return sizes;
  }
}

function parseSize(text: string): TerminalSize | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text.slice(Math.max(0, text.indexOf("{"))));
  } catch {
    return undefined;
  }
  if (typeof parsed !== "object" || parsed === null) return undefined;
  const { Width, Height } = parsed as { Width?: unknown; Height?: unknown };
  return isSize(Width) && isSize(Height) ? { rows: Height, columns: Width } : undefined;
}

function isSize(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= maxSize;
}

/** The sizes a client told, for whoever asks: the last one at once, later ones as they come. */
export class TerminalSizes {
  readonly #reader = new SizeReader();
  #last: TerminalSize | undefined;
  #take: (size: TerminalSize) => void = () => {};

  push(bytes: Buffer): void {
    for (const size of this.#reader.push(bytes)) {
      this.#last = size;
      this.#take(size);
    }
  }

  onResize(take: (size: TerminalSize) => void): void {
    this.#take = take;
    if (this.#last !== undefined) take(this.#last);
  }
}
