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
  if (!python.openblas || model.device !== "cpu" || process.env.OPENBLAS_NUM_THREADS) return python;
  const asked: Question = {
    text: question,
    maxTokens: SAMPLE_TOKENS,
    temperature: 0,
    seed: 0,
    eosTokenIds: [],
  };
  const tried: { readonly threads: number; readonly time: number }[] = [];
  for (const threads of threadCounts(availableParallelism())) {
    tried.push({
      threads,
      time: await answerTime(new MlxLmEngine(python.withThreads(threads), model), asked),
    });
  }
  const best = tried.reduce((left, right) => (right.time < left.time ? right : left));
  const figures = tried.map(({ threads, time }) => `${threads}: ${milliseconds(time)}`);
  log(`baseline: OPENBLAS_NUM_THREADS=${best.threads} is fastest for a short answer (${figures.join(", ")})`);
  return python.withThreads(best.threads);
}

async function answerTime(engine: MlxLmEngine, question: Question): Promise<number> {
  try {
    await engine.start();
    await engine.answer(question);
    const times: number[] = [];
    for (let sample = 0; sample < SAMPLES; sample++) times.push((await engine.answer(question)).totalMs);
    return median(times);
  } finally {
    await engine.stop();
  }
}
