import type { GeneratorChunk as WorkerChunk } from "../types/generator.js";
import {
  codeOfKind,
  EngineClientError,
  type EngineErrorCode,
  TimeoutError,
  toEngineError,
} from "./errors.js";
import type { GeneratorChunk } from "./types.js";

/** What is told about a generation while it runs. */
export interface ChunkObserver {
  /** The first chunk was asked for. */
  onStart(): void;
  onChunk(chunk: GeneratorChunk): void;
  /** The generation failed, or did not come about. */
  onError(error: EngineClientError): void;
}

export interface ChunkStreamOptions {
  /** Opens the worker's chunks; called by the first `next()`. */
  readonly open: () => AsyncGenerator<WorkerChunk, void, undefined>;
  readonly observer: ChunkObserver;
  readonly streamId: string;
  /** Milliseconds. */
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal | undefined;
}

/** The chunks of a generation under the names and errors of this entry. `return()` cancels at once. */
export class ChunkStream implements AsyncGenerator<GeneratorChunk, void, undefined> {
  readonly [Symbol.toStringTag] = "AsyncGenerator";
  readonly #options: ChunkStreamOptions;
  #chunks: AsyncGenerator<WorkerChunk, void, undefined> | undefined;
  #done = false;

  constructor(options: ChunkStreamOptions) {
    this.#options = options;
  }

  async next(): Promise<IteratorResult<GeneratorChunk, void>> {
    if (this.#done) return { done: true, value: undefined };
    const { open, observer, signal } = this.#options;
    try {
      if (this.#chunks === undefined) {
        this.#chunks = open();
        observer.onStart();
      }
      const { done, value } = await this.#chunks.next();
      if (done) {
        this.#done = true;
        return { done, value: undefined };
      }
      const chunk = this.#translate(value);
      observer.onChunk(chunk);
      return { done: false, value: chunk };
    } catch (reason) {
      this.#done = true;
      const error = toEngineError(reason, signal);
      observer.onError(error);
      throw error;
    }
  }

  async return(): Promise<IteratorResult<GeneratorChunk, void>> {
    this.#done = true;
    await this.#chunks?.return();
    return { done: true, value: undefined };
  }

  async throw(error: unknown): Promise<IteratorResult<GeneratorChunk, void>> {
    await this.return();
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  #translate(chunk: WorkerChunk): GeneratorChunk {
    const { timeoutMs, streamId, observer } = this.#options;
    if (chunk.type === "error") {
      const { code: kind, message, details } = chunk.error;
      const error = new EngineClientError(codeOfKind(kind), message, { ...details, kind });
      observer.onError(error);
      return { type: "error", error: error.toObject() };
    }
    if (chunk.type === "metadata" && chunk.stats.finishReason === "timeout" && timeoutMs !== undefined) {
      throw new TimeoutError("generate", timeoutMs, streamId);
    }
    return chunk;
  }
}

/**
 * The text of a generation.
 *
 * @param onToken called with the text of each token
 * @throws EngineClientError when the generation fails, also with an error chunk
 */
export async function textOf(
  chunks: AsyncIterable<GeneratorChunk>,
  onToken?: (token: string) => void,
): Promise<string> {
  let text = "";
  for await (const chunk of chunks) {
    if (chunk.type === "error") throw errorOfChunk(chunk.error);
    if (chunk.type !== "token") continue;
    text += chunk.token;
    onToken?.(chunk.token);
  }
  return text;
}

/** An error chunk's error as one to throw. */
export function errorOfChunk({
  code,
  message,
  details,
}: Extract<GeneratorChunk, { type: "error" }>["error"]): EngineClientError {
  return new EngineClientError((code ?? "UnknownError") as EngineErrorCode, message, details);
}
