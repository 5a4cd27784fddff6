import { Decoder, Encoder } from "@msgpack/msgpack";
import { FrameTooLargeError, ProtocolError } from "./errors.js";
import { isWireObject, type WireObject } from "./wire.js";
import { invalidParam } from "./wire-errors.js";

/** Bytes of the big-endian length in front of every frame's body. */
const FRAME_HEADER_BYTES = 4;

/** Above this size the encoder's scratch buffer is given back after use. */
const KEPT_SCRATCH_BYTES = 1024 * 1024;

/** Turns messages into frames: length and MessagePack body in one buffer, ready for a single write. */
export class FrameEncoder {
  readonly #maxFrameBytes: number;
  #encoder: Encoder | undefined;

  constructor(maxFrameBytes: number) {
    this.#maxFrameBytes = maxFrameBytes;
  }

  /**
   * Encodes one message; fields that are undefined are left out.
   *
   * @throws FrameTooLargeError when the body is over the limit
   * @throws InvalidParamsError for a value that MessagePack cannot hold (a function, a cycle)
   */
  encode(message: WireObject): Buffer {
    this.#encoder ??= new Encoder({ ignoreUndefined: true });
    let body: Uint8Array;
    try {
      body = this.#encoder.encodeSharedRef(message);
    } catch (cause) {
      this.#encoder = undefined;
      const reason = cause instanceof Error ? cause.message : String(cause);
      const method = typeof message.method === "string" ? message.method : "message";
      throw invalidParam("params", `${method}: the parameters cannot be encoded: ${reason}`);
    }
    if (body.length > KEPT_SCRATCH_BYTES) this.#encoder = undefined;
    if (body.length > this.#maxFrameBytes) {
      throw new FrameTooLargeError(
        `the message has ${body.length} bytes; a frame holds at most ${this.#maxFrameBytes} (maxFrameBytes)`,
        { kind: "FrameTooLarge", data: { limit: this.#maxFrameBytes, size: body.length } },
      );
    }
    const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + body.length);
    frame.writeUInt32BE(body.length, 0);
    frame.set(body, FRAME_HEADER_BYTES);
    return frame;
  }
}

/**
 * Cuts a byte stream into frames.
 *
 * Bytes that were handed out are never overwritten: binary values of a decoded message are views into the
 * reader's memory and stay valid. So the buffer only ever grows at its end, and what is left of a frame
 * moves to a new buffer when it is full.
 */
export class FrameReader {
  readonly #maxFrameBytes: number;
  #buffer: Buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;

  constructor(maxFrameBytes: number) {
    this.#maxFrameBytes = maxFrameBytes;
  }

  /** Bytes of a frame whose rest has not arrived. */
  get pendingBytes(): number {
    return this.#end - this.#start;
  }

  /**
   * Takes the next bytes of the stream and calls `onBody` with every frame's body that they complete. The
   * chunk belongs to the reader from now on.
   *
   * @throws ProtocolError when a length is 0 or over the limit, after which the stream has no meaning
   */
  push(chunk: Buffer, onBody: (body: Buffer) => void): void {
    this.#append(chunk);
    for (;;) {
      const length = this.#bodyLength();
      if (length === undefined) return;
      const bodyStart = this.#start + FRAME_HEADER_BYTES;
      if (this.#end - bodyStart < length) return;
      this.#start = bodyStart + length;
      onBody(this.#buffer.subarray(bodyStart, this.#start));
    }
  }

  /** Length of the next body, checked; undefined until its header is here. */
  #bodyLength(): number | undefined {
    if (this.pendingBytes < FRAME_HEADER_BYTES) return undefined;
    const length = this.#buffer.readUInt32BE(this.#start);
    if (length === 0 || length > this.#maxFrameBytes) {
      throw new ProtocolError(
        `the worker's stdout is not a stream of frames: a frame length of ${length} (accepted: 1 to ${this.#maxFrameBytes}) in front of ${this.#preview()}`,
        { data: { length, limit: this.#maxFrameBytes } },
      );
    }
    return length;
  }

  #append(chunk: Buffer): void {
    if (this.pendingBytes === 0) {
      this.#buffer = chunk;
      this.#start = 0;
      this.#end = chunk.length;
      return;
    }
    const needed = this.pendingBytes + chunk.length;
    if (this.#ownsTail && this.#buffer.length - this.#end >= chunk.length) {
      chunk.copy(this.#buffer, this.#end);
    } else {
      const grown = Buffer.allocUnsafeSlow(Math.max(2 * needed, 4096));
      this.#buffer.copy(grown, 0, this.#start, this.#end);
      chunk.copy(grown, this.pendingBytes);
      this.#buffer = grown;
      this.#end = needed - chunk.length;
      this.#start = 0;
    }
    this.#end += chunk.length;
  }

  /** Whether the space behind the last byte is the reader's own: a chunk taken over as it is has none. */
  get #ownsTail(): boolean {
    return this.#buffer.length > this.#end;
  }

  #preview(): string {
    return JSON.stringify(
      this.#buffer.subarray(this.#start, Math.min(this.#end, this.#start + 48)).toString("latin1"),
    );
  }
}

/** Decodes the body of a frame: exactly one MessagePack map. */
export class BodyDecoder {
  readonly #decoder: Decoder = new Decoder();

  /** @throws ProtocolError when the body is anything else */
  decode(body: Uint8Array): WireObject {
    let value: unknown;
    try {
      value = this.#decoder.decode(body);
    } catch (cause) {
      throw new ProtocolError("a frame from the worker does not hold MessagePack", { cause });
    }
    if (!isWireObject(value))
      throw new ProtocolError("a frame from the worker does not hold a MessagePack map");
    return value;
  }
}
