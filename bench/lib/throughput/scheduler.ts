import { closedLoop } from "../load/loops.js";
import { checkAnswered, type LoadRequest, recordsOf, type StreamClient, ttftsOf } from "../load/stream.js";
import { median, type Spread, spread, sum } from "../stats.js";

/** The settings that are compared at one client. */
export const SCHEDULER_VARIANTS = {
  off: { MLX_GPU_SCHEDULER: "off" },
  on: { MLX_GPU_SCHEDULER: "on", MLX_FAST_PATH: "on" },
  noFastPath: { MLX_GPU_SCHEDULER: "on", MLX_FAST_PATH: "off" },
} as const satisfies Readonly<Record<string, Readonly<Record<string, string>>>>;

/** One of {@link SCHEDULER_VARIANTS}. */
export type VariantName = keyof typeof SCHEDULER_VARIANTS;

/** One turn of one variant. */
export interface VariantTurn {
  readonly variant: VariantName;
  /** From 0. */
  readonly turn: number;
  /** Tokens per second over the turn. */
  readonly throughput: number;
  /** Median over the turn's answers, milliseconds. */
  readonly ttftMs: number;
}

/** What the scheduler and its fast path cost and are worth at one client; every ratio has one value a turn. */
export interface SchedulerComparison {
  readonly turns: readonly VariantTurn[];
  /** Throughput with the scheduler by that without it: below 0.99 it costs more than 1 %. */
  readonly throughputOnByOff: Spread;
  readonly ttftOnByOff: Spread;
  /** TTFT without the fast path by that with it. */
  readonly ttftNoFastPathByFastPath: Spread;
  /** TTFT without the fast path less that with it, milliseconds: what the fast path saves. */
  readonly fastPathSavesMs: Spread;
}

/**
 * Measures the variants in turns: off, on, without fast path, and again. All run in workers of their own at the same
 * time, of which only one has anything to do.
 *
 * @param requests of one turn, sent one after the other
 * @throws Error when a request fails
 */
export async function compareSchedulers(
  clients: Readonly<Record<VariantName, StreamClient>>,
  requests: readonly LoadRequest[],
  turns: number,
  limitMs: number,
  onTurn: (turn: VariantTurn) => void,
): Promise<SchedulerComparison> {
  const names = Object.keys(SCHEDULER_VARIANTS) as VariantName[];
  const measured: VariantTurn[] = [];
  for (let turn = -1; turn < turns; turn++) {
    for (const variant of names) {
      const result = await oneTurn(clients[variant], requests, limitMs);
      if (turn < 0) continue; // warm-up
      measured.push({ variant, turn, ...result });
      onTurn({ variant, turn, ...result });
    }
  }
  return summarizeTurns(measured);
}

async function oneTurn(
  client: StreamClient,
  requests: readonly LoadRequest[],
  limitMs: number,
): Promise<Pick<VariantTurn, "throughput" | "ttftMs">> {
  const { startedMs, endedMs, outcomes } = await closedLoop(client, requests, 1, limitMs);
  checkAnswered(outcomes);
  const records = recordsOf(outcomes);
  const tokens = sum(records.map((record) => record.completionTokens));
  return {
    throughput: (tokens / (endedMs - startedMs)) * 1000,
    ttftMs: median(ttftsOf(records)),
  };
}

/** The comparison, from turns of all variants in the same number. */
export function summarizeTurns(turns: readonly VariantTurn[]): SchedulerComparison {
  const values = (variant: VariantName, figure: "throughput" | "ttftMs"): number[] =>
    turns.filter((one) => one.variant === variant).map((one) => one[figure]);
  const pairs = (
    above: VariantName,
    below: VariantName,
    figure: "throughput" | "ttftMs",
    join: (a: number, b: number) => number,
  ): Spread => {
    const other = values(below, figure);
    return spread(values(above, figure).map((value, turn) => join(value, other[turn] as number)));
  };
  const quotient = (a: number, b: number): number => a / b;
  return {
    turns,
    throughputOnByOff: pairs("on", "off", "throughput", quotient),
    ttftOnByOff: pairs("on", "off", "ttftMs", quotient),
    ttftNoFastPathByFastPath: pairs("noFastPath", "on", "ttftMs", quotient),
    fastPathSavesMs: pairs("noFastPath", "on", "ttftMs", (a, b) => a - b),
  };
}
