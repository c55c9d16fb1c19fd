// The other end of linux.seccomp.listenerPath: takes the container process state with its descriptor, and answers
// notifications (seccomp_unotify(2)).
import koffi from "koffi";
import { createServer, type Server, type Socket } from "node:net";
import { close } from "../../src/linux/files.ts";
import { libc } from "../../src/linux/libc.ts";

const cRecvmsg = libc.func("intptr_t recvmsg(int fd, void *message, int flags)");
const cIoctl = libc.func("int ioctl(int fd, unsigned long request, void *argument)");
const cPoll = libc.func("int poll(void *fds, unsigned long count, int timeout)");

const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x40000000;
const NOTIF_RECV = 0xc0502100;
const NOTIF_SEND = 0xc0182101;
const CONTINUE = 1;
const POLLIN = 1;
const POLLHUP = 16;

export interface ContainerProcessState {
  ociVersion: string;
  fds: string[];
  pid: number;
  metadata?: string;
  state: { id: string; status: string; pid: number; bundle: string; annotations?: Record<string, string> };
}

/** What is answered to a notified call: an errno, or that it goes on. */
export type Decide = (call: {
  number: number;
  args: bigint[];
  pid: number;
}) => "continue" | { errno: number };

export class SeccompAgent {
  readonly path: string;
  readonly states: ContainerProcessState[] = [];
  /** Syscall numbers, in the order of their notifications. */
  readonly calls: number[] = [];
  readonly #decide: Decide;
  readonly #server: Server;
  #closed = false;

  private constructor(path: string, decide: Decide) {
    this.path = path;
    this.#decide = decide;
    this.#server = createServer({ pauseOnConnect: true }, (socket) => this.#take(socket));
  }

  static async listen(path: string, decide: Decide): Promise<SeccompAgent> {
    const agent = new SeccompAgent(path, decide);
    await new Promise<void>((resolve) => agent.#server.listen(path, resolve));
    return agent;
  }

  /** Resolves when so many states have come. */
  async received(count: number): Promise<void> {
    while (this.states.length < count) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  close(): void {
    this.#closed = true;
    this.#server.close();
  }

  #take(socket: Socket): void {
    const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
    let text = "";
    const listeners: number[] = [];
    const read = (): void => {
      const part = receive(fd);
      if (part === undefined) {
        setTimeout(read, 1);
        return;
      }
      text += part.text;
      listeners.push(...part.descriptors);
      if (part.text !== "") {
        read();
        return;
      }
      socket.destroy();
      this.states.push(JSON.parse(text) as ContainerProcessState);
      for (const listener of listeners) this.#serve(listener);
    };
    read();
  }

  #serve(listener: number): void {
    const poll = Buffer.alloc(8);
    poll.writeInt32LE(listener, 0);
    poll.writeInt16LE(POLLIN, 4);
    cPoll(poll, 1, 0);
    const events = poll.readInt16LE(6);
    if ((events & POLLIN) !== 0) this.#answer(listener);
    if ((events & POLLHUP) !== 0 || this.#closed) close(listener);
    else setTimeout(() => this.#serve(listener), 1);
  }

  #answer(listener: number): void {
    const call = Buffer.alloc(80);
    if (cIoctl(listener, NOTIF_RECV, call) !== 0) return;
    const number = call.readInt32LE(16);
    this.calls.push(number);
    const args = Array.from({ length: 6 }, (_unused, index) => call.readBigUInt64LE(32 + index * 8));
    const decision = this.#decide({ number, args, pid: call.readUInt32LE(8) });
    const response = Buffer.alloc(24);
    call.copy(response, 0, 0, 8);
    if (decision === "continue") response.writeUInt32LE(CONTINUE, 20);
    else response.writeInt32LE(-decision.errno, 16);
    cIoctl(listener, NOTIF_SEND, response);
  }
}

/** What one recvmsg(2) has; text "" is the end, undefined: nothing yet. */
function receive(fd: number): { text: string; descriptors: number[] } | undefined {
  const bytes = Buffer.alloc(4096);
  const control = Buffer.alloc(64);
  const part = Buffer.alloc(16);
  part.writeBigUInt64LE(BigInt(koffi.address(bytes)), 0);
  part.writeBigUInt64LE(BigInt(bytes.length), 8);
  const header = Buffer.alloc(56);
  header.writeBigUInt64LE(BigInt(koffi.address(part)), 16);
  header.writeBigUInt64LE(1n, 24);
  header.writeBigUInt64LE(BigInt(koffi.address(control)), 32);
  header.writeBigUInt64LE(BigInt(control.length), 40);
  const size = Number(cRecvmsg(fd, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
  if (size < 0) return undefined;
  const length = Number(header.readBigUInt64LE(40)) === 0 ? 0 : Number(control.readBigUInt64LE(0));
  const count = Math.max(0, (length - 16) / 4);
  const descriptors = Array.from({ length: count }, (_unused, index) => control.readInt32LE(16 + index * 4));
  return { text: bytes.toString("utf8", 0, size), descriptors };
}
