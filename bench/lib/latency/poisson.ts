import type { EngineName } from "../engine.js";
import { closedLoop, openLoop } from "../load/loops.js";
import { mixedPrompts } from "../load/prompts.js";
import { poissonArrivals } from "../load/random.js";
import {
  checkAnswered,
  type Failure,
  failuresOf,
  gapsOf,
  type LoadRequest,
  recordsOf,
  type StreamClient,
  textParts,
} from "../load/stream.js";
import { type Distribution, describe, described, type Spread, spread, sum } from "../stats.js";

/** What one engine did under one rate of arrivals, once. Durations are milliseconds. */
export interface PoissonRun {
  readonly engine: EngineName;
  /** From 0. */
  readonly cycle: number;
  /** Requests per second. */
  readonly rate: number;
  readonly requests: number;
  /** From the first request to the end of the last answer. */
  readonly wallMs: number;
  /** By answer, from the planned arrival to the first text: a late client does not hide a slow engine. */
  readonly ttftMs: readonly number[];
  /** Between the parts of an answer with text. */
  readonly interTokenMs: readonly number[];
  /** By answer, from the planned arrival to its end. */
  readonly totalMs: readonly number[];
  /** By answer, before the engine began with it; empty where the engine does not tell. */
  readonly queueMs: readonly number[];
  readonly promptTokens: number;
  readonly failures: readonly Failure[];
}

/** Requests of mixed lengths that no engine has seen before. `series`: see {@link mixedPrompts}. */
export function mixedRequests(count: number, seed: number, series: string, maxTokens: number): LoadRequest[] {
  return mixedPrompts(count, seed, series).map((prompt, index) => ({ index, prompt, maxTokens }));
}

/**
 * Requests per second that an engine completes for a closed loop of clients.
 *
 * @throws Error when a request fails
 */
export async function capacityOf(
  client: StreamClient,
  requests: readonly LoadRequest[],
  clients: number,
  limitMs: number,
): Promise<number> {
  const { startedMs, endedMs, outcomes } = await closedLoop(client, requests, clients, limitMs);
  checkAnswered(outcomes);
  return (requests.length / (endedMs - startedMs)) * 1000;
}

/**
 * Sends requests as a Poisson process and waits for all answers.
 *
 * @param seed the same arrivals for the same seed, rate and number of requests
 * @param onEnd told how many requests have ended
 */
export async function measurePoisson(
  client: StreamClient,
  requests: readonly LoadRequest[],
  rate: number,
  seed: number,
  limitMs: number,
  onEnd: (ended: number) => void,
): Promise<Omit<PoissonRun, "cycle">> {
  const planned = poissonArrivals(rate, requests.length, seed);
  let ended = 0;
  const run = await openLoop(client, requests, planned, limitMs, () => onEnd(++ended));
  const { startedMs, endedMs, outcomes } = run;
  const records = recordsOf(outcomes);
  const fromPlan = (times: (record: (typeof records)[number]) => number | undefined): number[] =>
    outcomes.flatMap((outcome, i) => {
      const atMs = "record" in outcome ? times(outcome.record) : undefined;
      return atMs === undefined ? [] : [atMs - startedMs - (planned[i] as number)];
    });
  return {
    engine: client.name,
    rate,
    requests: requests.length,
    wallMs: endedMs - startedMs - (planned[0] ?? 0),
    ttftMs: fromPlan((record) => textParts(record)[0]?.atMs),
    interTokenMs: records.flatMap((record) => gapsOf(textParts(record))),
    totalMs: fromPlan((record) => record.endedMs),
    queueMs: records.flatMap((record) => record.queueMs ?? []),
    promptTokens: sum(records.map((record) => record.promptTokens)),
    failures: failuresOf(outcomes),
  };
}

/** One engine under one rate, over all cycles. Durations are milliseconds; null without a value. */
export interface PoissonSummary {
  readonly ttft: Distribution | null;
  readonly interToken: Distribution | null;
  readonly total: Distribution | null;
  readonly queue: Distribution | null;
  readonly requests: number;
  readonly failed: number;
}

/** One rate. Ratios are mlx-worker by mlx-lm, one value a cycle; null without a baseline or when a request failed. */
export interface PoissonLevel {
  readonly rate: number;
  readonly engines: Readonly<Partial<Record<EngineName, PoissonSummary>>>;
  readonly ratios: {
    readonly ttftP50: Spread;
    readonly ttftP95: Spread;
    readonly interTokenP50: Spread;
    readonly interTokenP99: Spread;
  } | null;
}

function summarizeRuns(runs: readonly PoissonRun[]): PoissonSummary {
  return {
    ttft: described(runs.flatMap((run) => run.ttftMs)),
    interToken: described(runs.flatMap((run) => run.interTokenMs)),
    total: described(runs.flatMap((run) => run.totalMs)),
    queue: described(runs.flatMap((run) => run.queueMs)),
    requests: sum(runs.map((run) => run.requests)),
    failed: sum(runs.map((run) => run.failures.length)),
  };
}

function compareRuns(own: readonly PoissonRun[], other: readonly PoissonRun[]): PoissonLevel["ratios"] {
  const usable = (run: PoissonRun): boolean =>
    run.failures.length === 0 && run.ttftMs.length > 0 && run.interTokenMs.length > 0;
  if (own.length !== other.length || ![...own, ...other].every(usable)) return null;
  const ratio = (values: (run: PoissonRun) => readonly number[], pick: (d: Distribution) => number): Spread =>
    spread(
      own.map(
        (run, cycle) => pick(describe(values(run))) / pick(describe(values(other[cycle] as PoissonRun))),
      ),
    );
  return {
    ttftP50: ratio(
      (run) => run.ttftMs,
      (d) => d.median,
    ),
    ttftP95: ratio(
      (run) => run.ttftMs,
      (d) => d.p95,
    ),
    interTokenP50: ratio(
      (run) => run.interTokenMs,
      (d) => d.median,
    ),
    interTokenP99: ratio(
      (run) => run.interTokenMs,
      (d) => d.p99,
    ),
  };
}

/** All rates, ascending. Every engine has one run a cycle and rate. */
export function summarizePoisson(runs: readonly PoissonRun[]): PoissonLevel[] {
  const names = [...new Set(runs.map((run) => run.engine))];
  const byRate = [...new Set(runs.map((run) => run.rate))].sort((a, b) => a - b);
  return byRate.map((rate) => {
    const of = (engine: EngineName): PoissonRun[] =>
      runs.filter((run) => run.engine === engine && run.rate === rate).sort((a, b) => a.cycle - b.cycle);
    return {
      rate,
      engines: Object.fromEntries(names.map((name) => [name, summarizeRuns(of(name))])),
      ratios: compareRuns(of("mlx-worker"), of("mlx-lm")),
    };
  });
}
