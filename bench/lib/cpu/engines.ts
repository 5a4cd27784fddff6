import type { MlxLmEngine } from "../../baseline/mlx-lm-engine.js";
import type { NodeLlamaCppEngine } from "../../baseline/node-llama-cpp/engine.js";
import type { EngineName } from "../engine.js";
import { type BatchGenerate, batchGenerate } from "../load/batch.js";
import { withLimit } from "../load/limit.js";
import { closedLoop } from "../load/loops.js";
import {
  type Arrival,
  checkAnswered,
  type LoadRequest,
  recordsOf,
  type StreamClient,
  type StreamRecord,
  steadyDecodeRate,
} from "../load/stream.js";
import { sum } from "../stats.js";
import { bestOf, type Figures, figuresOf } from "./figures.js";

/** Tokens of the answers that precede each measurement. */
const WARM_UP_TOKENS = 4;

/** Tokens of answers that are ended before they are complete. */
const LONG_ANSWER = 1024;

/** What all engines are asked in a case. */
export interface CaseRequest {
  /** Token ids. */
  readonly prompts: readonly (readonly number[])[];
  /** Tokens of every answer. */
  readonly maxTokens: number;
}

/** An engine that a case can be measured on. */
export interface CpuEngine {
  readonly name: EngineName;
  /** Answers all prompts at once, after short answers to the same prompts that are not measured. */
  measure(request: CaseRequest): Promise<Figures>;
}

/**
 * mlx-worker, timed where an application would be: pipe and client included. It prefills prompts while earlier answers
 * run, so that of many short answers the first may end before the last begins. Where there are several prompts, their
 * decode rate is therefore that of a second run of longer answers, which ends when it has decoded all of them for as
 * many steps as the answers of the first have tokens.
 */
export class WorkerCase implements CpuEngine {
  readonly name: EngineName;
  readonly #worker: StreamClient;
  readonly #limitMs: number;

  /** @param limitMs longest time of one answer, milliseconds */
  constructor(name: EngineName, worker: StreamClient, limitMs: number) {
    this.name = name;
    this.#worker = worker;
    this.#limitMs = limitMs;
  }

  async measure({ prompts, maxTokens }: CaseRequest): Promise<Figures> {
    await this.#round(prompts, WARM_UP_TOKENS);
    const figures = figuresOf(await this.#round(prompts, maxTokens));
    if (prompts.length === 1) return figures;
    return { ...figures, decodeRate: await this.#decodeRate(prompts, maxTokens) };
  }

  async #round(prompts: CaseRequest["prompts"], maxTokens: number): Promise<StreamRecord[]> {
    const requests = prompts.map((prompt, index): LoadRequest => ({ index, prompt, maxTokens }));
    const { outcomes } = await closedLoop(this.#worker, requests, requests.length, this.#limitMs);
    checkAnswered(outcomes);
    return recordsOf(outcomes);
  }

  /** Tokens per second of all answers, over so many tokens of each. */
  async #decodeRate(prompts: CaseRequest["prompts"], steps: number): Promise<number | null> {
    const enough = new AbortController();
    const parts: Arrival[][] = prompts.map(() => []);
    const onArrival = (row: number, part: Arrival): void => {
      if (part.tokens === 0) return;
      parts[row]?.push(part);
      const began = Math.max(...parts.map((own) => own[0]?.atMs ?? Number.POSITIVE_INFINITY));
      if (parts.every((own) => own.filter(({ atMs }) => atMs > began).length >= steps)) enough.abort();
    };
    await withLimit(`${this.name}'s answers`, this.#limitMs, (late) =>
      Promise.all(
        prompts.map((prompt, index) =>
          this.#worker
            .stream(
              { index, prompt, maxTokens: LONG_ANSWER },
              { signal: AbortSignal.any([enough.signal, late]), onArrival: (part) => onArrival(index, part) },
            )
            .catch((error: unknown) => {
              if (!enough.signal.aborted) throw error;
            }),
        ),
      ),
    );
    return steadyDecodeRate(parts.map(recordOfParts), prompts.length);
  }
}

/** What {@link steadyDecodeRate} looks at. */
function recordOfParts(arrivals: readonly Arrival[]): StreamRecord {
  return {
    sentMs: 0,
    endedMs: arrivals.at(-1)?.atMs ?? 0,
    arrivals,
    tokens: null,
    promptTokens: 0,
    completionTokens: arrivals.length,
    queueMs: null,
  };
}

/** mlx-lm, timed inside its process: `batch_generate`, and `stream_generate` for the first token of one prompt. */
export class MlxLmCase implements CpuEngine {
  readonly name = "mlx-lm";
  readonly #batch: BatchGenerate;
  readonly #firstTokenMs: (prompt: readonly number[]) => Promise<number>;

  /** @param limitMs longest time of one call, milliseconds */
  constructor(engine: MlxLmEngine, prefillBatchSize: number, limitMs: number) {
    this.#batch = batchGenerate(engine, prefillBatchSize, limitMs);
    this.#firstTokenMs = (prompt) =>
      withLimit("mlx-lm's first token", limitMs, () => engine.firstTokenMs(prompt));
  }

  async measure({ prompts, maxTokens }: CaseRequest): Promise<Figures> {
    const [only, ...others] = prompts;
    await this.#batch(
      prompts.map((prompt) => prompt.slice(0, WARM_UP_TOKENS)),
      WARM_UP_TOKENS,
    );
    const ttftMs = only && others.length === 0 ? await this.#firstTokenMs(only) : null;
    const answer = await this.#batch(prompts, maxTokens);
    const decodeMs = (answer.generationTokens / answer.generationRate) * 1000;
    const prefillMs = ttftMs ?? answer.wallMs - decodeMs;
    return {
      decodeRate: answer.generationRate,
      prefillRate: (sum(prompts.map((prompt) => prompt.length)) / prefillMs) * 1000,
      throughput: (sum(answer.tokens.map((tokens) => tokens.length)) / answer.wallMs) * 1000,
      ttftMs,
      answers: answer.tokens,
    };
  }
}

/** The numbers of threads that node-llama-cpp is fastest with. */
export interface LlamaThreads {
  /** For prompts. */
  readonly prefill: number;
  /** For the answer to one prompt. */
  readonly decode: number;
  /** For answers to several prompts at once. */
  readonly batch: number;
}

/**
 * node-llama-cpp, timed inside its process. A context has one number of threads for prompts and answers; where the best
 * ones differ, everything runs with both, and each figure is the better one.
 */
export class LlamaCase implements CpuEngine {
  readonly name = "node-llama-cpp";
  readonly #engine: NodeLlamaCppEngine;
  readonly #threads: LlamaThreads;
  readonly #limitMs: number;

  /** @param limitMs longest time of one call, milliseconds */
  constructor(engine: NodeLlamaCppEngine, threads: LlamaThreads, limitMs: number) {
    this.#engine = engine;
    this.#threads = threads;
    this.#limitMs = limitMs;
  }

  async measure({ prompts, maxTokens }: CaseRequest): Promise<Figures> {
    const { prefill, decode, batch } = this.#threads;
    const forAnswers = prompts.length === 1 ? decode : batch;
    const records = await this.#run(prompts, maxTokens, forAnswers);
    if (prefill === forAnswers) return figuresOf(records);
    const others = await this.#run(prompts, maxTokens, prefill);
    return bestOf([
      figuresOf(records),
      figuresOf(records, others),
      figuresOf(others),
      figuresOf(others, records),
    ]);
  }

  #run(prompts: CaseRequest["prompts"], maxTokens: number, threads: number): Promise<StreamRecord[]> {
    return withLimit("node-llama-cpp's answers", this.#limitMs, () =>
      this.#engine.generate({ prompts, maxTokens, warmUpTokens: WARM_UP_TOKENS, threads }),
    );
  }
}
