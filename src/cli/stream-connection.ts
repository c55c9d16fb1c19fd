// The client's end of a streaming session: from the address the daemon gave to a SPDY connection.
import { request as requestHttp, type IncomingMessage } from "node:http";
import { request as requestHttps } from "node:https";
import type { Duplex } from "node:stream";
import { SpdyConnection } from "../streaming/spdy-connection.ts";
import { ExitError, exitStatus } from "./command.ts";

/** @throws ExitError when the daemon does not take the session */
export async function connectStream(url: string, protocol: string): Promise<SpdyConnection> {
  const socket = await upgrade(url, protocol);
  return new SpdyConnection(socket, { role: "client" });
}

function upgrade(url: string, protocol: string): Promise<Duplex> {
  const options = {
    method: "POST",
    headers: { Connection: "Upgrade", Upgrade: "SPDY/3.1", "X-Stream-Protocol-Version": protocol },
    // The address came over the daemon's own socket and leads to this machine; the certificate there is for the names
    // by which the cluster knows it.
    rejectUnauthorized: false,
  };
  return new Promise((resolve, reject) => {
    const fail = (what: string, cause?: Error): void =>
      reject(new ExitError(exitStatus.notRun, `connect to ${new URL(url).host}: ${what}`, { cause }));
    const request = url.startsWith("https:") ? requestHttps(url, options) : requestHttp(url, options);
    request.once("error", (error) => fail(error.message, error));
    request.once("response", (response: IncomingMessage) => {
      response.resume();
      fail(`status ${response.statusCode}`);
    });
    request.once("upgrade", (_response: IncomingMessage, socket: Duplex, head: Buffer) => {
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
    });
    request.end();
  });
}
