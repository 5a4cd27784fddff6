import type { BatchAnswer, MlxLmEngine } from "../../baseline/mlx-lm-engine.js";
import { withLimit } from "./limit.js";

/** Answers prompts at once, with so many tokens each. */
export type BatchGenerate = (
  prompts: readonly (readonly number[])[],
  maxTokens: number,
) => Promise<BatchAnswer>;

/** mlx-lm's `batch_generate` with a setting, and the longest time of a call in milliseconds. */
export function batchGenerate(engine: MlxLmEngine, prefillBatchSize: number, limitMs: number): BatchGenerate {
  return (prompts, maxTokens) =>
    withLimit("batch_generate's result", limitMs, () =>
      engine.batch({ prompts, maxTokens, prefillBatchSize }),
    );
}
