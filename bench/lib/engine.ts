/** Name of an engine in results and tables. `kernels-…`: mlx-worker with that setting of MLX_CPU_KERNELS. */
export type EngineName = "mlx-worker" | "mlx-lm" | "node-llama-cpp" | "kernels-off" | "kernels-avx2";

/** What a start cost. */
export interface ColdTimes {
  /** Start of the process until it answers, milliseconds. */
  readonly processMs: number;
  /** From then until the model is loaded and ready to generate, milliseconds. */
  readonly loadMs: number;
}

/** One question and how it is to be answered; the same for every engine. */
export interface Question {
  readonly text: string;
  /** 0: greedy. */
  readonly temperature: number;
  readonly seed: number;
  readonly maxTokens: number;
  /** Ids that end the answer besides the engine's own, so that engines that know fewer do the same work. */
  readonly eosTokenIds: readonly number[];
}

/** One answer and what it took. */
export interface Answer {
  readonly text: string;
  /** Ids of the generated tokens, a final end-of-text token included. */
  readonly tokens: readonly number[];
  readonly promptTokens: number;
  /** Prompt tokens that came from an earlier prompt's KV cache. */
  readonly cachedTokens: number;
  /** Question handed over to first token, milliseconds. */
  readonly ttftMs: number;
  /** Question handed over to the answer's end, milliseconds. */
  readonly totalMs: number;
  readonly finishReason: string;
}

/** What an engine is, once started. */
export interface EngineInfo {
  /** Where it computes: cpu, metal, cuda, or gpu where the engine does not say which. */
  readonly device: string;
  /** Type of the logits: float32, float16, bfloat16. */
  readonly dtype: string;
  /** Names and versions of its parts. */
  readonly versions: Readonly<Record<string, string>>;
  /** Ids that end an answer. */
  readonly eosTokenIds: readonly number[];
  /** Whether questions go through the model's chat template. */
  readonly chatTemplate: boolean;
  readonly pid: number;
  /** Settings that decide its speed, for the report. */
  readonly settings: Readonly<Record<string, string>>;
}

/**
 * Ratios of a CPU to a GPU would say nothing about the engines.
 *
 * @param own mlx-worker's {@link EngineInfo.device}
 * @param baseline mlx-lm's; which GPU it is does not matter, as mlx-lm only tells cpu from gpu
 * @throws Error when one engine computes on the CPU and the other does not
 */
export function checkSameDevice(own: string, baseline: string): void {
  if ((own === "cpu") !== (baseline === "cpu")) {
    throw new Error(`not comparable: mlx-worker computes on ${own}, mlx-lm on ${baseline}`);
  }
}

/**
 * An engine that answers questions, in a process of its own. Calls follow each other: start, any number of
 * answers, stop; then it can be started again.
 */
export interface EngineUnderTest {
  readonly name: EngineName;
  /** Starts the process and loads the model. */
  start(): Promise<ColdTimes>;
  /** Answers one question. Rejects when it cannot; later questions may still be asked. */
  answer(question: Question): Promise<Answer>;
  /** What was started. Not timed, and not called before the first answer. */
  info(): Promise<EngineInfo>;
  /** Ends the process and waits for its end; harmless when it is not running. */
  stop(): Promise<void>;
}
