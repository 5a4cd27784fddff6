import { availableParallelism } from "node:os";
import type { Question } from "../lib/engine.js";
import { milliseconds } from "../lib/format.js";
import { median } from "../lib/stats.js";
import type { BaselinePython, PreparedModel } from "./ensure.js";
import { MlxLmEngine } from "./mlx-lm-engine.js";

const SAMPLES = 3;
const SAMPLE_TOKENS = 16;
const MOST_THREADS = 8;

/** The thread counts worth trying on so many cores: powers of two, and all cores where they are few. */
export function threadCounts(cores: number): number[] {
  const most = Math.min(cores, MOST_THREADS);
  const counts = [];
  for (let threads = 1; threads < most; threads *= 2) counts.push(threads);
  return [...counts, most];
}

/**
 * Gives mlx-lm the number of OpenBLAS threads that it is fastest with on this machine, now, by trying each on
 * a short answer. A number in OPENBLAS_NUM_THREADS is taken as it is. Without OpenBLAS there is nothing to choose.
 */
export async function chooseThreads(
  python: BaselinePython,
  model: PreparedModel,
  question: string,
  log: (line: string) => void,
): Promise<BaselinePython> {
  const asked: Question = {
    text: question,
    maxTokens: SAMPLE_TOKENS,
    temperature: 0,
    seed: 0,
    eosTokenIds: [],
  };
  const settings = threadSettings(python, model).map((threads) => ({ threads }));
  const best = await fastest(python, model, "a short answer", settings, log, async (engine) => {
    return (await engine.answer(asked)).totalMs;
  });
  return withThreads(python, best);
}

/** What `batch_generate` runs with. */
export interface BatchSettings {
  /** Undefined: nothing to choose. */
  readonly threads?: number | undefined;
  readonly prefillBatchSize: number;
}

/** Prompts prefilled together that are tried: mlx-lm's default, and all of the tried batch. */
const PREFILL_BATCH_SIZES = [8, 16] as const;

/**
 * As {@link chooseThreads}, by trying `batch_generate` with these prompts, and with its default number of prompts
 * prefilled together and all of them.
 */
export async function chooseBatchSettings(
  python: BaselinePython,
  model: PreparedModel,
  prompts: readonly (readonly number[])[],
  log: (line: string) => void,
): Promise<{ readonly python: BaselinePython; readonly prefillBatchSize: number }> {
  const settings = threadSettings(python, model).flatMap((threads) =>
    PREFILL_BATCH_SIZES.map((prefillBatchSize): BatchSettings => ({ threads, prefillBatchSize })),
  );
  const what = `${prompts.length} prompts at once`;
  const best = await fastest(python, model, what, settings, log, async (engine, { prefillBatchSize }) => {
    return (await engine.batch({ prompts, maxTokens: SAMPLE_TOKENS, prefillBatchSize })).wallMs;
  });
  return { python: withThreads(python, best), prefillBatchSize: best.prefillBatchSize };
}

/** The thread counts to try; one undefined where they are given or mean nothing. */
function threadSettings(python: BaselinePython, model: PreparedModel): (number | undefined)[] {
  const fixed = !python.openblas || model.device !== "cpu" || Boolean(process.env.OPENBLAS_NUM_THREADS);
  return fixed ? [undefined] : threadCounts(availableParallelism());
}

function withThreads(python: BaselinePython, { threads }: { readonly threads?: number | undefined }) {
  return threads === undefined ? python : python.withThreads(threads);
}

/** The settings with the shortest median time; one process for each number of threads. */
async function fastest<Settings extends { readonly threads?: number | undefined }>(
  python: BaselinePython,
  model: PreparedModel,
  what: string,
  settings: readonly Settings[],
  log: (line: string) => void,
  time: (engine: MlxLmEngine, settings: Settings) => Promise<number>,
): Promise<Settings> {
  const [only] = settings;
  if (only !== undefined && settings.length === 1) return only;
  const tried: { readonly settings: Settings; readonly time: number }[] = [];
  for (const threads of new Set(settings.map((one) => one.threads))) {
    const engine = new MlxLmEngine(withThreads(python, { threads }), model);
    try {
      await engine.start();
      for (const one of settings.filter((candidate) => candidate.threads === threads)) {
        await time(engine, one);
        const times: number[] = [];
        for (let sample = 0; sample < SAMPLES; sample++) times.push(await time(engine, one));
        tried.push({ settings: one, time: median(times) });
      }
    } finally {
      await engine.stop();
    }
  }
  const best = tried.reduce((left, right) => (right.time < left.time ? right : left));
  const figures = tried.map((one) => `${settingsText(one.settings)}: ${milliseconds(one.time)}`);
  log(`baseline: ${settingsText(best.settings)} is fastest for ${what} (${figures.join("; ")})`);
  return best.settings;
}

const VARIABLES = { threads: "OPENBLAS_NUM_THREADS", prefillBatchSize: "prefill_batch_size" } as const;

/** `OPENBLAS_NUM_THREADS=2, prefill_batch_size=16` */
function settingsText(settings: Partial<BatchSettings>): string {
  return (["threads", "prefillBatchSize"] as const)
    .filter((name) => settings[name] !== undefined)
    .map((name) => `${VARIABLES[name]}=${settings[name]}`)
    .join(", ");
}
