import { ensureBaseline, prepareModel } from "../../baseline/ensure.js";
import { MlxLmEngine } from "../../baseline/mlx-lm-engine.js";
import { checkSameDevice, type EngineInfo, type EngineName } from "../engine.js";
import { batchGenerate } from "../load/batch.js";
import { withLimit } from "../load/limit.js";
import { randomPrompts } from "../load/prompts.js";
import { chooseSettings, startEngine } from "../load/start.js";
import type { LoadRequest } from "../load/stream.js";
import { type ParitySummary, summarizeParity } from "../parity.js";
import type { Progress } from "../progress.js";
import { marginThreshold } from "../tokens.js";
import { WorkerEngine } from "../worker-engine.js";
import { requestsOf, type ThroughputOptions } from "./args.js";
import {
  BatchLevels,
  idsOf,
  type LevelEngine,
  type LevelRun,
  measureLevel,
  WorkerLevels,
} from "./measure.js";
import { levelLine, turnLine } from "./report.js";
import {
  compareSchedulers,
  SCHEDULER_VARIANTS,
  type SchedulerComparison,
  type VariantName,
} from "./scheduler.js";
import { compareAnswers, evenlySpread, type Reference } from "./summary.js";

/** Rows by which mlx-lm's settings are chosen. */
const TUNING_ROWS = 16;

/** Requests of one turn of a comparison of settings. */
const TURN_REQUESTS = 4;

/** The engines, started, and what they will be asked. */
export interface Started {
  readonly worker: WorkerEngine;
  /** For the largest level; smaller ones take the first of them. */
  readonly requests: readonly LoadRequest[];
  readonly baseline: { readonly engine: MlxLmEngine; readonly prefillBatchSize: number } | undefined;
  readonly infos: ReadonlyMap<EngineName, EngineInfo>;
}

/**
 * Starts the worker and, if there is a baseline, mlx-lm with its best settings, and runs something on them. They are
 * stopped on every way out.
 */
export async function withStarted<Result>(
  options: ThroughputOptions,
  env: Readonly<Record<string, string>>,
  progress: Progress,
  work: (started: Started) => Promise<Result>,
): Promise<Result> {
  const worker = new WorkerEngine(options.model, { env });
  let baseline: Started["baseline"];
  try {
    await startEngine(worker, progress);
    const info = await worker.info();
    const infos = new Map<EngineName, EngineInfo>([["mlx-worker", info]]);
    const requests = makeRequests(options, worker, info.eosTokenIds);
    if (options.baseline === "mlx-lm") {
      baseline = await chooseBaseline(options, requests, progress);
      await startEngine(baseline.engine, progress);
      const other = await baseline.engine.info();
      checkSameDevice(info.device, other.device);
      infos.set("mlx-lm", other);
    }
    return await work({ worker, requests, baseline, infos });
  } finally {
    await Promise.all([worker.stop(), baseline?.engine.stop()]);
  }
}

/** mlx-lm with the settings that it is fastest with; not started. */
async function chooseBaseline(
  options: ThroughputOptions,
  requests: readonly LoadRequest[],
  progress: Progress,
): Promise<NonNullable<Started["baseline"]>> {
  const python = await ensureBaseline((line) => progress.line(line));
  const model = await prepareModel(python, options.model);
  const tuning = requests.slice(0, TUNING_ROWS).map(idsOf);
  const chosen = await chooseSettings(python, model, tuning, progress);
  return { engine: new MlxLmEngine(chosen.python, model), prefillBatchSize: chosen.prefillBatchSize };
}

/** Prompts for the largest level; smaller ones take the first of them. */
function makeRequests(
  options: ThroughputOptions,
  worker: WorkerEngine,
  eosIds: readonly number[],
): LoadRequest[] {
  const { promptTokens, seed, maxTokens, concurrency } = options;
  const count = Math.max(TUNING_ROWS, ...concurrency.map((clients) => requestsOf(options, clients)));
  const prompts = randomPrompts(count, promptTokens, worker.vocabularySize, eosIds, seed);
  return prompts.map((prompt, index) => ({ index, prompt, maxTokens }));
}

/** Every level on every engine in turn, in each cycle. */
export async function measureAll(
  started: Started,
  options: ThroughputOptions,
  progress: Progress,
): Promise<LevelRun[]> {
  const limitMs = options.timeout * 1000;
  const engines: LevelEngine[] = [new WorkerLevels(started.worker, limitMs)];
  if (started.baseline) {
    const { engine, prefillBatchSize } = started.baseline;
    engines.push(new BatchLevels(batchGenerate(engine, prefillBatchSize, limitMs)));
  }
  const runs: LevelRun[] = [];
  for (let cycle = 0; cycle < options.cycles; cycle++) {
    if (options.cycles > 1) progress.line(`Cycle ${cycle + 1} of ${options.cycles}`);
    for (const clients of options.concurrency) {
      for (const engine of engines) {
        progress.label(`${engine.name}, ${clients} clients`);
        const requests = started.requests.slice(0, requestsOf(options, clients));
        const run = await measureLevel(engine, requests, clients, cycle);
        runs.push(run);
        progress.line(levelLine(run));
        for (const { index, error } of run.failures) progress.line(`  ✗ request ${index + 1}: ${error}`);
        progress.advance();
      }
    }
  }
  return runs;
}

/** Verdicts by prompt, and how many answers they come from. */
export interface AnswerParity extends ParitySummary {
  readonly answers: number;
}

/** Compares the worker's tokens with mlx-lm's, prompt by prompt alone. Null without a baseline. */
export async function compareParity(
  started: Started,
  runs: readonly LevelRun[],
  options: ThroughputOptions,
  progress: Progress,
): Promise<AnswerParity | null> {
  const { baseline, requests, infos } = started;
  if (!baseline || options.parity === 0) return null;
  const largest = Math.max(...options.concurrency.map((clients) => requestsOf(options, clients)));
  const references = new Map<number, Reference>();
  const chosen = evenlySpread(options.parity, largest);
  progress.line(`comparing the tokens of ${chosen.length} prompts with mlx-lm's`);
  for (const index of chosen) {
    progress.label(`comparing tokens (${references.size + 1} of ${chosen.length})`);
    const request = requests[index] as LoadRequest;
    const reference = await withLimit("mlx-lm's answer", options.timeout * 1000, () =>
      baseline.engine.promptMargins(idsOf(request), request.maxTokens),
    );
    references.set(index, reference);
  }
  const threshold = marginThreshold(infos.get("mlx-lm")?.dtype ?? "float32");
  const records = compareAnswers(runs, references, threshold);
  return { ...summarizeParity(records), answers: records.length };
}

/** Measures the scheduler's settings at one client, each in a worker of its own. */
export async function measureSchedulers(
  options: ThroughputOptions,
  requests: readonly LoadRequest[],
  progress: Progress,
): Promise<SchedulerComparison> {
  const workers = Object.fromEntries(
    Object.entries(SCHEDULER_VARIANTS).map(([name, env]) => [name, new WorkerEngine(options.model, { env })]),
  ) as Record<VariantName, WorkerEngine>;
  try {
    for (const worker of Object.values(workers)) await startEngine(worker, progress);
    const some = requests.slice(0, TURN_REQUESTS);
    const limitMs = options.timeout * 1000;
    return await compareSchedulers(workers, some, options.turns, limitMs, (turn) => {
      progress.line(turnLine(turn));
    });
  } finally {
    await Promise.all(Object.values(workers).map((worker) => worker.stop()));
  }
}
