// One question and its answer over TCP or UDP; "error: CODE" where that fails.
import { createSocket } from "node:dgram";
import { connect } from "node:net";

const timeoutMs = 1500;

/** Sends `text`, half-closes, and returns all that comes back. */
export function exchangeTcp(host: string, port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connect({ host, port, timeout: timeoutMs });
    socket.setEncoding("utf8");
    socket.on("connect", () => socket.end(text));
    socket.on("data", (chunk: string) => (answer += chunk));
    socket.on("end", () => resolve(answer));
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(`error: ${error.code}`));
    socket.on("timeout", () => {
      socket.destroy();
      resolve("error: timeout");
    });
  });
}

export function exchangeUdp(host: string, port: number, text: string, sourcePort = 0): Promise<string> {
  return new Promise((resolve) => {
    const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
    const finish = (answer: string): void => {
      clearTimeout(timer);
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(() => finish("error: timeout"), timeoutMs);
    socket.on("error", (error: NodeJS.ErrnoException) => finish(`error: ${error.code}`));
    socket.on("message", (answer) => finish(answer.toString()));
    socket.bind(sourcePort, () => socket.send(text, port, host));
  });
}
