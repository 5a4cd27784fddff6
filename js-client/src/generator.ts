import type { GenerationStream } from "./generation.js";
import type { GenerateChunk, GenerateResult } from "./types/generate.js";
import type { GeneratorChunk, TokenChunk } from "./types/generator.js";

/** A generation that is about to run, and the model it runs on. */
export interface GeneratorStart {
  readonly generation: GenerationStream;
  readonly modelId: string;
}

/**
 * A generation as the chunks of `createGenerator`. It starts with the first `next()`; `return()` and
 * `throw()` cancel it at once, also while a `next()` is pending.
 */
export class ChunkGenerator implements AsyncGenerator<GeneratorChunk, void, undefined> {
  readonly [Symbol.toStringTag] = "AsyncGenerator";
  readonly #chunks: AsyncGenerator<GeneratorChunk, void, undefined>;
  #generation: GenerationStream | undefined;

  /** @param start called by the first `next()`; what it throws is thrown there */
  constructor(start: () => GeneratorStart) {
    this.#chunks = this.#run(start);
  }

  next(): Promise<IteratorResult<GeneratorChunk, void>> {
    return this.#chunks.next();
  }

  return(): Promise<IteratorResult<GeneratorChunk, void>> {
    this.#generation?.cancel();
    return this.#chunks.return();
  }

  throw(error: unknown): Promise<IteratorResult<GeneratorChunk, void>> {
    this.#generation?.cancel();
    return this.#chunks.throw(error);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  async *#run(start: () => GeneratorStart): AsyncGenerator<GeneratorChunk, void, undefined> {
    const { generation, modelId } = start();
    this.#generation = generation;
    let text = "";
    try {
      for await (const chunk of generation) {
        for (const token of tokensOf(chunk)) {
          text += token.token;
          yield { ...token, cumulativeText: text };
        }
      }
      yield metadataOf(await generation, modelId);
    } catch (error) {
      const { streamError } = generation;
      if (streamError === undefined || error !== streamError) throw error;
      const { kind, message, data } = streamError;
      yield { type: "error", error: { code: kind, message, details: data } };
    }
  }
}

/** A chunk token by token; its text became complete with the last one. */
function* tokensOf(chunk: GenerateChunk): Generator<Omit<TokenChunk, "cumulativeText">> {
  const last = chunk.tokenIds.length - 1;
  if (last < 0) yield { type: "token", token: chunk.text, isFinal: false };
  for (const [i, tokenId] of chunk.tokenIds.entries()) {
    const logprob = chunk.logprobs?.[i]?.logprob;
    yield {
      type: "token",
      token: i === last ? chunk.text : "",
      tokenId,
      ...(logprob === undefined ? {} : { logprob }),
      isFinal: false,
    };
  }
}

function metadataOf(result: GenerateResult, modelId: string): GeneratorChunk {
  const { usage, timings, finishReason } = result;
  return {
    type: "metadata",
    stats: {
      modelId,
      tokensGenerated: usage.completionTokens,
      tokensPerSecond: timings.tokensPerSecond,
      timeToFirstToken: timings.ttftMs / 1000,
      totalTime: timings.totalMs / 1000,
      draftTokensAccepted: usage.draftAccepted,
      finishReason,
    },
  };
}
