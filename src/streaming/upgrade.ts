// The HTTP side of a streaming connection: which protocol the client wants, and the answers that end the HTTP part.
import { STATUS_CODES, type IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";

/** An answer that refuses an upgrade. */
export class UpgradeRefused extends Error {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

export type Transport = "spdy" | "websocket";

/** @throws UpgradeRefused 400 when it is neither */
export function transportOf({ headers }: IncomingMessage): Transport {
  const upgrade = (headers.upgrade ?? "").toLowerCase();
  if (upgrade === "websocket") return "websocket";
  if (upgrade === "spdy/3.1") return "spdy";
  throw new UpgradeRefused(400, `cannot upgrade to ${JSON.stringify(upgrade.slice(0, 64))}`);
}

const protocolHeader = "X-Stream-Protocol-Version";

/** The first protocol of the client's that is known here. @throws UpgradeRefused 400 for none named, 403 for none known */
export function chooseSpdyProtocol(request: IncomingMessage, known: Iterable<string>): string {
  const wanted = namesIn(request.headers[protocolHeader.toLowerCase()]);
  if (wanted.length === 0) throw new UpgradeRefused(400, `${protocolHeader} is missing`);
  const names = [...known];
  const chosen = wanted.find((name) => names.includes(name));
  if (chosen !== undefined) return chosen;
  throw new UpgradeRefused(403, "none of these protocols is known", {
    "X-Accepted-Stream-Protocol-Versions": names.join(","),
  });
}

/** As chooseSpdyProtocol; "" when the client names none. */
export function chooseSubprotocol(request: IncomingMessage, known: Iterable<string>): string {
  const wanted = namesIn(request.headers["sec-websocket-protocol"]);
  if (wanted.length === 0) return "";
  const names = [...known].filter((name) => name !== "");
  const chosen = wanted.find((name) => names.includes(name));
  if (chosen === undefined)
    throw new UpgradeRefused(403, `none of these protocols is known: ${names.join(", ")}`);
  return chosen;
}

function namesIn(header: string | string[] | undefined): string[] {
  return [header ?? []]
    .flat()
    .flatMap((line) => line.split(","))
    .map((name) => name.trim())
    .filter((name) => name !== "");
}

export function acceptSpdy(socket: Duplex, protocol: string): void {
  writeHead(socket, 101, { Connection: "Upgrade", Upgrade: "SPDY/3.1", [protocolHeader]: protocol });
}

export function refuse(socket: Duplex, { status, message, headers }: UpgradeRefused): void {
  if (!socket.writable) return;
  const body = `${message}\n`;
  writeHead(socket, status, {
    ...headers,
    "Content-Type": "text/plain; charset=utf-8",
    "Content-Length": String(Buffer.byteLength(body)),
    Connection: "close",
  });
  socket.end(body);
}

function writeHead(socket: Duplex, status: number, headers: Readonly<Record<string, string>>): void {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n${lines.join("")}\r\n`);
}
