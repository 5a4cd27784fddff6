import type { EngineName } from "../engine.js";
import { closedLoop } from "../load/loops.js";
import { questionsText } from "../load/prompts.js";
import { seededRandom } from "../load/random.js";
import { type LoadRequest, type StreamClient, textParts } from "../load/stream.js";
import { type Distribution, describe, described, type Spread, spread, sum } from "../stats.js";

/** What every engine gets. */
export interface ConcurrentLoad {
  /** Requests of a round. */
  readonly streams: number;
  readonly rounds: number;
  /** Tokens of every answer. */
  readonly maxTokens: number;
  readonly seed: number;
}

/** What one engine did in one cycle: requests at once, round after round. */
export interface ConcurrentRun {
  readonly engine: EngineName;
  /** From 0. */
  readonly cycle: number;
  /** Of all rounds, milliseconds. */
  readonly ttftMs: readonly number[];
  readonly failures: readonly string[];
}

/** One engine over all cycles. */
export interface ConcurrentSummary {
  /** Milliseconds; null when nothing was answered. */
  readonly ttft: Distribution | null;
  readonly failed: number;
}

/** The scenario's result. */
export interface ConcurrentComparison {
  readonly engines: Readonly<Partial<Record<EngineName, ConcurrentSummary>>>;
  /** TTFT P95 of mlx-worker by mlx-lm's, one value a cycle; null without a baseline or when a request failed. */
  readonly ttftP95Ratio: Spread | null;
  readonly ttftP50Ratio: Spread | null;
}

/**
 * In each round every engine in turn gets requests at once, the same ones. A first round is not measured.
 */
export async function measureConcurrent(
  clients: readonly StreamClient[],
  { streams, rounds, maxTokens, seed }: ConcurrentLoad,
  cycle: number,
  limitMs: number,
): Promise<ConcurrentRun[]> {
  const random = seededRandom(seed);
  const found = clients.map(({ name }) => ({
    engine: name,
    cycle,
    ttftMs: [] as number[],
    failures: [] as string[],
  }));
  for (let round = -1; round < rounds; round++) {
    const requests = Array.from({ length: streams }, (_, index): LoadRequest => {
      const heading = `${index + 1}-${round + 1}-${cycle + 1}`;
      return { index, prompt: questionsText(random, 1, heading), maxTokens };
    });
    for (const [i, client] of clients.entries()) {
      const { outcomes } = await closedLoop(client, requests, streams, limitMs);
      if (round < 0) continue; // warm-up
      for (const outcome of outcomes) {
        if ("error" in outcome) found[i]?.failures.push(outcome.error);
        else {
          const { record } = outcome;
          for (const first of textParts(record).slice(0, 1)) {
            found[i]?.ttftMs.push(first.atMs - record.sentMs);
          }
        }
      }
    }
  }
  return found;
}

/** The distributions and ratios of all cycles. */
export function summarizeConcurrent(runs: readonly ConcurrentRun[]): ConcurrentComparison {
  const of = (engine: EngineName): ConcurrentRun[] => runs.filter((run) => run.engine === engine);
  const names = [...new Set(runs.map((run) => run.engine))];
  const engines = names.map((name) => {
    const ttft = described(of(name).flatMap((run) => run.ttftMs));
    const failed = sum(of(name).map((run) => run.failures.length));
    return [name, { ttft, failed }] as const;
  });
  const ratio = (pick: (values: Distribution) => number): Spread | null => {
    const [own, other] = [of("mlx-worker"), of("mlx-lm")];
    if (own.length !== other.length || runs.some((run) => run.failures.length > 0 || run.ttftMs.length === 0))
      return null;
    return spread(
      own.map((run, cycle) => {
        const beside = other[cycle] as ConcurrentRun;
        return pick(describe(run.ttftMs)) / pick(describe(beside.ttftMs));
      }),
    );
  };
  return {
    engines: Object.fromEntries(engines),
    ttftP95Ratio: ratio((values) => values.p95),
    ttftP50Ratio: ratio((values) => values.median),
  };
}
