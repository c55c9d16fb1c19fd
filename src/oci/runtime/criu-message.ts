// Messages of criu's RPC (criu.org/RPC, images/rpc.proto), as far as they are used: requests to bytes, answers from them.
// Protocol buffers, proto2: https://protobuf.dev/programming-guides/encoding/.
import { CricketError } from "../../base/errors.ts";

/** struct criu_opts. */
export interface CriuMessageOptions {
  imagesDirFd: number;
  workDirFd?: number;
  pid?: number;
  leaveRunning?: boolean;
  extUnixSk?: boolean;
  tcpEstablished?: boolean;
  evasiveDevices?: boolean;
  shellJob?: boolean;
  fileLocks?: boolean;
  logLevel?: number;
  logFile?: string;
  pageServer?: { address: string; port: number };
  notifyScripts?: boolean;
  root?: string;
  parentImg?: string;
  trackMem?: boolean;
  autoDedup?: boolean;
  manageCgroups?: boolean;
  cgRoot?: readonly { ctrl?: string; path: string }[];
  rstSibling?: boolean;
  inheritFd?: readonly { key: string; fd: number }[];
  manageCgroupsMode?: number;
  external?: readonly string[];
  emptyNs?: number;
  joinNs?: readonly { ns: string; nsFile: string }[];
  lazyPages?: boolean;
  orphanPtsMaster?: boolean;
  configFile?: string;
  lsmProfile?: string;
  lsmMountContext?: string;
}

/** enum criu_req_type. */
export const criuType = { dump: 1, restore: 2, preDump: 4, notify: 6 } as const;

export interface CriuResponse {
  type: number;
  success: boolean;
  /** Of a restore: its first process. */
  pid: number | undefined;
  notify: { script: string; pid: number | undefined } | undefined;
  errno: number;
  /** The first error of its log; newer versions. */
  message: string;
}

export function encodeRequest(type: number, options: CriuMessageOptions): Uint8Array {
  return new Writer().number(1, type).message(2, encodeOptions(options)).bytes();
}

/** The answer to a notification. */
export function encodeNotified(success: boolean): Uint8Array {
  return new Writer().number(1, criuType.notify).flag(3, success).bytes();
}

function encodeOptions(options: CriuMessageOptions): Writer {
  const w = new Writer();
  w.number(1, options.imagesDirFd).number(2, options.pid).flag(3, options.leaveRunning);
  w.flag(4, options.extUnixSk).flag(5, options.tcpEstablished).flag(6, options.evasiveDevices);
  w.flag(7, options.shellJob).flag(8, options.fileLocks);
  w.number(9, options.logLevel).text(10, options.logFile);
  const server = options.pageServer;
  if (server !== undefined) w.message(11, new Writer().text(1, server.address).number(2, server.port));
  w.flag(12, options.notifyScripts).text(13, options.root).text(14, options.parentImg);
  w.flag(15, options.trackMem).flag(16, options.autoDedup).number(17, options.workDirFd);
  w.flag(24, options.manageCgroups);
  for (const { ctrl, path } of options.cgRoot ?? []) w.message(25, new Writer().text(1, ctrl).text(2, path));
  w.flag(26, options.rstSibling);
  for (const { key, fd } of options.inheritFd ?? []) w.message(27, new Writer().text(1, key).number(2, fd));
  w.number(34, options.manageCgroupsMode);
  for (const external of options.external ?? []) w.text(37, external);
  w.number(38, options.emptyNs);
  for (const { ns, nsFile } of options.joinNs ?? []) w.message(39, new Writer().text(1, ns).text(2, nsFile));
  w.flag(48, options.lazyPages).flag(50, options.orphanPtsMaster).text(51, options.configFile);
  return w.text(53, options.lsmProfile).text(63, options.lsmMountContext);
}

const wireType = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

class Writer {
  readonly #parts: Uint8Array[] = [];

  number(field: number, value: number | undefined): this {
    if (value !== undefined) this.#parts.push(varint(field * 8 + wireType.varint), varint(value));
    return this;
  }

  flag(field: number, value: boolean | undefined): this {
    return this.number(field, value === undefined ? undefined : Number(value));
  }

  text(field: number, value: string | undefined): this {
    return value === undefined ? this : this.#bytes(field, Buffer.from(value));
  }

  message(field: number, value: Writer): this {
    return this.#bytes(field, value.bytes());
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.#parts);
  }

  #bytes(field: number, value: Uint8Array): this {
    this.#parts.push(varint(field * 8 + wireType.bytes), varint(value.length), value);
    return this;
  }
}

/** Of numbers from 0 to 2^53: none of the options is negative. */
function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Uint8Array.from([...bytes, rest]);
}

type Fields = Map<number, number | Buffer>;

/** @throws CricketError internal for what is no message */
export function decodeResponse(bytes: Buffer): CriuResponse {
  const fields = decodeFields(bytes);
  const part = (field: number): Fields | undefined => {
    const value = fields.get(field);
    return value instanceof Buffer ? decodeFields(value) : undefined;
  };
  const notify = part(5);
  return {
    type: numberOf(fields, 1) ?? 0,
    success: numberOf(fields, 2) === 1,
    pid: numberOf(part(4), 1),
    notify: notify === undefined ? undefined : { script: textOf(notify, 1), pid: numberOf(notify, 2) },
    errno: numberOf(fields, 7) ?? 0,
    message: textOf(fields, 9),
  };
}

function numberOf(fields: Fields | undefined, field: number): number | undefined {
  const value = fields?.get(field);
  return typeof value === "number" ? value : undefined;
}

function textOf(fields: Fields, field: number): string {
  const value = fields.get(field);
  return value instanceof Buffer ? value.toString("utf8") : "";
}

/** Of a field that is there twice the last counts, as the encoding says; none of ours repeats. */
function decodeFields(bytes: Buffer): Fields {
  const fields: Fields = new Map();
  for (let at = 0; at < bytes.length;) {
    const key = readVarint(bytes, at);
    at = key.end;
    const field = Math.floor(key.value / 8);
    const type = key.value % 8;
    if (type === wireType.varint) {
      const { value, end } = readVarint(bytes, at);
      fields.set(field, value);
      at = end;
    } else if (type === wireType.bytes) {
      const { value, end } = readVarint(bytes, at);
      if (end + value > bytes.length) throw malformed();
      fields.set(field, bytes.subarray(end, end + value));
      at = end + value;
    } else if (type === wireType.fixed64) at += 8;
    else if (type === wireType.fixed32) at += 4;
    else throw malformed();
  }
  return fields;
}

function readVarint(bytes: Buffer, start: number): { value: number; end: number } {
  let value = 0;
  for (let at = start, factor = 1; at < bytes.length && at < start + 10; at++, factor *= 0x80) {
    const byte = bytes[at] ?? 0;
    value += (byte & 0x7f) * factor;
    if (byte < 0x80) return { value, end: at + 1 };
  }
  throw malformed();
}

const malformed = (): CricketError => new CricketError("internal", "criu's answer is no message of its RPC");
