import { camelKeys } from "./casing.js";
import { ChunkLog, LOG_START } from "./chunk-log.js";
import { CancelledError, GenerationError, type MlxWorkerError, ProtocolError } from "./errors.js";
import { readParams } from "./params.js";
import { readableBytes, readableOf } from "./readable.js";
import type { StreamSink } from "./stream-table.js";
import type {
  FinishReason,
  GenerateChunk,
  GenerateResult,
  Generation,
  Timings,
  TokenLogprob,
  Usage,
} from "./types/generate.js";
import type { WireChunk, WireEvent, WireStats } from "./wire.js";
import { errorFromWire, invalidParam } from "./wire-errors.js";

/** Collects one stream's notifications and hands them to whoever waits for the result or iterates. */
export class GenerationStream implements Generation, StreamSink {
  readonly streamId: string;
  readonly [Symbol.toStringTag] = "Generation";
  /** The error that the worker reported as the stream's event, as opposed to a call that failed. */
  streamError: MlxWorkerError | undefined;

  readonly #promise: Promise<GenerateResult>;
  readonly #resolve: (result: GenerateResult) => void;
  readonly #reject: (error: unknown) => void;
  readonly #onCancel: () => void;
  /** All output so far, bounded by the request's max_tokens: iterations begin at its start. */
  readonly #log = new ChunkLog();
  #state: "running" | "ended" | "failed" | "aborted" = "running";
  #cancelRequested = false;
  #error: unknown;
  /** The worker's figures, once they have come. */
  #stats: WireStats | undefined;
  /** Wakes the iterations that wait for a change. */
  #changed: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;

  /** @param onCancel asks the worker to stop the stream */
  constructor(streamId: string, onCancel: () => void) {
    this.streamId = streamId;
    this.#onCancel = onCancel;
    const { promise, resolve, reject } = deferred<GenerateResult>();
    this.#promise = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    // A failure that nobody waits for is not the application's unhandled rejection.
    promise.catch(() => {});
  }

  // biome-ignore lint/suspicious/noThenProperty: a generation is a promise of its result.
  then<A = GenerateResult, B = never>(
    onFulfilled?: ((result: GenerateResult) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#promise.then(onFulfilled, onRejected);
  }

  catch<B = never>(
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<GenerateResult | B> {
    return this.#promise.catch(onRejected);
  }

  finally(onFinally?: (() => void) | null): Promise<GenerateResult> {
    return this.#promise.finally(onFinally);
  }

  cancel(): void {
    if (this.#state !== "running" || this.#cancelRequested) return;
    this.#cancelRequested = true;
    this.#onCancel();
  }

  toReadableStream(options?: { readonly format?: "chunks" | undefined }): ReadableStream<GenerateChunk>;
  toReadableStream(options: { readonly format: "bytes" }): ReadableStream<Uint8Array>;
  toReadableStream(
    options: { readonly format?: "chunks" | "bytes" | undefined } = {},
  ): ReadableStream<GenerateChunk> | ReadableStream<Uint8Array> {
    const { format = "chunks" } = readParams("toReadableStream", options, { format: "string" });
    const chunks = this[Symbol.asyncIterator]();
    if (format === "chunks") return readableOf(chunks);
    if (format === "bytes") return readableBytes(chunks);
    throw invalidParam(
      "format",
      `toReadableStream: format is ${JSON.stringify(format)}`,
      '"chunks" or "bytes"',
    );
  }

  /** Ends the generation with an abort signal's reason; chunks that were not read yet are dropped. */
  abort(reason: unknown): void {
    this.#settle("aborted", () => {
      this.#error = reason;
      this.#log.clear();
      this.#reject(reason);
    });
  }

  onChunk(chunk: WireChunk): void {
    if (this.#state !== "running") return;
    const logprobs = chunk.logprobs;
    this.#log.add({
      text: chunk.text,
      tokenIds: chunk.token_ids,
      ...(logprobs ? { logprobs: camelKeys(logprobs) as TokenLogprob[] } : {}),
    });
    this.#wake();
  }

  onStats(stats: WireStats): void {
    this.#stats = stats;
  }

  onEvent(event: WireEvent): void {
    const error = this.#errorOf(event);
    if (error !== undefined) {
      this.streamError = error;
      this.onFailure(error);
    } else if (this.#stats === undefined) {
      this.onFailure(new ProtocolError("the worker ended a stream without its stats"));
    } else {
      const result = this.#result(event, this.#stats);
      this.#settle("ended", () => this.#resolve(result));
    }
  }

  onFailure(error: unknown): void {
    this.#settle("failed", () => {
      this.#error = error;
      this.#reject(error);
    });
  }

  [Symbol.asyncIterator](): AsyncIterator<GenerateChunk, undefined, undefined> {
    let position = LOG_START;
    let done = false;
    const finish = (): IteratorReturnResult<undefined> => {
      done = true;
      return { done: true, value: undefined };
    };
    return {
      next: async () => {
        while (!done) {
          const found = this.#log.read(position);
          if (found !== undefined) {
            position = found.next;
            return { done: false, value: found.chunk };
          }
          if (this.#state === "ended") return finish();
          if (this.#state !== "running") {
            finish();
            throw this.#error;
          }
          this.#changed ??= deferred();
          await this.#changed.promise;
        }
        return finish();
      },
      return: async () => {
        this.cancel();
        return finish();
      },
      throw: async (error: unknown) => {
        this.cancel();
        finish();
        throw error;
      },
    };
  }

  /** The error that an event stands for; undefined when there is a result. */
  #errorOf(event: WireEvent): MlxWorkerError | undefined {
    const reported = event.error ? errorFromWire(event.error) : undefined;
    if (event.event === "error") {
      return reported ?? new GenerationError("the generation failed", { kind: "GenerationError" });
    }
    // Cancelled on this side's request, or out of time as asked for: what there is is the result.
    if (event.finish_reason !== "cancelled" || this.#cancelRequested) return undefined;
    return reported ?? new CancelledError("the worker cancelled the generation", { kind: "Cancelled" });
  }

  #result(event: WireEvent, stats: WireStats): GenerateResult {
    const { text, tokenIds, logprobs } = this.#log.output();
    return {
      streamId: this.streamId,
      text,
      tokens: tokenIds,
      ...(logprobs === undefined ? {} : { logprobs }),
      finishReason: event.finish_reason as FinishReason,
      ...(typeof event.stop_sequence === "string" ? { stopSequence: event.stop_sequence } : {}),
      ...(typeof event.stop_token_id === "number" ? { stopTokenId: event.stop_token_id } : {}),
      usage: usageOf(stats),
      timings: timingsOf(stats),
    };
  }

  /** Makes the first end of the generation its only one. */
  #settle(state: "ended" | "failed" | "aborted", settle: () => void): void {
    if (this.#state !== "running") return;
    this.#state = state;
    settle();
    this.#wake();
  }

  #wake(): void {
    this.#changed?.resolve();
    this.#changed = undefined;
  }
}

function usageOf(stats: WireStats): Usage {
  return {
    promptTokens: stats.prompt_tokens,
    cachedTokens: stats.cached_tokens,
    completionTokens: stats.completion_tokens,
    draftTokens: stats.draft_tokens,
    draftAccepted: stats.draft_accepted,
  };
}

function timingsOf(stats: WireStats): Timings {
  return {
    queueMs: stats.queue_ms,
    prefillMs: stats.prefill_ms,
    ttftMs: stats.ttft_ms,
    decodeMs: stats.decode_ms,
    totalMs: stats.total_ms,
    tokensPerSecond: stats.tokens_per_second,
  };
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

/** `Promise.withResolvers`, which Node 20 does not have. */
function deferred<T = void>(): Deferred<T> {
  let resolve: (value: T) => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
