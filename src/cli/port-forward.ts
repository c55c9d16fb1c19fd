import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import { messageOf } from "../base/errors.ts";
import type { CriClient } from "../../cri-api/client.ts";
import type { SpdyConnection } from "../streaming/spdy-connection.ts";
import { defineCommand, ExitError, exitStatus, UsageError, type Surroundings } from "./command.ts";
import { withDaemon } from "./connect.ts";
import { findContainer, findSandbox } from "./find-object.ts";
import { connectStream } from "./stream-connection.ts";

export const portForward = defineCommand({
  operands: "POD [LOCAL:]PORT...",
  summary: "forward local ports to ports of a pod",
  description: `
Connections to 127.0.0.1:LOCAL arrive at PORT inside the pod, as from the pod itself. LOCAL is PORT where it is not
given, and any free port for 0. Goes on until Ctrl-C. A container may be named in the place of its pod.`,
  options: { address: { value: "IP", about: "listen on this address (default 127.0.0.1)" } },
  arity: [2, Infinity],
  run: (invocation) =>
    withDaemon(invocation, async (client) => {
      const { options, operands, surroundings } = invocation;
      const [name = "", ...texts] = operands;
      const pairs = texts.map(parsePortPair);
      const podSandboxId = await needPod(client, name);
      const forwarder = new Forwarder(client, podSandboxId, surroundings);
      try {
        for (const pair of pairs) await forwarder.listen(options.address ?? "127.0.0.1", pair);
        await forwarder.untilInterrupted();
      } finally {
        forwarder.close();
      }
      return exitStatus.ok;
    }),
});

interface PortPair {
  local: number;
  remote: number;
}

/** "8080:80", "80", "0:80". @throws UsageError */
export function parsePortPair(text: string): PortPair {
  const match = /^(?:(\d{1,5}):)?(\d{1,5})$/.exec(text);
  const remote = Number(match?.[2]);
  const local = Number(match?.[1] ?? match?.[2]);
  if (match === null || remote < 1 || remote > 65_535 || local > 65_535)
    throw new UsageError(`${JSON.stringify(text)} is not of the form [LOCAL:]PORT`);
  return { local, remote };
}

async function needPod(client: CriClient, text: string): Promise<string> {
  const id = (await findSandbox(client, text))?.id ?? (await findContainer(client, text))?.podSandboxId;
  if (id === undefined) throw new ExitError(exitStatus.failure, `there is no pod ${text}`);
  return id;
}

class Forwarder {
  readonly #client: CriClient;
  readonly #podSandboxId: string;
  readonly #surroundings: Surroundings;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();

  constructor(client: CriClient, podSandboxId: string, surroundings: Surroundings) {
    this.#client = client;
    this.#podSandboxId = podSandboxId;
    this.#surroundings = surroundings;
  }

  /** @throws ExitError when the address or the port is taken */
  async listen(address: string, { local, remote }: PortPair): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (socket) => void this.#forward(socket, remote));
    this.#servers.push(server);
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error) =>
        reject(new ExitError(exitStatus.failure, `listen on ${address}: ${error.message}`, { cause: error })),
      );
      server.listen(local, address, resolve);
    });
    const { port } = server.address() as AddressInfo;
    this.#surroundings.stdout(`${address}:${port} -> ${remote}\n`);
  }

  async untilInterrupted(): Promise<never> {
    const { interrupted } = this.#surroundings;
    if (!interrupted.aborted)
      await new Promise<void>((resolve) => {
        interrupted.addEventListener("abort", () => resolve(), { once: true });
      });
    throw interrupted.reason;
  }

  close(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  /** A session of its own for each connection: in a shared one, one that is not read would hold up the others. */
  async #forward(socket: Socket, port: number): Promise<void> {
    this.#sockets.add(socket);
    socket.on("error", () => {}).once("close", () => this.#sockets.delete(socket));
    let connection: SpdyConnection | undefined;
    try {
      const request = { podSandboxId: this.#podSandboxId, port: [port] };
      const { url } = await this.#client.runtime.portForward(request);
      connection = await connectStream(url, "portforward.k8s.io");
      await exchange(connection, socket, port);
    } catch (error) {
      this.#surroundings.stderr(`cricket: port-forward: ${messageOf(error)}\n`);
    } finally {
      connection?.destroy();
      socket.destroy();
    }
  }
}

/** Resolves when both directions have ended. @throws Error with what the daemon says on its error stream */
async function exchange(connection: SpdyConnection, socket: Socket, port: number): Promise<void> {
  const open = (type: string) =>
    connection.openStream(
      new Map([
        ["streamtype", type],
        ["port", String(port)],
        ["requestid", "0"],
      ]),
    );
  const error = open("error");
  const data = open("data");
  error.end();
  const reasons: Buffer[] = [];
  error.on("data", (chunk: Buffer) => reasons.push(chunk));
  const reported = new Promise<void>((resolve) => error.once("close", () => resolve()));
  const copied = [pipeline(socket, data), pipeline(data, socket)].map((copy) => copy.catch(() => {}));
  await Promise.all([reported, ...copied]);
  if (reasons.length > 0) throw new Error(Buffer.concat(reasons).toString());
}
