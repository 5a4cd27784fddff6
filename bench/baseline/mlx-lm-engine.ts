import type { Answer, ColdTimes, EngineInfo, EngineUnderTest, Question } from "../lib/engine.js";
import type { BaselinePython, PreparedModel } from "./ensure.js";
import { JsonLinesProcess, RunnerError } from "./json-lines.js";

/** Tokens of a greedy answer with the distance between the two best logits at each step. */
export interface Margins {
  readonly tokens: readonly number[];
  readonly margins: readonly number[];
}

/** Prompts that mlx-lm's `batch_generate` answers at once. */
export interface BatchRequest {
  /** Token ids. */
  readonly prompts: readonly (readonly number[])[];
  /** Tokens of every answer: nothing ends one earlier. */
  readonly maxTokens: number;
  /** Prompts that are prefilled together; mlx-lm's default is 8. */
  readonly prefillBatchSize: number;
}

/** What one call of `batch_generate` did. */
export interface BatchAnswer {
  /** From the call to its return, prefill and decode, milliseconds. */
  readonly wallMs: number;
  /** Ids of each prompt's answer. */
  readonly tokens: readonly (readonly number[])[];
  /** Its own count of generated tokens. */
  readonly generationTokens: number;
  /** Its own rate without the time of prefills, tokens per second. */
  readonly generationRate: number;
}

interface BatchReply {
  readonly wall_ms: number;
  readonly token_ids: readonly (readonly number[])[];
  readonly generation_tokens: number;
  readonly generation_tps: number;
}

interface LoadReply {
  readonly versions: Readonly<Record<string, string>>;
  readonly device: string;
  readonly dtype: string;
  readonly chat_template: boolean;
  readonly eos_token_ids: readonly number[];
}

interface AnswerReply {
  readonly text: string;
  readonly token_ids: readonly number[];
  readonly prompt_tokens: number;
  readonly finish_reason: string;
  readonly ttft_ms: number;
  readonly total_ms: number;
}

interface BlasReply {
  readonly openblas: boolean;
  readonly matmul_ms: number;
  readonly gflops: number;
  readonly threads: string | null;
}

/**
 * Python mlx-lm in a process of its own. Its times are taken inside that process, so the pipe between it and
 * the benchmark costs it nothing.
 */
export class MlxLmEngine implements EngineUnderTest {
  readonly name = "mlx-lm";
  readonly #python: BaselinePython;
  readonly #model: PreparedModel;
  #process: JsonLinesProcess | undefined;
  #loaded: LoadReply | undefined;

  /** Nothing is started before {@link start}. */
  constructor(python: BaselinePython, model: PreparedModel) {
    this.#python = python;
    this.#model = model;
  }

  async start(): Promise<ColdTimes> {
    this.#process = new JsonLinesProcess(this.#python.command("mlx_lm_runner.py"));
    const { reply, ...times } = await this.#process.load({ model: this.#model.folder });
    this.#loaded = reply as unknown as LoadReply;
    return times;
  }

  async answer(question: Question): Promise<Answer> {
    const reply = (await this.#started().process.request("answer", {
      ...this.#prompt(question),
      temperature: question.temperature,
      seed: question.temperature > 0 ? question.seed : null,
    })) as unknown as AnswerReply;
    return {
      text: reply.text,
      tokens: reply.token_ids,
      promptTokens: reply.prompt_tokens,
      cachedTokens: 0,
      ttftMs: reply.ttft_ms,
      totalMs: reply.total_ms,
      finishReason: reply.finish_reason,
    };
  }

  /** The greedy answer once more, untimed, with its margins. */
  async margins(question: Question): Promise<Margins> {
    const reply = await this.#started().process.request("margins", this.#prompt(question));
    return { tokens: reply.token_ids as number[], margins: reply.margins as number[] };
  }

  /** A greedy answer of so many tokens to a prompt of token ids, alone and untimed, with its margins. */
  async promptMargins(promptIds: readonly number[], maxTokens: number): Promise<Margins> {
    const reply = await this.#started().process.request("margins", {
      prompt_ids: promptIds,
      max_tokens: maxTokens,
      ignore_eos: true,
    });
    return { tokens: reply.token_ids as number[], margins: reply.margins as number[] };
  }

  /** Time to the first token of a prompt of token ids, alone, milliseconds. */
  async firstTokenMs(promptIds: readonly number[]): Promise<number> {
    const reply = (await this.#started().process.request("answer", {
      prompt_ids: promptIds,
      max_tokens: 1,
      temperature: 0,
    })) as unknown as AnswerReply;
    return reply.ttft_ms;
  }

  /** Answers prompts at once, greedily. Times are taken inside the process. */
  async batch(request: BatchRequest): Promise<BatchAnswer> {
    const reply = (await this.#started().process.request("batch", {
      prompts: request.prompts,
      max_tokens: request.maxTokens,
      prefill_batch_size: request.prefillBatchSize,
    })) as unknown as BatchReply;
    return {
      wallMs: reply.wall_ms,
      tokens: reply.token_ids,
      generationTokens: reply.generation_tokens,
      generationRate: reply.generation_tps,
    };
  }

  /** @throws RunnerError when OpenBLAS should be at work on this CPU and is not */
  async info(): Promise<EngineInfo> {
    const { process, loaded } = this.#started();
    return {
      device: loaded.device,
      dtype: loaded.dtype,
      versions: loaded.versions,
      eosTokenIds: loaded.eos_token_ids,
      chatTemplate: loaded.chat_template,
      pid: process.pid,
      settings: { weights: this.#model.weights, ...(await this.#blas(process)) },
    };
  }

  async stop(): Promise<void> {
    const process = this.#process;
    this.#process = undefined;
    this.#loaded = undefined;
    await process?.stop();
  }

  async #blas(process: JsonLinesProcess): Promise<Record<string, string>> {
    if (!this.#python.openblas || this.#model.device !== "cpu") return {};
    const reply = (await process.request("check_blas")) as unknown as BlasReply;
    const measured = `${reply.gflops.toFixed(0)} GFLOP/s in a 1024³ float32 product, ${reply.threads} threads`;
    if (!reply.openblas) {
      throw new RunnerError(`the preloaded OpenBLAS is not in use by mlx-lm: ${measured}`);
    }
    return { blas: `OpenBLAS, ${measured}` };
  }

  #prompt(question: Question): Record<string, unknown> {
    const { loaded } = this.#started();
    return {
      ...(loaded.chat_template
        ? { messages: [{ role: "user", content: question.text }] }
        : { prompt: question.text }),
      max_tokens: question.maxTokens,
      eos_token_ids: question.eosTokenIds,
    };
  }

  #started(): { process: JsonLinesProcess; loaded: LoadReply } {
    if (!this.#process || !this.#loaded) throw new Error("mlx-lm has not been started");
    return { process: this.#process, loaded: this.#loaded };
  }
}
