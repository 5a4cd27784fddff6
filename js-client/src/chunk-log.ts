import type { GenerateChunk, TokenLogprob } from "./types/generate.js";

/** Chunks that are kept apart; older ones are joined. */
export const MOST_SEPARATE_CHUNKS = 32;

/** How far somebody has read a {@link ChunkLog}. */
export interface ReadPosition {
  /** Chunks that were handed out, joined ones counted as one: the index of the next. */
  readonly index: number;
  readonly chunks: number;
  readonly textLength: number;
  readonly tokens: number;
  readonly logprobs: number;
}

/** Before the first chunk. */
export const LOG_START: ReadPosition = { index: 0, chunks: 0, textLength: 0, tokens: 0, logprobs: 0 };

/** A chunk before it is read: its index is the reader's. */
type LoggedChunk = Omit<GenerateChunk, "index">;

/** All that a generation produced. */
export interface LoggedOutput {
  readonly text: string;
  readonly tokenIds: readonly number[];
  /** Absent where no chunk had any. */
  readonly logprobs?: readonly TokenLogprob[];
}

/**
 * What a stream has produced so far, for any number of readers, each at a position of its own. The last chunks are
 * kept apart, all before them joined: a stream that nobody reads takes the room of its text and tokens, not of a chunk
 * for each step. A reader that falls behind gets what was joined as one chunk; nothing is lost.
 */
export class ChunkLog {
  #recent: LoggedChunk[] = [];
  /** Chunks that were joined: those before the recent ones. */
  #joined = 0;
  #text = "";
  readonly #tokenIds: number[] = [];
  readonly #logprobs: TokenLogprob[] = [];
  #hasLogprobs = false;

  /** Appends a chunk. */
  add(chunk: LoggedChunk): void {
    this.#hasLogprobs ||= chunk.logprobs !== undefined;
    this.#recent.push(chunk);
    if (this.#recent.length <= MOST_SEPARATE_CHUNKS) return;
    const oldest = this.#recent.shift();
    if (oldest !== undefined) this.#join(oldest);
  }

  /** Chunks that are kept apart: never more than {@link MOST_SEPARATE_CHUNKS}. */
  get separate(): number {
    return this.#recent.length;
  }

  /** The chunk at a position and the position after it; undefined where there is none yet. */
  read(from: ReadPosition): { readonly chunk: GenerateChunk; readonly next: ReadPosition } | undefined {
    const { index } = from;
    const found =
      from.chunks < this.#joined
        ? this.#joinedFrom(from)
        : { content: this.#recent[from.chunks - this.#joined], chunks: from.chunks + 1 };
    if (found.content === undefined) return undefined;
    const { text, tokenIds, logprobs } = found.content;
    return {
      chunk: { index, text, tokenIds, ...(logprobs === undefined ? {} : { logprobs }) },
      next: {
        index: index + 1,
        chunks: found.chunks,
        textLength: from.textLength + text.length,
        tokens: from.tokens + tokenIds.length,
        logprobs: from.logprobs + (logprobs?.length ?? 0),
      },
    };
  }

  /** Everything from the first chunk on. */
  output(): LoggedOutput {
    const logprobs = this.#logprobs.concat(...this.#recent.map((chunk) => chunk.logprobs ?? []));
    return {
      text: this.#text + this.#recent.map((chunk) => chunk.text).join(""),
      tokenIds: this.#tokenIds.concat(...this.#recent.map((chunk) => chunk.tokenIds)),
      ...(this.#hasLogprobs ? { logprobs } : {}),
    };
  }

  /** Forgets everything, for readers that get nothing more. */
  clear(): void {
    this.#recent = [];
    this.#joined = 0;
    this.#text = "";
    this.#tokenIds.length = 0;
    this.#logprobs.length = 0;
  }

  #join({ text, tokenIds, logprobs }: LoggedChunk): void {
    this.#joined += 1;
    this.#text += text;
    for (const id of tokenIds) this.#tokenIds.push(id);
    for (const logprob of logprobs ?? []) this.#logprobs.push(logprob);
  }

  #joinedFrom(from: ReadPosition): { content: LoggedOutput; chunks: number } {
    const logprobs = this.#logprobs.slice(from.logprobs);
    const content = {
      text: this.#text.slice(from.textLength),
      tokenIds: this.#tokenIds.slice(from.tokens),
      ...(this.#hasLogprobs ? { logprobs } : {}),
    };
    return { content, chunks: this.#joined };
  }
}
