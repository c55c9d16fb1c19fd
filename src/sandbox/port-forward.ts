// PortForward: a TCP connection to a port of a pod, made from inside its network namespace. The daemon never enters
// that namespace: a short-lived process does, makes a socket there and hands it over; a socket stays in the namespace
// that made it, wherever it is connected from.
import { connect, Socket } from "node:net";
import { failedPrecondition, messageOf, wrapError, CricketError } from "../base/errors.ts";
import { close } from "../linux/files.ts";
import type { HelperBinary } from "../linux/helper-binary.ts";
import { CLONE_NEWNET, type Descriptor, type LaunchProgram } from "../linux/launch-program.ts";
import { signalPidfd } from "../linux/pidfd.ts";
import { reapSoon } from "../linux/reap.ts";
import { runSpawn } from "../linux/run-spawn.ts";
import type { Sandbox, SandboxStore } from "./sandbox-store.ts";

export interface PortForwardParts {
  store: SandboxStore;
  helper: HelperBinary;
}

type Family = 4 | 6;

const loopback: Record<Family, string> = { 4: "127.0.0.1", 6: "::1" };
const domain: Record<Family, number> = { 4: 2, 6: 10 }; // AF_INET, AF_INET6
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SIGKILL = 9;
/** Loopback answers at once, unless the program's queue of connections is full. */
const connectTimeoutMs = 10_000;

/** @throws CricketError not-found, failed-precondition when the sandbox is not ready */
export function assertCanForward(id: string, store: SandboxStore): Sandbox {
  const sandbox = store.get(id);
  if (!sandbox.isReady) throw failedPrecondition(`sandbox ${sandbox.id} is not ready`);
  return sandbox;
}

/**
 * Connects to `port` on the pod's loopback, IPv4 first. The caller owns the socket, which is half-open: ending it
 * leaves its other direction as it is.
 * @throws CricketError unavailable when nothing listens
 */
export async function dialSandbox(id: string, port: number, parts: PortForwardParts): Promise<Socket> {
  const sandbox = assertCanForward(id, parts.store);
  try {
    return await dialFamily(sandbox, port, 4, parts);
  } catch (first) {
    try {
      return await dialFamily(sandbox, port, 6, parts);
    } catch {
      throw new CricketError(
        "unavailable",
        `connect to port ${port} of sandbox ${sandbox.id}: ${messageOf(first)}`,
        { cause: first },
      );
    }
  }
}

async function dialFamily(
  sandbox: Sandbox,
  port: number,
  family: Family,
  parts: PortForwardParts,
): Promise<Socket> {
  const target = { host: loopback[family], port };
  if (sandbox.usesHostNetwork) return connected(connect({ ...target, allowHalfOpen: true }));
  const { pause } = assertCanForward(sandbox.id, parts.store);
  if (pause === undefined) throw failedPrecondition(`sandbox ${sandbox.id} has no processes`);
  const fd = await makeSocket(pause.pidfd, family, parts.helper);
  // Without a look at what it is: node:net connects it in this very turn, before it is read.
  const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
  return connected(socket.connect(target));
}

async function makeSocket(pausePidfd: Descriptor, family: Family, helper: HelperBinary): Promise<number> {
  try {
    const spawned = await runSpawn(helper, compileSocketProgram(pausePidfd, family, helper));
    // What stands at the end of the program only shows that it got there.
    signalPidfd(spawned.pidfd, SIGKILL);
    close(spawned.pidfd);
    reapSoon(spawned.pid);
    return spawned.sockets[0]!;
  } catch (error) {
    throw wrapError("make a socket in the pod's network", error);
  }
}

function compileSocketProgram(
  pausePidfd: Descriptor,
  family: Family,
  { pauseFd }: HelperBinary,
): LaunchProgram {
  return {
    steps: [
      {
        op: "joinNamespaces",
        fd: pausePidfd,
        mask: CLONE_NEWNET,
        because: { why: "the pod's network", source: "CRI PortForwardRequest" },
      },
      {
        op: "sendSocket",
        domain: domain[family],
        type: SOCK_STREAM | SOCK_CLOEXEC,
        protocol: 0,
        because: { why: "a socket stays in the namespace that made it" },
      },
      { op: "noNewPrivs", because: { why: "nothing more is wanted of this process" } },
      {
        op: "execFd",
        fd: pauseFd,
        argv: ["pause"],
        env: [],
        because: { why: "a program has to end in one; it is killed at once" },
      },
    ],
  };
}

function connected(socket: Socket): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      socket.destroy(new CricketError("deadline-exceeded", `no answer after ${connectTimeoutMs} ms`));
    }, connectTimeoutMs);
    socket.once("error", (error) => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    });
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.removeAllListeners("error");
      // Whoever has the socket pipes it; until then a reset must not end the process.
      socket.on("error", () => {});
      resolve(socket);
    });
  });
}
