// A pod's network namespace for tests, without a sandbox: a process in it, its namespace and its route socket.
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { newId } from "../../../src/base/ids.ts";
import { check, libc } from "../../../src/linux/libc.ts";
import type { AttachRequest, DetachRequest, PortMapping } from "../../../src/network/pod-network.ts";

export type PodCommand =
  | { op: "serveTcp"; port: number; host: string }
  | { op: "serveUdp"; port: number }
  | { op: "tcp"; host: string; port: number; text: string }
  | { op: "advertiseRouter"; times: number }
  | { op: "udp"; host: string; port: number; text: string; sourcePort?: number };

const SYS_pidfd_open = 434;
const SYS_pidfd_getfd = 438;
const cPidfdOpen = libc.func("long syscall(long number, int pid, uint32_t flags)");
const cPidfdGetfd = libc.func("long syscall(long number, int pidfd, int targetfd, uint32_t flags)");
const cClose = libc.func("int close(int fd)");

export class PodNetns {
  readonly sandboxId: string;
  readonly netnsFd: number;
  readonly routeSocket: number;
  readonly pid: number;
  readonly #process: ChildProcess;
  #commands = 0;

  private constructor(process: ChildProcess, pid: number, routeSocket: number, sandboxId: string) {
    this.#process = process;
    this.pid = pid;
    this.sandboxId = sandboxId;
    this.netnsFd = openSync(`/proc/${pid}/ns/net`, "r");
    const pidfd = check(Number(cPidfdOpen(SYS_pidfd_open, pid, 0)), "pidfd_open");
    this.routeSocket = check(Number(cPidfdGetfd(SYS_pidfd_getfd, pidfd, routeSocket, 0)), "pidfd_getfd");
    cClose(pidfd);
  }

  static async start(sandboxId = newId()): Promise<PodNetns> {
    const program = fileURLToPath(new URL("./pod-process.ts", import.meta.url));
    const child = spawn("unshare", ["--net", "--", process.execPath, "--import", "tsx", program], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      env: { PATH: process.env["PATH"] },
    });
    const [hello] = (await once(child, "message")) as [{ routeSocket: number }];
    return new PodNetns(child, child.pid ?? 0, hello.routeSocket, sandboxId);
  }

  /** What the pod answers; "error: CODE" where it could not do it. */
  async run(command: PodCommand): Promise<string> {
    const id = ++this.#commands;
    const answer = new Promise<string>((resolve) => {
      const listen = (message: { id: number; answer: string }): void => {
        if (message.id !== id) return;
        this.#process.off("message", listen);
        resolve(message.answer);
      };
      this.#process.on("message", listen);
    });
    this.#process.send({ id, command });
    return answer;
  }

  attachRequest(portMappings: readonly PortMapping[] = []): AttachRequest {
    return {
      ...this.detachRequest(portMappings),
      netnsFd: this.netnsFd,
      routeSocket: this.routeSocket,
      annotations: {},
    };
  }

  detachRequest(portMappings: readonly PortMapping[] = []): DetachRequest {
    const pod = { name: "pod", namespace: "test", uid: this.sandboxId };
    return { sandboxId: this.sandboxId, pod, netnsPath: `/proc/${this.pid}/ns/net`, portMappings };
  }

  async stop(): Promise<void> {
    closeSync(this.netnsFd);
    cClose(this.routeSocket);
    this.#process.disconnect();
    await once(this.#process, "exit");
  }
}
