import { setTimeout as sleep } from "node:timers/promises";
import { RowWatch } from "../latency/long-prompt.js";
import { withLimit } from "../load/limit.js";
import { type Distribution, describe, grouped, type Spread, spread } from "../stats.js";
import type { StreamName } from "./args.js";
import type { LoadCase, LoadMode } from "./modes.js";
import type { LoadingWorker } from "./worker.js";

/** A stretch of a stream. */
export interface Stretch {
  readonly ms: number;
  /** Between the parts of the stream, milliseconds; a gap counts when any of it lies in the stretch. */
  readonly gaps: Distribution;
}

/** What one load did to a stream on another model. */
export interface StallRun {
  readonly stream: StreamName;
  readonly checkpoint: string;
  readonly mode: LoadMode["name"];
  /** From 0. */
  readonly cycle: number;
  /** As long as the last load, with nothing else to do. */
  readonly quiet: Stretch;
  readonly load: Stretch;
  readonly unload: Stretch;
}

/** Gaps before anything is measured: the stream has found its pace. */
const FIRST_GAPS = 24;

/** Longest time that a stream may pause, milliseconds. */
const PAUSE_LIMIT_MS = 120_000;

/**
 * Runs a stream while a model is loaded and unloaded. Quiet stretches come before and after the load in turns, so that
 * the growth of the stream's context favours neither.
 *
 * @param model id of the stream's model, which is loaded
 * @param quietMs length of the quiet stretch
 */
export async function measureStall(
  worker: Pick<LoadingWorker, "load" | "unload" | "streamWithoutEnd">,
  stream: StreamName,
  model: string,
  load: LoadCase,
  cycle: number,
  quietMs: number,
): Promise<StallRun> {
  const end = new AbortController();
  const watch = new RowWatch(1);
  const running = worker
    .streamWithoutEnd(model, end.signal, (arrival) => watch.add(0, arrival))
    .catch((error: unknown) => watch.fail(error));
  const stretch = async (work: () => Promise<unknown>): Promise<Stretch> => {
    const fromMs = performance.now();
    await Promise.race([work(), watch.failed]);
    const toMs = performance.now();
    await withLimit("the stream's next part", PAUSE_LIMIT_MS, () => watch.more(1));
    return { ms: toMs - fromMs, gaps: describe(watch.gaps(fromMs, toMs)) };
  };
  const beQuiet = (): Promise<Stretch> => stretch(() => sleep(quietMs));
  try {
    await withLimit("the stream's beginning", PAUSE_LIMIT_MS, () => watch.more(FIRST_GAPS));
    const before = cycle % 2 === 0 ? await beQuiet() : undefined;
    const loading = await stretch(() => worker.load(load));
    const unloading = await stretch(() => worker.unload(load));
    const quiet = before ?? (await beQuiet());
    const { checkpoint, mode } = load;
    return {
      stream,
      checkpoint: checkpoint.name,
      mode: mode.name,
      cycle,
      quiet,
      load: loading,
      unload: unloading,
    };
  } finally {
    end.abort(new Error("the measurement is over"));
    await running;
  }
}

/** The longest gaps of one case over all cycles, milliseconds. */
export interface StallSummary {
  readonly stream: StreamName;
  readonly checkpoint: string;
  readonly mode: LoadMode["name"];
  readonly loadMs: Spread;
  /** Median and extremes of the longest gap of each cycle. */
  readonly quiet: LongestGaps;
  readonly load: LongestGaps;
  readonly unload: LongestGaps;
}

/** The longest gap of every cycle: their median and the longest of all. */
export interface LongestGaps {
  readonly median: number;
  readonly max: number;
  readonly values: readonly number[];
}

/** The longest gaps of stretches. */
export function longestGaps(stretches: readonly Stretch[]): LongestGaps {
  const values = stretches.map(({ gaps }) => gaps.max);
  const { median, max } = describe(values);
  return { median, max, values };
}

/** The longest gaps by stream and case, in the order in which they first appear. */
export function summarizeStalls(runs: readonly StallRun[]): StallSummary[] {
  const key = ({ stream, checkpoint, mode }: StallRun): string => `${stream}\n${checkpoint}\n${mode}`;
  return grouped(runs, key).map((own) => {
    const [{ stream, checkpoint, mode }] = own as [StallRun];
    return {
      stream,
      checkpoint,
      mode,
      loadMs: spread(own.map(({ load }) => load.ms)),
      quiet: longestGaps(own.map(({ quiet }) => quiet)),
      load: longestGaps(own.map(({ load }) => load)),
      unload: longestGaps(own.map(({ unload }) => unload)),
    };
  });
}
