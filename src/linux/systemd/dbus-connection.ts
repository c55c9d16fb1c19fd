// A connection to a D-Bus server over a unix socket: the bus, or a program directly. The libraries there are parse
// XML introspection and bring a tree of packages that nobody tends; of all that systemd needs a few methods.
import { createConnection, type Socket } from "node:net";
import { CricketError, errnoOf, messageOf, type ErrorCode } from "../../base/errors.ts";
import { decodeMessage, encodeMessage, type DBusMessage } from "./dbus-message.ts";
import { protocolError, type DBusValue } from "./dbus-signature.ts";

export interface MethodCall {
  /** A bus name; absent on a direct connection. */
  destination?: string;
  path: string;
  interface: string;
  member: string;
  signature?: string;
  body?: readonly DBusValue[];
}

type Settle = { resolve: (body: readonly DBusValue[]) => void; reject: (error: Error) => void; what: string };

const maxAuthBytes = 1024;

export class DBusConnection {
  readonly #socket: Socket;
  readonly #onSignal: (signal: DBusMessage) => void;
  readonly #onClose: (error: Error) => void;
  readonly #calls = new Map<number, Settle>();
  #received: Buffer = Buffer.alloc(0);
  #serial = 0;
  #failure: Error | undefined;

  private constructor(socket: Socket, options: ConnectOptions) {
    this.#socket = socket;
    this.#onSignal = options.onSignal;
    this.#onClose = options.onClose;
  }

  /** Rejects with CricketError unavailable when nobody answers there. */
  static async connect(path: string, options: ConnectOptions): Promise<DBusConnection> {
    const socket = createConnection(path);
    try {
      const rest = await withDeadline(authenticate(socket), options.timeoutMs, `connect to ${path}`);
      const connection = new DBusConnection(socket, options);
      connection.#listen(rest);
      return connection;
    } catch (error) {
      socket.destroy();
      const code: ErrorCode = error instanceof CricketError ? error.code : "unavailable";
      throw new CricketError(code, `connect to ${path}: ${errnoOf(error) ?? messageOf(error)}`, {
        cause: error,
      });
    }
  }

  get isOpen(): boolean {
    return this.#failure === undefined;
  }

  /** The values of the reply. Rejects with the code that fits the error's name, and with unavailable when it closes. */
  async call(method: MethodCall, timeoutMs: number): Promise<readonly DBusValue[]> {
    if (this.#failure !== undefined) throw this.#failure;
    this.#serial = (this.#serial % 0xffffffff) + 1;
    const serial = this.#serial;
    const bytes = encodeMessage({ type: "call", serial, ...method });
    const answer = new Promise<readonly DBusValue[]>((resolve, reject) => {
      this.#calls.set(serial, { resolve, reject, what: method.member });
    });
    this.#socket.write(bytes);
    try {
      return await withDeadline(answer, timeoutMs, `d-bus: ${method.member}`);
    } finally {
      this.#calls.delete(serial);
    }
  }

  close(): void {
    this.#end(new CricketError("cancelled", "d-bus: the connection is closed"));
  }

  #listen(rest: Buffer): void {
    this.#socket.on("data", (chunk) => this.#receive(chunk));
    this.#socket.on("error", (error) => this.#end(lost(error)));
    this.#socket.on("close", () => this.#end(lost()));
    // It is there all the time; the process need not stay for it.
    this.#socket.unref();
    if (rest.length > 0) this.#receive(rest);
    this.#socket.resume();
  }

  #receive(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    try {
      for (
        let next = decodeMessage(this.#received);
        next !== undefined;
        next = decodeMessage(this.#received)
      ) {
        this.#received = this.#received.subarray(next.length);
        this.#dispatch(next.message);
      }
    } catch (error) {
      this.#end(error as Error);
    }
  }

  #dispatch(message: DBusMessage): void {
    if (message.type === "signal") {
      this.#onSignal(message);
      return;
    }
    // Nobody has a reason to call us.
    if (message.type === "call" || message.replySerial === undefined) return;
    const call = this.#calls.get(message.replySerial);
    if (call === undefined) return;
    this.#calls.delete(message.replySerial);
    if (message.type === "return") call.resolve(message.body ?? []);
    else call.reject(replyError(call.what, message));
  }

  #end(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#socket.destroy();
    for (const call of this.#calls.values()) call.reject(error);
    this.#calls.clear();
    this.#onClose(error);
  }
}

export interface ConnectOptions {
  timeoutMs: number;
  onSignal: (signal: DBusMessage) => void;
  /** Called once, when it has ended for whatever reason. */
  onClose: (error: Error) => void;
}

const lost = (cause?: unknown): CricketError =>
  new CricketError("unavailable", "d-bus: the connection is lost", { cause });

/** SASL EXTERNAL: the kernel tells the other side who we are (SO_PEERCRED). What follows the answer is given back. */
function authenticate(socket: Socket): Promise<Buffer> {
  const user = Buffer.from(String(process.getuid?.() ?? 0)).toString("hex");
  return new Promise((resolve, reject) => {
    let received: Buffer = Buffer.alloc(0);
    const onData = (chunk: Buffer): void => {
      received = Buffer.concat([received, chunk]);
      const end = received.indexOf("\r\n");
      if (end === -1 && received.length <= maxAuthBytes) return;
      leave();
      if (end !== -1 && /^OK(?: [0-9a-f]+)?$/i.test(received.toString("latin1", 0, end))) {
        resolve(received.subarray(end + 2));
      } else {
        reject(new CricketError("permission-denied", "d-bus: EXTERNAL authentication was refused"));
      }
    };
    const onEnd = (error?: unknown): void => {
      leave();
      reject(error instanceof Error ? error : lost());
    };
    const leave = (): void => {
      // What comes before the next listener stays in the socket.
      socket.pause().off("data", onData).off("close", onEnd).off("error", onEnd);
      // An error without a listener would end the process.
      socket.on("error", () => {});
    };
    socket.on("data", onData).on("close", onEnd).on("error", onEnd);
    // BEGIN at once, as sd-bus does it: systemd does not see a message that comes in one piece with BEGIN until yet
    // another follows, and once it has answered it has read both lines.
    socket.once("connect", () => socket.write(`\0AUTH EXTERNAL ${user}\r\nBEGIN\r\n`));
  });
}

const errorCodes: Readonly<Record<string, ErrorCode>> = {
  "org.freedesktop.systemd1.NoSuchUnit": "not-found",
  "org.freedesktop.systemd1.UnitExists": "already-exists",
  "org.freedesktop.systemd1.LoadFailed": "failed-precondition",
  "org.freedesktop.DBus.Error.AccessDenied": "permission-denied",
  "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired": "permission-denied",
  "org.freedesktop.DBus.Error.InvalidArgs": "invalid-argument",
  "org.freedesktop.DBus.Error.PropertyReadOnly": "invalid-argument",
  "org.freedesktop.DBus.Error.NoReply": "unavailable",
  "org.freedesktop.DBus.Error.ServiceUnknown": "unavailable",
  "org.freedesktop.DBus.Error.Disconnected": "unavailable",
};

function replyError(member: string, { errorName = "", body = [] }: DBusMessage): CricketError {
  const text = typeof body[0] === "string" ? body[0].replace(/\.$/, "") : "";
  return new CricketError(errorCodes[errorName] ?? "internal", `${member}: ${text} (${errorName})`);
}

/** Rejects with deadline-exceeded; the work itself goes on. */
export async function withDeadline<T>(work: Promise<T>, timeoutMs: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new CricketError("deadline-exceeded", `${what}: no answer after ${timeoutMs} ms`)),
      timeoutMs,
    );
  });
  try {
    return await Promise.race([work, expired]);
  } finally {
    clearTimeout(timer);
  }
}

/** A text of a reply. Throws CricketError when it is something else. */
export function textOf(value: DBusValue | undefined): string {
  if (typeof value !== "string") throw protocolError("an answer without the expected text");
  return value;
}
