import type { Engine, ModelHandle } from "../index.js";
import { median } from "./format.js";

/** What one measurement consists of. */
export interface BenchPlan {
  /** Requests at a time. */
  readonly concurrency: number;
  /** Tokens of each completion. */
  readonly maxTokens: number;
  /** How often that many requests are sent together. */
  readonly rounds: number;
}

/** Figures at one concurrency. */
export interface BenchRow {
  readonly concurrency: number;
  /** Median time to first token, in milliseconds. */
  readonly ttftMs: number;
  /** Median decode speed of a stream after its first token. */
  readonly decodeTokensPerSecond: number;
  /** Tokens of all streams of a round by its time, prefill included; median of the rounds. */
  readonly totalTokensPerSecond: number;
}

const TEXT =
  "The lighthouse keeper wrote down the weather every evening: the wind, the height of the sea, and the ships that passed. ";

/** Token ids of a built-in text, as many as asked for. */
export async function promptTokens(
  engine: Engine,
  model: ModelHandle,
  count: number,
  signal?: AbortSignal,
): Promise<readonly number[]> {
  const { tokens } = await engine.tokenize({ model, text: TEXT }, { signal });
  if (tokens.length === 0) throw new Error("the model's tokenizer makes no tokens of a plain text");
  return Array.from({ length: count }, (_, i) => tokens[i % tokens.length] ?? 0);
}

/** Runs rounds of concurrent requests. Prompts differ in their first token, so that no cached prefix is of use. */
export async function measure(
  engine: Engine,
  model: ModelHandle,
  prompt: readonly number[],
  plan: BenchPlan,
  signal?: AbortSignal,
): Promise<BenchRow> {
  const ttft: number[] = [];
  const decode: number[] = [];
  const total: number[] = [];
  for (let round = 0; round < plan.rounds; round += 1) {
    const start = performance.now();
    const results = await Promise.all(
      Array.from({ length: plan.concurrency }, (_, i) =>
        engine.generate(
          {
            model,
            prompt: { tokens: rotated(prompt, round * plan.concurrency + i) },
            maxTokens: plan.maxTokens,
            temperature: 0,
            ignoreEos: true,
            cachePrompt: false,
          },
          { signal },
        ),
      ),
    );
    const seconds = (performance.now() - start) / 1000;
    ttft.push(...results.map(({ timings }) => timings.ttftMs));
    decode.push(...results.map(({ timings }) => timings.tokensPerSecond));
    total.push(results.reduce((sum, { usage }) => sum + usage.completionTokens, 0) / seconds);
  }
  return {
    concurrency: plan.concurrency,
    ttftMs: median(ttft),
    decodeTokensPerSecond: median(decode),
    totalTokensPerSecond: median(total),
  };
}

function rotated(tokens: readonly number[], by: number): number[] {
  const start = by % tokens.length;
  return [...tokens.slice(start), ...tokens.slice(0, start)];
}
