import { type StreamRecord, steadyDecodeRate, tokenParts, ttftsOf } from "../load/stream.js";
import { median, sum } from "../stats.js";

/** What one engine did in one case, once. */
export interface Figures {
  /** Tokens per second of all answers while all of them were being decoded; null where that never happened. */
  readonly decodeRate: number | null;
  /** Prompt tokens per second, until the last prompt had its first token. */
  readonly prefillRate: number;
  /** Completion tokens by wall time, prefills included, per second. */
  readonly throughput: number;
  /** To the first token, median over prompts, milliseconds; null where the engine does not tell. */
  readonly ttftMs: number | null;
  /** Token ids by prompt. */
  readonly answers: readonly (readonly number[])[];
}

/** Two stretches of a run, milliseconds. */
export interface Stretches {
  /** Until the last prompt had its first token. */
  readonly prefillMs: number;
  /** From then to the end of the last answer. */
  readonly restMs: number;
}

/** The stretches of prompts that were sent at once. @throws RangeError when an answer has no token */
export function stretchesOf(records: readonly StreamRecord[]): Stretches {
  const sent = Math.min(...records.map((record) => record.sentMs));
  const ended = Math.max(...records.map((record) => record.endedMs));
  const firsts = records.map((record) => {
    const [first] = tokenParts(record);
    if (first === undefined) throw new RangeError("an answer without a token");
    return first.atMs;
  });
  const prefillMs = Math.max(...firsts) - sent;
  return { prefillMs, restMs: ended - sent - prefillMs };
}

/**
 * The figures of prompts that were sent at once.
 *
 * @param prefill of another run of the same prompts, in place of this run's prefill
 */
export function figuresOf(records: readonly StreamRecord[], prefill = records): Figures {
  const { prefillMs } = stretchesOf(prefill);
  const perSecond = (tokens: readonly number[], ms: number): number => (sum(tokens) / ms) * 1000;
  return {
    decodeRate: steadyDecodeRate(records, records.length),
    prefillRate: perSecond(
      records.map((record) => record.promptTokens),
      prefillMs,
    ),
    throughput: perSecond(
      records.map((record) => record.completionTokens),
      prefillMs + stretchesOf(records).restMs,
    ),
    ttftMs: median(ttftsOf(prefill)),
    answers: records.map((record) => record.tokens ?? []),
  };
}

/** The best of each figure, with the answers of the first. */
export function bestOf(all: readonly [Figures, ...Figures[]]): Figures {
  const known = (figure: "decodeRate" | "ttftMs"): number[] =>
    all.map((one) => one[figure]).filter((value) => value !== null);
  const [rates, times] = [known("decodeRate"), known("ttftMs")];
  return {
    decodeRate: rates.length > 0 ? Math.max(...rates) : null,
    prefillRate: Math.max(...all.map((one) => one.prefillRate)),
    throughput: Math.max(...all.map((one) => one.throughput)),
    ttftMs: times.length > 0 ? Math.min(...times) : null,
    answers: all[0].answers,
  };
}
