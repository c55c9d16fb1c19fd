// Answers calls of the other side of a ttrpc connection.
import { CricketError, messageOf } from "../../base/errors.ts";
import { v1 } from "../../../cri-api/ttrpc/v1/api.js";
import { encodeFrame, FrameReader, frameType, type TtrpcFrame } from "./frame.ts";
import type { Channel } from "./multiplexer.ts";
import { statusOf } from "./status.ts";

/** Takes the payload of a request and gives that of the answer; a CricketError becomes a status. */
export type Handler = (payload: Uint8Array) => Promise<Uint8Array>;

/** More at once than any plugin asks: what goes beyond is refused and not queued. */
const maxCalls = 64;

export class TtrpcServer {
  readonly #service: string;
  readonly #handlers: Readonly<Record<string, Handler>>;
  readonly #frames = new FrameReader();
  #channel: Channel | undefined;
  #calls = 0;

  constructor(service: string, handlers: Readonly<Record<string, Handler>>) {
    this.#service = service;
    this.#handlers = handlers;
  }

  attach(channel: Channel): void {
    this.#channel = channel;
  }

  /** Takes what arrived on the connection. @throws CricketError for what is not ttrpc */
  receive(bytes: Buffer): void {
    for (const frame of this.#frames.push(bytes)) {
      if (frame.type === frameType.request) void this.#serve(frame);
      else if (frame.type !== frameType.data)
        throw new CricketError("invalid-argument", `ttrpc frame of type ${frame.type} in place of a request`);
    }
  }

  async #serve({ streamId, message }: TtrpcFrame): Promise<void> {
    let response: v1.ResponseSent;
    this.#calls++;
    try {
      response = { payload: await this.#answer(message) };
    } catch (error) {
      const code = error instanceof CricketError ? error.code : "internal";
      response = { status: { code: statusOf(code), message: messageOf(error) } };
    } finally {
      this.#calls--;
    }
    this.#channel?.send(encodeResponse(streamId, response));
  }

  async #answer(message: Buffer): Promise<Uint8Array> {
    if (this.#calls > maxCalls) throw new CricketError("resource-exhausted", "too many calls at once");
    const { service, method, payload } = decodeRequest(message);
    const handler =
      service === this.#service && Object.hasOwn(this.#handlers, method) ? this.#handlers[method] : undefined;
    if (handler === undefined)
      throw new CricketError("unimplemented", `${service}/${method} is not served here`);
    return handler(payload);
  }
}

function encodeResponse(streamId: number, response: v1.ResponseSent): Buffer {
  try {
    return encodeFrame(streamId, frameType.response, v1.Response.encode(response).finish());
  } catch (error) {
    const status = { code: statusOf("resource-exhausted"), message: messageOf(error) };
    return encodeFrame(streamId, frameType.response, v1.Response.encode({ status }).finish());
  }
}

function decodeRequest(message: Buffer): v1.Request {
  try {
    return v1.Request.decode(message);
  } catch (error) {
    throw new CricketError("invalid-argument", "ttrpc request cannot be decoded", { cause: error });
  }
}
