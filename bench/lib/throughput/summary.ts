import type { EngineName } from "../engine.js";
import type { ParityRecord } from "../parity.js";
import { type Distribution, described, type Spread, spread, sum } from "../stats.js";
import { compareTokens } from "../tokens.js";
import type { LevelRun } from "./measure.js";

/** One engine at one level. */
export interface LevelSummary {
  /** Completion tokens by wall time, tokens per second, one value a cycle. */
  readonly throughput: Spread;
  /** Tokens per second without prefills, one value a cycle; null where a cycle has none. */
  readonly decodeRate: Spread | null;
  /** Over the answers of all cycles, milliseconds; null where the engine does not tell. */
  readonly ttft: Distribution | null;
  /** Likewise, between the parts of an answer. */
  readonly interToken: Distribution | null;
  /** Throughput divided by that of the same engine and cycle with one client; null without such a level. */
  readonly scaling: Spread | null;
  readonly requests: number;
  readonly failed: number;
}

/** One level. */
export interface Level {
  readonly clients: number;
  readonly engines: Readonly<Partial<Record<EngineName, LevelSummary>>>;
  /** mlx-worker's throughput by mlx-lm's, one value a cycle; null without a baseline or when a request failed. */
  readonly throughputRatio: Spread | null;
  /** Likewise for the rates without prefills. */
  readonly decodeRatio: Spread | null;
}

/** Tokens per second over a level's wall time. */
export function throughputOf(run: LevelRun): number {
  return (run.completionTokens / run.wallMs) * 1000;
}

const spreadOf = (values: readonly (number | null | undefined)[]): Spread | null => {
  const known = values.filter((value) => value != null);
  return known.length > 0 && known.length === values.length ? spread(known) : null;
};

function summarizeLevel(runs: readonly LevelRun[], alone: readonly LevelRun[]): LevelSummary {
  return {
    throughput: spread(runs.map(throughputOf)),
    decodeRate: spreadOf(runs.map((run) => run.decodeRate)),
    ttft: described(runs.flatMap((run) => run.ttftMs)),
    interToken: described(runs.flatMap((run) => run.interTokenMs)),
    scaling: spreadOf(
      runs.map((run) => {
        const one = alone.find(({ cycle }) => cycle === run.cycle);
        return one && throughputOf(run) / throughputOf(one);
      }),
    ),
    requests: sum(runs.map((run) => run.requests)),
    failed: sum(runs.map((run) => run.failures.length)),
  };
}

/** The ratios of two engines' figures, cycle by cycle. */
function ratios(
  own: readonly LevelRun[],
  other: readonly LevelRun[],
  figure: (run: LevelRun) => number | null,
): Spread | null {
  if ([...own, ...other].some((run) => run.failures.length > 0)) return null;
  return spreadOf(
    own.map((run) => {
      const beside = other.find(({ cycle }) => cycle === run.cycle);
      const [above, below] = [figure(run), beside ? figure(beside) : null];
      return above !== null && below ? above / below : null;
    }),
  );
}

/** All levels, in the order of their first measurement. */
export function summarizeLevels(runs: readonly LevelRun[]): Level[] {
  const of = (engine: EngineName, clients: number): LevelRun[] =>
    runs.filter((run) => run.engine === engine && run.clients === clients);
  const names = [...new Set(runs.map((run) => run.engine))];
  return [...new Set(runs.map((run) => run.clients))].map((clients) => {
    const [own, other] = [of("mlx-worker", clients), of("mlx-lm", clients)];
    return {
      clients,
      engines: Object.fromEntries(
        names.map((name) => [name, summarizeLevel(of(name, clients), of(name, 1))]),
      ),
      throughputRatio: ratios(own, other, throughputOf),
      decodeRatio: ratios(own, other, (run) => run.decodeRate),
    };
  });
}

/** The reference's answer to a prompt, alone, with its margins. */
export interface Reference {
  readonly tokens: readonly number[];
  readonly margins: readonly number[];
}

/**
 * Compares every answer of the worker to the prompts that there are references for, whatever it shared steps with,
 * by the margin rule.
 *
 * @param references by request
 */
export function compareAnswers(
  runs: readonly LevelRun[],
  references: ReadonlyMap<number, Reference>,
  threshold: number,
): ParityRecord[] {
  return runs
    .filter((run) => run.engine === "mlx-worker")
    .flatMap(({ cycle, clients, answers }) =>
      answers.flatMap(({ index, tokens }) => {
        const reference = references.get(index);
        if (reference === undefined) return [];
        const verdict = compareTokens(tokens, reference.tokens, reference.margins, threshold);
        return [{ cycle, index, question: `prompt ${index + 1} beside ${clients - 1}`, verdict }];
      }),
    );
}

/** So many of the numbers from 0 to `count` − 1, evenly spread, the first one among them. */
export function evenlySpread(wanted: number, count: number): number[] {
  const chosen = Math.min(wanted, count);
  return Array.from({ length: chosen }, (_, i) => Math.floor((i * count) / chosen));
}
