import { availableParallelism } from "node:os";
import type { NodeLlamaCppEngine } from "../../baseline/node-llama-cpp/engine.js";
import { milliseconds, rate } from "../format.js";
import { withLimit } from "../load/limit.js";
import { median } from "../stats.js";
import type { LlamaThreads } from "./engines.js";
import { type Figures, figuresOf } from "./figures.js";

const SAMPLES = 3;
const SAMPLE_TOKENS = 24;

/** Longest time of one sample, milliseconds. */
const SAMPLE_LIMIT_MS = 300_000;

/** One number of threads, tried once. */
export interface ThreadSample {
  readonly threads: number;
  /** One prompt. */
  readonly alone: Pick<Figures, "ttftMs" | "decodeRate">;
  /** Several prompts at once. */
  readonly batch: Pick<Figures, "decodeRate">;
}

/**
 * Tries node-llama-cpp with 1, 2, 4 … threads and all cores, by turns.
 *
 * @param prompts of a batch; the first one is tried alone too
 */
export async function chooseLlamaThreads(
  engine: NodeLlamaCppEngine,
  prompts: readonly (readonly number[])[],
  log: (line: string) => void,
): Promise<LlamaThreads> {
  const counts = llamaThreadCounts(availableParallelism());
  const run = async (some: typeof prompts, threads: number): Promise<Figures> =>
    figuresOf(
      await withLimit("node-llama-cpp's sample", SAMPLE_LIMIT_MS, () =>
        engine.generate({ prompts: some, maxTokens: SAMPLE_TOKENS, warmUpTokens: 2, threads }),
      ),
    );
  const samples: ThreadSample[] = [];
  for (let sample = 0; sample < SAMPLES; sample++) {
    for (const threads of counts) {
      const alone = await run(prompts.slice(0, 1), threads);
      samples.push({ threads, alone, batch: await run(prompts, threads) });
    }
  }
  const best = bestThreads(samples);
  log(
    `baseline: node-llama-cpp is fastest with ${best.prefill} threads for a prompt, ${best.decode} for one answer, ${best.batch} for ${prompts.length} answers (${sampleTexts(samples).join("; ")})`,
  );
  return best;
}

/** The numbers that are tried on so many cores: powers of two, and all of them. */
export function llamaThreadCounts(cores: number): number[] {
  const counts = [];
  for (let threads = 1; threads < cores; threads *= 2) counts.push(threads);
  return [...counts, cores];
}

/** The numbers of threads with the best medians. */
export function bestThreads(samples: readonly ThreadSample[]): LlamaThreads {
  const best = (cost: (sample: ThreadSample) => number): number => {
    const tried = medians(samples, cost);
    return tried.reduce((left, right) => (right.value < left.value ? right : left)).threads;
  };
  return {
    prefill: best(({ alone }) => alone.ttftMs ?? Number.POSITIVE_INFINITY),
    decode: best(({ alone }) => -(alone.decodeRate ?? 0)),
    batch: best(({ batch }) => -(batch.decodeRate ?? 0)),
  };
}

function medians(samples: readonly ThreadSample[], figure: (sample: ThreadSample) => number) {
  return [...new Set(samples.map((sample) => sample.threads))].map((threads) => ({
    threads,
    value: median(samples.filter((sample) => sample.threads === threads).map(figure)),
  }));
}

function sampleTexts(samples: readonly ThreadSample[]): string[] {
  const ttfts = medians(samples, ({ alone }) => alone.ttftMs ?? Number.NaN);
  const alone = medians(samples, (sample) => sample.alone.decodeRate ?? 0);
  const batch = medians(samples, (sample) => sample.batch.decodeRate ?? 0);
  return ttfts.map(
    ({ threads, value }, i) =>
      `${threads}: ${milliseconds(value)}, ${rate(alone[i]?.value ?? 0)}, ${rate(batch[i]?.value ?? 0)}`,
  );
}

/** The choice as a setting of the engine. */
export function threadsText({ prefill, decode, batch }: LlamaThreads): string {
  return `${prefill} for prompts, ${decode} for one answer, ${batch} for several`;
}
