import type { EngineName } from "../engine.js";
import { withLimit } from "../load/limit.js";
import { type Arrival, gapsOf, type LoadRequest, type StreamClient } from "../load/stream.js";
import { type Distribution, describe } from "../stats.js";

/** Gaps that each row decodes undisturbed before the long prompt comes. */
const UNDISTURBED_GAPS = 24;

/** What a long prompt did to the rows that were decoding. Durations are milliseconds. */
export interface LongPromptRun {
  readonly engine: EngineName;
  /** From 0. */
  readonly cycle: number;
  readonly rows: number;
  readonly promptTokens: number;
  /** Of the long prompt. */
  readonly ttftMs: number;
  /** Between the tokens of the rows before the long prompt came. */
  readonly undisturbed: Distribution;
  /** From its arrival to its first token; a gap counts when any of it lies there. */
  readonly disturbed: Distribution;
  /** P99 while disturbed by the median while undisturbed. */
  readonly ratio: number;
}

/**
 * Starts rows, waits until all decode, sends a long prompt, and ends everything when each row has decoded once more
 * after the long prompt's answer.
 *
 * @param rows requests with answers long enough to outlast the long prompt's prefill
 * @throws LimitError when the rows do not come to decode together, or the long prompt has no first token in time
 */
export async function measureLongPrompt(
  client: StreamClient,
  rows: readonly LoadRequest[],
  long: LoadRequest,
  limitMs: number,
): Promise<Omit<LongPromptRun, "cycle">> {
  const end = new AbortController();
  const watch = new RowWatch(rows.length);
  const running = rows.map((request, row) => {
    const onArrival = (arrival: Arrival): void => watch.add(row, arrival);
    return client.stream(request, { signal: end.signal, onArrival }).then(
      () =>
        watch.fail(
          new Error(`row ${row + 1} came to its end before all rows and the long prompt had shared steps`),
        ),
      (error: unknown) => watch.fail(error),
    );
  });
  try {
    await withLimit(`the decode of ${rows.length} rows at once`, limitMs, () => watch.more(UNDISTURBED_GAPS));
    const undisturbed = watch.gaps(0, Number.POSITIVE_INFINITY);
    const sentMs = performance.now();
    const record = await withLimit("the long prompt's answer", limitMs, (signal) =>
      Promise.race([client.stream(long, { signal }), watch.failed]),
    );
    const firstMs = record.arrivals[0]?.atMs ?? record.endedMs;
    await withLimit("the decode after the long prompt", limitMs, () => watch.more(1));
    const disturbed = watch.gaps(sentMs, firstMs);
    return {
      engine: client.name,
      rows: rows.length,
      promptTokens: record.promptTokens,
      ttftMs: firstMs - sentMs,
      ...figures(undisturbed, disturbed),
    };
  } finally {
    end.abort(new Error("the measurement is over"));
    await Promise.all(running);
  }
}

/** The distributions and their ratio. @throws RangeError without gaps of both kinds */
export function figures(
  undisturbedMs: readonly number[],
  disturbedMs: readonly number[],
): Pick<LongPromptRun, "undisturbed" | "disturbed" | "ratio"> {
  const [undisturbed, disturbed] = [describe(undisturbedMs), describe(disturbedMs)];
  return { undisturbed, disturbed, ratio: disturbed.p99 / undisturbed.median };
}

/** Follows rows as they decode. */
export class RowWatch {
  readonly #rows: Arrival[][];
  /** Rejects when a row ends. */
  readonly failed: Promise<never>;
  #reject: (error: unknown) => void = () => undefined;
  #waiting: (() => void) | undefined;

  /** @param count rows, which have no parts yet */
  constructor(count: number) {
    this.#rows = Array.from({ length: count }, () => []);
    this.failed = new Promise((_, reject) => {
      this.#reject = reject;
    });
    this.failed.catch(() => undefined);
  }

  /** A part of a row. Text that was held back, without a token, is no part. */
  add(row: number, arrival: Arrival): void {
    if (arrival.tokens !== 0) this.#rows[row]?.push(arrival);
    this.#waiting?.();
  }

  /** A row is over. */
  fail(error: unknown): void {
    this.#reject(error);
  }

  /** Resolves when every row has so many more gaps. One wait at a time. */
  async more(gaps: number): Promise<void> {
    const least = this.#rows.map((parts) => Math.max(parts.length, 1) + gaps);
    const done = new Promise<void>((resolve) => {
      this.#waiting = () => {
        if (this.#rows.every((parts, row) => parts.length >= (least[row] as number))) resolve();
      };
    });
    await Promise.race([done, this.failed]);
  }

  /**
   * The gaps, milliseconds, that lie in part or whole between two moments. What a row did before all rows decoded is
   * left out.
   */
  gaps(fromMs: number, toMs: number): number[] {
    const allDecode = Math.max(...this.#rows.map((parts) => parts[0]?.atMs ?? Number.POSITIVE_INFINITY));
    return this.#rows.flatMap((parts) =>
      gapsOf(parts).filter((_, i) => {
        const [begins, ends] = [(parts[i] as Arrival).atMs, (parts[i + 1] as Arrival).atMs];
        return begins >= allDecode && ends > fromMs && begins < toMs;
      }),
    );
  }
}
