import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { encode } from "@msgpack/msgpack";
import { BodyDecoder, FrameReader } from "../../src/framing.js";
import type { WireObject } from "../../src/wire.js";
import { WORKER } from "./paths.js";

/** The built worker without a client: for bytes that a client would never send. */
export class RawWorker implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #messages: WireObject[] = [];
  #wake: () => void = () => {};

  constructor(env: Record<string, string> = {}) {
    this.#child = spawn(WORKER, [], { stdio: ["pipe", "pipe", "ignore"], env: { ...process.env, ...env } });
    const reader = new FrameReader(64 * 1024 * 1024);
    const decoder = new BodyDecoder();
    this.#child.stdout.on("data", (chunk: Buffer) => {
      reader.push(chunk, (body) => this.#messages.push(decoder.decode(body)));
      this.#wake();
    });
  }

  /** The next message from the worker. */
  async next(): Promise<WireObject> {
    for (;;) {
      const message = this.#messages.shift();
      if (message !== undefined) return message;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  write(bytes: Uint8Array): void {
    this.#child.stdin.write(bytes);
  }

  /** Sends any value as a frame. */
  send(value: unknown): void {
    const body = encode(value);
    this.write(header(body.length));
    this.write(body);
  }

  request(id: number, method: string, params: WireObject = {}): void {
    this.send({ jsonrpc: "2.0", id, method, params });
  }

  /** Closes the worker's input and resolves with its exit code. */
  async end(): Promise<number | null> {
    const exit = once(this.#child, "close");
    this.#child.stdin.end();
    const [code] = await exit;
    return code as number | null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.end();
  }
}

/** A frame's header. */
export function header(length: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(length);
  return bytes;
}
