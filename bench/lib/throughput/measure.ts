import type { EngineName } from "../engine.js";
import type { BatchGenerate } from "../load/batch.js";
import { closedLoop } from "../load/loops.js";
import {
  type Failure,
  failuresOf,
  gapsOf,
  type LoadRequest,
  recordsOf,
  steadyDecodeRate,
  tokenParts,
  ttftsOf,
} from "../load/stream.js";
import { sum } from "../stats.js";
import type { WorkerEngine } from "../worker-engine.js";

/** Tokens that each client's answer has before a level is measured. */
const WARM_UP_TOKENS = 4;

/** What one engine did at one level, once. */
export interface LevelRun {
  readonly engine: EngineName;
  /** From 0. */
  readonly cycle: number;
  readonly clients: number;
  readonly requests: number;
  /** From the first request to the end of the last answer, prefill and decode, milliseconds. */
  readonly wallMs: number;
  /** Tokens of the answers that came to their end. */
  readonly completionTokens: number;
  /** Tokens per second without prefills; null where it cannot be told. What it is differs by engine: README.md. */
  readonly decodeRate: number | null;
  /** By answer, milliseconds; empty where the engine does not tell. */
  readonly ttftMs: readonly number[];
  /** Between the parts of each answer, milliseconds; empty where the engine does not tell. */
  readonly interTokenMs: readonly number[];
  /** Ids of the answers by request. */
  readonly answers: readonly { readonly index: number; readonly tokens: readonly number[] }[];
  readonly failures: readonly Failure[];
}

/** An engine that a level can be measured on. */
export interface LevelEngine {
  readonly name: EngineName;
  /** Answers these requests, so many at a time; a failed one is part of the result. */
  level(requests: readonly LoadRequest[], clients: number): Promise<Omit<LevelRun, "cycle">>;
}

/** mlx-worker under a closed loop of clients, timed where an application would be. */
export class WorkerLevels implements LevelEngine {
  readonly name = "mlx-worker";
  readonly #worker: WorkerEngine;
  readonly #limitMs: number;

  /** @param limitMs longest time of one answer, milliseconds */
  constructor(worker: WorkerEngine, limitMs: number) {
    this.#worker = worker;
    this.#limitMs = limitMs;
  }

  async level(requests: readonly LoadRequest[], clients: number): Promise<Omit<LevelRun, "cycle">> {
    const { startedMs, endedMs, outcomes } = await closedLoop(this.#worker, requests, clients, this.#limitMs);
    const records = recordsOf(outcomes);
    return {
      engine: this.name,
      clients,
      requests: requests.length,
      wallMs: endedMs - startedMs,
      completionTokens: sum(records.map((record) => record.completionTokens)),
      decodeRate: steadyDecodeRate(records, clients),
      ttftMs: ttftsOf(records),
      interTokenMs: records.flatMap((record) => gapsOf(tokenParts(record))),
      answers: outcomes.flatMap((one) =>
        "record" in one && one.record.tokens ? [{ index: one.request.index, tokens: one.record.tokens }] : [],
      ),
      failures: failuresOf(outcomes),
    };
  }
}

/** mlx-lm's `batch_generate`, one call for as many prompts as there are clients, timed inside its process. */
export class BatchLevels implements LevelEngine {
  readonly name = "mlx-lm";
  readonly #batch: BatchGenerate;

  constructor(batch: BatchGenerate) {
    this.#batch = batch;
  }

  async level(requests: readonly LoadRequest[], clients: number): Promise<Omit<LevelRun, "cycle">> {
    const answers: { index: number; tokens: readonly number[] }[] = [];
    let [wallMs, generated, generationMs] = [0, 0, 0];
    for (let from = 0; from < requests.length; from += clients) {
      const batch = requests.slice(from, from + clients);
      const answer = await this.#batch(
        batch.map(idsOf),
        Math.max(...batch.map((request) => request.maxTokens)),
      );
      wallMs += answer.wallMs;
      generated += answer.generationTokens;
      generationMs += (answer.generationTokens / answer.generationRate) * 1000;
      for (const [i, tokens] of answer.tokens.entries()) {
        answers.push({ index: (batch[i] as LoadRequest).index, tokens });
      }
    }
    return {
      engine: this.name,
      clients,
      requests: requests.length,
      wallMs,
      completionTokens: sum(answers.map(({ tokens }) => tokens.length)),
      decodeRate: generationMs > 0 ? (generated / generationMs) * 1000 : null,
      ttftMs: [],
      interTokenMs: [],
      answers,
      failures: [],
    };
  }
}

/**
 * One level on one engine: a round of short answers that is not measured, then the requests.
 *
 * @throws RangeError when an answer does not have exactly the tokens that it should
 */
export async function measureLevel(
  engine: LevelEngine,
  requests: readonly LoadRequest[],
  clients: number,
  cycle: number,
): Promise<LevelRun> {
  const warmUp = requests.slice(0, clients).map((request) => ({ ...request, maxTokens: WARM_UP_TOKENS }));
  await engine.level(warmUp, clients);
  const run = { ...(await engine.level(requests, clients)), cycle };
  const expected = new Map(requests.map(({ index, maxTokens }) => [index, maxTokens]));
  for (const { index, tokens } of run.answers) {
    if (tokens.length !== expected.get(index)) {
      throw new RangeError(
        `${engine.name} gave ${tokens.length} tokens to request ${index + 1} in place of ${expected.get(index)}`,
      );
    }
  }
  return run;
}

/** The token ids of a request. @throws TypeError for a text */
export function idsOf({ prompt }: LoadRequest): readonly number[] {
  if (typeof prompt === "string") throw new TypeError("batch_generate takes token ids, not a text");
  return prompt;
}
