// A netlink socket: batches of requests, their answers matched by sequence number, and dumps. One conversation at
// a time: calls on the same socket queue up.
import { NetlinkError } from "./netlink-error.ts";
import { close, O_CLOEXEC, O_NONBLOCK } from "./files.ts";
import { check, errnoName, lastErrno, libc } from "./libc.ts";
import {
  decodeAnswer,
  decodeMessages,
  encodeRequest,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLMSG_DONE,
  NLMSG_ERROR,
  type NetlinkMessage,
  type NetlinkRequest,
} from "./netlink-message.ts";
import { CricketError, SyscallError } from "../base/errors.ts";

export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;

const cSocket = libc.func("int socket(int domain, int type, int protocol)");
const cSetsockopt = libc.func(
  "int setsockopt(int fd, int level, int name, const void *value, uint32_t length)",
);
const cSend = libc.func("intptr_t send(int fd, const void *bytes, size_t length, int flags)");
const cRecv = libc.func("intptr_t recv(int fd, void *bytes, size_t length, int flags)");

// The kernel builds dumps in buffers of up to 32 KiB, as large as the receive calls it has seen; see netlink_dump.
const receiveLength = 32_768;
// What one sendmsg may hold, well under the default send buffer of 208 KiB.
const batchLength = 65_536;

interface Dump {
  messages: NetlinkMessage[];
  /** The list changed while it was read. */
  interrupted: boolean;
}

export class NetlinkSocket {
  readonly fd: number;
  readonly #owned: boolean;
  readonly #receiveBuffer = Buffer.alloc(receiveLength);
  #sequence = 1;
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(fd: number, owned: boolean) {
    this.fd = fd;
    this.#owned = owned;
    for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK]) setOption(fd, option);
  }

  /** Opens a socket in this process's network namespace. */
  static open(protocol: number): NetlinkSocket {
    const fd = check(
      cSocket(AF_NETLINK, SOCK_RAW | O_CLOEXEC | O_NONBLOCK, protocol) as number,
      "socket",
      `AF_NETLINK ${protocol}`,
    );
    return new NetlinkSocket(fd, true);
  }

  /** Speaks over a socket that was made elsewhere (in a pod's netns); `close` leaves the descriptor open. */
  static over(fd: number): NetlinkSocket {
    return new NetlinkSocket(fd, false);
  }

  /**
   * Sends all requests with one send(2) and waits for their answers. The kernel carries all of them out even if an
   * early one fails. Throws the NetlinkError of the first that failed; an errno in `tolerated` counts as success.
   */
  async request(requests: readonly NetlinkRequest[], tolerated: readonly string[] = []): Promise<void> {
    await this.#exclusively(() => this.#batch(requests, tolerated));
  }

  /** A request that is answered with one message: RTM_GETLINK of one link. Throws NetlinkError. */
  async get(request: NetlinkRequest): Promise<NetlinkMessage> {
    const found = await this.#exclusively(() => this.#batch([request], []));
    const message = found[0];
    if (message === undefined)
      throw new CricketError("internal", `${request.doing}: netlink sent no message`);
    return message;
  }

  /** A request that lists objects. Starts again where the list changed under the dump (NLM_F_DUMP_INTR). */
  async dump(request: NetlinkRequest): Promise<NetlinkMessage[]> {
    for (let attempt = 0; ; attempt++) {
      const { messages, interrupted } = await this.#exclusively(() => this.#dumpOnce(request));
      if (!interrupted) return messages;
      if (attempt === 16)
        throw new CricketError(
          "unavailable",
          `${request.doing}: the list changes faster than it can be read`,
        );
    }
  }

  close(): void {
    if (this.#owned) close(this.fd);
  }

  #exclusively<T>(conversation: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(conversation);
    this.#queue = result.catch(() => {});
    return result;
  }

  async #batch(requests: readonly NetlinkRequest[], tolerated: readonly string[]): Promise<NetlinkMessage[]> {
    const first = this.#sequence;
    const packets = requests.map((request) =>
      encodeRequest({ ...request, flags: request.flags | NLM_F_ACK }, this.#nextSequence()),
    );
    await this.#send(Buffer.concat(packets), requests[0]?.doing ?? "nothing");
    const waiting = new Map(requests.map((request, index) => [(first + index) >>> 0, request]));
    const found: NetlinkMessage[] = [];
    let failure: NetlinkError | undefined;
    while (waiting.size > 0) {
      for (const message of decodeMessages(this.#receive([...waiting.values()][0]?.doing ?? ""))) {
        const request = waiting.get(message.sequence);
        if (request === undefined) continue;
        if (message.type !== NLMSG_ERROR) {
          // Copied: the receive buffer is used again.
          found.push({ ...message, body: Buffer.from(message.body) });
          continue;
        }
        waiting.delete(message.sequence);
        failure ??= failureOf(message, request, tolerated);
      }
    }
    if (failure !== undefined) throw failure;
    return found;
  }

  async #dumpOnce(request: NetlinkRequest): Promise<Dump> {
    const sequence = this.#nextSequence();
    await this.#send(
      encodeRequest({ ...request, flags: request.flags | NLM_F_DUMP }, sequence),
      request.doing,
    );
    const dump: Dump = { messages: [], interrupted: false };
    for (let isComplete = false; !isComplete;)
      for (const message of decodeMessages(this.#receive(request.doing)))
        if (message.sequence === sequence) isComplete = collect(message, request, dump);
    return dump;
  }

  #nextSequence(): number {
    const sequence = this.#sequence;
    this.#sequence = (sequence + 1) >>> 0;
    return sequence;
  }

  // The kernel carries requests out inside send(2), waiting for the RTNL lock, which the end of another network
  // namespace can hold for tens of milliseconds: so not on the main thread.
  async #send(bytes: Buffer, doing: string): Promise<void> {
    if (bytes.length > batchLength)
      throw new CricketError("internal", `${doing}: netlink batch of ${bytes.length} bytes`);
    await new Promise<void>((resolve, reject) => {
      cSend.async(this.fd, bytes, bytes.length, 0, (error: Error | null, result: unknown) => {
        // errno is only right inside this callback. Naming `bytes` here keeps the memory alive that the kernel reads.
        if (error !== null) reject(error);
        else if (Number(result) === bytes.length) resolve();
        else reject(new SyscallError("send to netlink", lastErrno(), doing));
      });
    });
  }

  // By the time send(2) has returned the answers are in the socket's queue, so this never waits.
  #receive(doing: string): Buffer {
    for (;;) {
      const buffer = this.#receiveBuffer;
      const length = Number(cRecv(this.fd, buffer, buffer.length, MSG_DONTWAIT | MSG_TRUNC));
      if (length > buffer.length)
        throw new CricketError("internal", `${doing}: netlink message of ${length} bytes was cut off`);
      if (length >= 0) return buffer.subarray(0, length);
      const errno = lastErrno();
      if (errno !== "EINTR") throw new SyscallError("recv from netlink", errno, doing);
    }
  }
}

function setOption(fd: number, option: number): void {
  const one = Buffer.from([1, 0, 0, 0]);
  // An older kernel lacks the strict check; the answers are then only less exact.
  if ((cSetsockopt(fd, SOL_NETLINK, option, one, one.length) as number) === -1) lastErrno();
}

/** Adds a message to the dump; true for its end. Throws NetlinkError where the kernel gives up. */
function collect(message: NetlinkMessage, request: NetlinkRequest, dump: Dump): boolean {
  if ((message.flags & NLM_F_DUMP_INTR) !== 0) dump.interrupted = true;
  if (message.type === NLMSG_ERROR) {
    const failure = failureOf(message, request, []);
    if (failure !== undefined) throw failure;
    return false;
  }
  if (message.type !== NLMSG_DONE) {
    // Copied: the receive buffer is used again.
    dump.messages.push({ ...message, body: Buffer.from(message.body) });
    return false;
  }
  const status = message.body.length >= 4 ? message.body.readInt32LE(0) : 0;
  if (status < 0) throw new NetlinkError(request.doing, errnoName(-status), "");
  return true;
}

function failureOf(
  message: NetlinkMessage,
  request: NetlinkRequest,
  tolerated: readonly string[],
): NetlinkError | undefined {
  const answer = decodeAnswer(message);
  if (answer.errno === 0) return undefined;
  const errno = errnoName(answer.errno);
  return tolerated.includes(errno) ? undefined : new NetlinkError(request.doing, errno, answer.text);
}
