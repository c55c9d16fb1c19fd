// Name/value header blocks of SPDY/3 (draft-mbelshe-httpbis-spdy-00, section 2.6.10). All blocks of one direction are
// one zlib stream, so every block that comes in must go through the inflater, wanted or not.
import { constants, createInflate, type Inflate } from "node:zlib";
import { spdyDictionary } from "./spdy-dictionary.ts";
import { malformed } from "./spdy-frame.ts";

/** Names in lower case. */
export type SpdyHeaders = ReadonlyMap<string, string>;

/** Of one block when inflated: a few words are expected, and a zip bomb is not (CWE-409). */
const maxBlockBytes = 65_536;
const maxHeaders = 128;

/** Decodes the blocks that one side sends, in their order. */
export class HeaderInflater {
  readonly #inflate: Inflate;
  #parts: Buffer[] = [];
  #size = 0;
  #failure: Error | undefined;

  constructor() {
    this.#inflate = createInflate({ dictionary: spdyDictionary, finishFlush: constants.Z_SYNC_FLUSH });
    this.#inflate.on("data", (part: Buffer) => this.#take(part));
    // Kept for whoever waits: without a listener it would end the process.
    this.#inflate.on("error", (error) => (this.#failure ??= malformed(`a header block: ${error.message}`)));
  }

  /** @throws CricketError invalid-argument; then the connection cannot go on */
  async decode(block: Buffer): Promise<SpdyHeaders> {
    this.#assertIntact();
    this.#parts = [];
    this.#size = 0;
    await new Promise<void>((resolve) => {
      this.#inflate.once("close", resolve);
      this.#inflate.write(block, () => {
        this.#inflate.off("close", resolve);
        resolve();
      });
    });
    this.#assertIntact();
    return parseHeaders(Buffer.concat(this.#parts));
  }

  close(): void {
    this.#inflate.destroy();
  }

  #assertIntact(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #take(part: Buffer): void {
    this.#size += part.length;
    if (this.#size <= maxBlockBytes) {
      this.#parts.push(part);
      return;
    }
    this.#failure ??= malformed(`a header block of more than ${maxBlockBytes} bytes`);
    this.#inflate.destroy();
  }
}

function parseHeaders(block: Buffer): SpdyHeaders {
  const headers = new Map<string, string>();
  let at = 0;
  const number = (): number => {
    if (block.length < at + 4) throw malformed("a header block that ends early");
    at += 4;
    return block.readUInt32BE(at - 4);
  };
  const text = (): string => {
    const length = number();
    if (length > block.length - at) throw malformed("a header block that ends early");
    at += length;
    return block.toString("utf8", at - length, at);
  };
  const count = number();
  if (count > maxHeaders) throw malformed(`${count} headers`);
  for (let index = 0; index < count; index++) {
    const name = text().toLowerCase();
    if (name === "" || headers.has(name)) throw malformed(`header ${JSON.stringify(name)} empty or repeated`);
    headers.set(name, text());
  }
  return headers;
}

/**
 * Encodes the blocks of one direction. What is sent is so little that the zlib stream consists of stored blocks
 * (RFC 1951, 3.2.4): valid for every inflater, without a compressor per connection, and with nothing to guess from
 * compressed lengths (CVE-2012-4929).
 */
export class HeaderEncoder {
  #begun = false;

  encode(headers: SpdyHeaders): Buffer {
    const parts: Buffer[] = [];
    const number = (value: number): void => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(value);
      parts.push(bytes);
    };
    number(headers.size);
    for (const text of [...headers].flat()) {
      const bytes = Buffer.from(text);
      number(bytes.length);
      parts.push(bytes);
    }
    const block = Buffer.concat(parts);
    if (block.length > 0xffff) throw malformed(`a header block of ${block.length} bytes`);
    const stream = [storedHead(block.length), block, storedHead(0)];
    // CMF and FLG of RFC 1950: deflate, window of 32 KiB, no dictionary.
    if (!this.#begun) stream.unshift(Buffer.from([0x78, 0x01]));
    this.#begun = true;
    return Buffer.concat(stream);
  }
}

// An empty one is what a sync flush ends with: inflaters hand out what they have.
function storedHead(length: number): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt16LE(length, 1);
  head.writeUInt16LE(~length & 0xffff, 3);
  return head;
}
