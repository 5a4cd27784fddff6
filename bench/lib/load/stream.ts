import type { EngineName } from "../engine.js";

/** One request of a load; the same for every engine. Answers are greedy and do not end before `maxTokens`. */
export interface LoadRequest {
  /** Position in the load, from 0. */
  readonly index: number;
  /** A text, or token ids. Nothing is added to either but the special tokens that a text gets. */
  readonly prompt: string | readonly number[];
  readonly maxTokens: number;
}

/** A part of an answer, as it reached the client. */
export interface Arrival {
  /** On the clock of `performance.now()`, milliseconds. */
  readonly atMs: number;
  /** Tokens that it brought; 0 for text that was held back, and null where the engine does not tell. */
  readonly tokens: number | null;
  /** Whether it brought text. A token may bring none: part of a character, or of what may become one word. */
  readonly hasText: boolean;
}

/** One answer, part by part. */
export interface StreamRecord {
  /** On the clock of `performance.now()`, milliseconds, like the arrivals. */
  readonly sentMs: number;
  readonly endedMs: number;
  /** In the order of their coming. */
  readonly arrivals: readonly Arrival[];
  /** Ids of the answer's tokens; null where the engine does not tell. */
  readonly tokens: readonly number[] | null;
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Time before the engine began with the request, milliseconds; null where the engine does not tell. */
  readonly queueMs: number | null;
}

/** How a stream is followed. */
export interface StreamOptions {
  /** Ends the request, which then rejects. */
  readonly signal: AbortSignal;
  /** Told of every part as it comes. */
  readonly onArrival?: ((arrival: Arrival) => void) | undefined;
}

/** An engine that takes any number of requests at a time. */
export interface StreamClient {
  readonly name: EngineName;
  /** Runs one request to its end. Rejects when the engine refuses it or ends it early. */
  stream(request: LoadRequest, options: StreamOptions): Promise<StreamRecord>;
}

/** A request that failed: its position in the load, and why. */
export interface Failure {
  readonly index: number;
  readonly error: string;
}

/** What became of one request of a load. */
export type Outcome =
  | { readonly request: LoadRequest; readonly record: StreamRecord }
  | { readonly request: LoadRequest; readonly error: string };

/** The parts of an answer that brought text: what a reader sees, and all that a server of text shows. */
export function textParts({ arrivals }: StreamRecord): Arrival[] {
  return arrivals.filter((part) => part.hasText);
}

/** The parts of an answer that brought tokens. */
export function tokenParts({ arrivals }: StreamRecord): Arrival[] {
  return arrivals.filter((part) => part.tokens !== 0);
}

/** Times from sending to the first token, milliseconds; answers without a token are left out. */
export function ttftsOf(records: readonly StreamRecord[]): number[] {
  return records.flatMap((record) =>
    tokenParts(record)
      .slice(0, 1)
      .map((part) => part.atMs - record.sentMs),
  );
}

/** The times between parts, milliseconds: none for less than two. */
export function gapsOf(parts: readonly Arrival[]): number[] {
  return parts.slice(1).map(({ atMs }, i) => atMs - (parts[i] as Arrival).atMs);
}

/** The answers of a load, without those that failed. */
export function recordsOf(outcomes: readonly Outcome[]): StreamRecord[] {
  return outcomes.flatMap((outcome) => ("record" in outcome ? [outcome.record] : []));
}

/** The requests of a load that failed. */
export function failuresOf(outcomes: readonly Outcome[]): Failure[] {
  return outcomes.flatMap((one) => ("error" in one ? [{ index: one.request.index, error: one.error }] : []));
}

/**
 * For loads that mean nothing unless everything was answered.
 *
 * @param before what is put before the first failure's message
 * @throws Error when a request failed
 */
export function checkAnswered(outcomes: readonly Outcome[], before = ""): void {
  const [first] = failuresOf(outcomes);
  if (first) throw new Error(`${before}${first.error}`);
}

/**
 * Tokens per second while that many answers were being decoded at once: an answer is decoded from its first
 * part to its last. Null when there never were as many, or when an engine does not tell its tokens.
 *
 * @param clients as many answers as the load has clients: prefills and ends of the load are left out
 */
export function steadyDecodeRate(records: readonly StreamRecord[], clients: number): number | null {
  const edges = records.flatMap((record) => {
    const parts = tokenParts(record);
    const [first, last] = [parts[0], parts.at(-1)];
    return first && last && first !== last
      ? [
          { atMs: first.atMs, change: 1 },
          { atMs: last.atMs, change: -1 },
        ]
      : [];
  });
  // At one moment ends come before beginnings, so that two answers in a row do not count as two at once.
  edges.sort((a, b) => a.atMs - b.atMs || a.change - b.change);
  const steady: { readonly from: number; readonly to: number }[] = [];
  let decoding = 0;
  let since = 0;
  for (const { atMs, change } of edges) {
    if (decoding === clients && atMs > since) steady.push({ from: since, to: atMs });
    decoding += change;
    since = atMs;
  }
  const parts = records.flatMap((record) => record.arrivals);
  const inSteady = ({ atMs }: Arrival): boolean => steady.some(({ from, to }) => atMs > from && atMs <= to);
  const tokens = parts.filter(inSteady).reduce((total, part) => total + (part.tokens ?? 0), 0);
  const time = steady.reduce((total, { from, to }) => total + to - from, 0);
  return tokens > 0 && time > 0 ? (tokens / time) * 1000 : null;
}
