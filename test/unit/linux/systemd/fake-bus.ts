// A D-Bus server at the socket's edge: plays a recorded conversation, or answers as a test says.
import { createServer, type Server, type Socket } from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  decodeMessage,
  encodeMessage,
  type DBusMessage,
} from "../../../../src/linux/systemd/dbus-message.ts";
import type { Recording } from "./recorded-session.ts";

type Serve = (socket: Socket, received: Buffer) => Buffer;

export class FakeBus {
  readonly path: string;
  /** How often somebody has connected. */
  connections = 0;
  readonly #directory = mkdtempSync(join(tmpdir(), "cricket-bus-"));
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  /** `newServe`: for each connection; what it returns is what it has not consumed. */
  private constructor(newServe: () => Serve, authAnswer: string) {
    this.path = join(this.#directory, "bus");
    this.#server = createServer((socket) => {
      this.connections++;
      this.#sockets.add(socket);
      socket.on("error", () => {}).on("close", () => this.#sockets.delete(socket));
      const serve = newServe();
      let isAuthenticated = false;
      let received: Buffer = Buffer.alloc(0);
      socket.on("data", (chunk) => {
        received = Buffer.concat([received, chunk]);
        if (!isAuthenticated) {
          const end = received.indexOf("BEGIN\r\n");
          if (end === -1) return;
          isAuthenticated = true;
          received = received.subarray(end + "BEGIN\r\n".length);
          socket.write(authAnswer);
        }
        received = serve(socket, received);
      });
    });
  }

  /** Sends what was recorded as soon as the client has sent, byte for byte, what it was the answer to. */
  static replaying({ turns }: Recording): Promise<FakeBus> {
    return FakeBus.#listen(() => {
      const left = turns.map(({ from, bytes }) => ({ from, bytes: Buffer.from(bytes, "hex") }));
      return (socket, received) => {
        let rest = received;
        for (let turn = left[0]; turn !== undefined; turn = left[0]) {
          if (turn.from === "client") {
            if (rest.length < turn.bytes.length) break;
            if (!rest.subarray(0, turn.bytes.length).equals(turn.bytes)) {
              socket.destroy(new Error("not what was recorded"));
              break;
            }
            rest = rest.subarray(turn.bytes.length);
          } else {
            socket.write(turn.bytes);
          }
          left.shift();
        }
        return rest;
      };
    });
  }

  /** `answer` gets every call and the means to send messages, or bytes that are none. */
  static answering(
    answer: (
      call: DBusMessage,
      send: (message: Partial<DBusMessage> | Buffer) => void,
      socket: Socket,
    ) => void,
    authAnswer?: string,
  ): Promise<FakeBus> {
    let serial = 1000;
    const serve: Serve = (socket, received) => {
      let rest = received;
      for (let next = decodeMessage(rest); next !== undefined; next = decodeMessage(rest)) {
        rest = rest.subarray(next.length);
        const { message: call } = next;
        const send = (message: Partial<DBusMessage> | Buffer): void => {
          const reply: DBusMessage = { type: "return", serial: serial++, replySerial: call.serial };
          socket.write(Buffer.isBuffer(message) ? message : encodeMessage({ ...reply, ...message }));
        };
        answer(call, send, socket);
      }
      return rest;
    };
    return FakeBus.#listen(() => serve, authAnswer);
  }

  static async #listen(
    newServe: () => Serve,
    authAnswer = "OK 0123456789abcdef0123456789abcdef\r\n",
  ): Promise<FakeBus> {
    const bus = new FakeBus(newServe, authAnswer);
    await new Promise<void>((resolve) => bus.#server.listen(bus.path, resolve));
    return bus;
  }

  /** Breaks all connections. */
  drop(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.drop();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** JobRemoved as systemd sends it. */
export function jobRemoved(job: string, unit: string, result: string): Partial<DBusMessage> {
  return {
    type: "signal",
    replySerial: 0,
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    member: "JobRemoved",
    signature: "uoss",
    body: [7, job, unit, result],
  };
}
