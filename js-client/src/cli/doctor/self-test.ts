import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Engine, GenerateResult, LoadModelOptions } from "../../index.js";
import { duration } from "../format.js";
import { writeTinyModel } from "./tiny-model.js";

/** About how long the self-test generates, in milliseconds. */
const BUDGET_MS = 3000;
const TOKENS = 16;

/**
 * Loads a model and generates with it: what is generated twice has to be alike, alone and beside others.
 *
 * @param given the model to use; undefined: a small one that is generated and removed again
 * @returns one line about what was seen; rejects with what is wrong
 */
export async function selfTest(engine: Engine, given: LoadModelOptions | undefined): Promise<string> {
  if (given !== undefined) return exercise(engine, given);
  const folder = await mkdtemp(join(tmpdir(), "mlx-worker-doctor-"));
  try {
    await writeTinyModel(join(folder, "tiny"));
    return await exercise(engine, { model: "self-test", localPath: join(folder, "tiny") });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function exercise(engine: Engine, options: LoadModelOptions): Promise<string> {
  const model = await engine.loadModel(options);
  const { tokens: prompt } = await engine.tokenize({ model, text: "hello" });
  const generate = (): PromiseLike<GenerateResult> =>
    engine.generate({
      model,
      prompt: { tokens: prompt },
      maxTokens: TOKENS,
      temperature: 0,
      ignoreEos: true,
      logprobs: true,
    });
  const first = await generate();
  check(first);
  const until = performance.now() + BUDGET_MS;
  let generated = TOKENS;
  let speed = first.timings.tokensPerSecond;
  for (let round = 0; round < 4 && performance.now() < until; round += 1) {
    for (const result of await Promise.all([generate(), generate()])) {
      check(result);
      if (!alike(first, result))
        throw new Error("the same prompt gave different tokens with greedy decoding");
      generated += TOKENS;
      speed = Math.max(speed, result.timings.tokensPerSecond);
    }
  }
  await engine.unloadModel(model);
  return `${model.architecture} loaded in ${duration(model.loadMs)}, ${generated} tokens generated, up to ${speed.toFixed(1)} tok/s a stream`;
}

function check({ tokens, logprobs = [] }: GenerateResult): void {
  if (tokens.length !== TOKENS)
    throw new Error(`${tokens.length} tokens were generated in place of ${TOKENS}`);
  const bad = logprobs.find(({ logprob }) => !Number.isFinite(logprob) || logprob > 1e-3);
  if (logprobs.length !== TOKENS || bad !== undefined) {
    throw new Error(`log probabilities are missing or no numbers (${bad?.logprob ?? "missing"})`);
  }
}

/** Whether two results agree as far as rounding lets them: up to the first token that was a close call. */
function alike(a: GenerateResult, b: GenerateResult): boolean {
  const at = a.tokens.findIndex((token, i) => token !== b.tokens[i]);
  if (at < 0) return true;
  const [left, right] = [a.logprobs?.[at]?.logprob ?? 0, b.logprobs?.[at]?.logprob ?? 0];
  return Math.abs(left - right) < 0.1;
}
