import type { BaselinePython, PreparedModel } from "../../baseline/ensure.js";
import { MlxLmServer } from "../../baseline/mlx-lm-server.js";
import { QUESTIONS } from "../../questions.js";
import { checkSameDevice, type EngineInfo } from "../engine.js";
import { closedLoop } from "../load/loops.js";
import { questionsText, randomPrompts } from "../load/prompts.js";
import { seededRandom } from "../load/random.js";
import { chooseSettings, startEngine } from "../load/start.js";
import { checkAnswered, type LoadRequest, type StreamClient } from "../load/stream.js";
import type { Progress } from "../progress.js";
import { WorkerEngine } from "../worker-engine.js";
import { CAPACITY_FRACTIONS, type LatencyOptions } from "./args.js";
import { type ConcurrentRun, measureConcurrent } from "./concurrent.js";
import { type LongPromptRun, measureLongPrompt } from "./long-prompt.js";
import { capacityOf, measurePoisson, mixedRequests, type PoissonRun } from "./poisson.js";
import { poissonLine } from "./report.js";

/** By which mlx-lm's settings are chosen: ids of each prompt. */
const TUNING_TOKENS = 16;

/** Tokens of rows that a long prompt disturbs: more than its prefill has steps. */
const ROW_TOKENS = 512;

/** Requests of the closed loop that measures the capacity, by client. */
const CAPACITY_REQUESTS = 2;

/** Tokens of answers that are not measured. */
const WARM_UP_TOKENS = 4;

/** What every scenario is run with. */
export interface Session {
  readonly options: LatencyOptions;
  readonly progress: Progress;
  /** Variables of the worker's environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Longest time of one answer, milliseconds. */
  readonly limitMs: number;
}

/** The engines of one model, started and warm. */
export interface Engines {
  readonly worker: WorkerEngine;
  readonly info: EngineInfo;
  /** The worker, and mlx-lm's server if there is a baseline. */
  readonly clients: readonly StreamClient[];
  /** What mlx-lm's server runs with. */
  readonly serverSettings: Readonly<Record<string, string>> | undefined;
}

/** A model as the worker loads it, and as the baseline does. */
export interface ModelPair {
  readonly own: string;
  /** Absent: no baseline. */
  readonly baseline?: { readonly python: BaselinePython; readonly model: PreparedModel } | undefined;
}

/**
 * Starts the engines of a model, mlx-lm's with the settings that are best for so many streams, and runs a scenario on
 * them. They are stopped on every way out.
 *
 * @throws Error when the engines compute on different devices
 */
export async function withEngines<Result>(
  session: Session,
  { own, baseline }: ModelPair,
  streams: number,
  scenario: (engines: Engines) => Promise<Result>,
): Promise<Result> {
  const { progress, env } = session;
  const worker = new WorkerEngine(own, { env });
  let server: MlxLmServer | undefined;
  try {
    await startEngine(worker, progress);
    const info = await worker.info();
    if (baseline) {
      // The server does not tell its device. It is the one that its model was prepared for, by the same Python.
      checkSameDevice(info.device, baseline.model.device);
      const { python, prefillBatchSize } = await tune(session, baseline, worker, info, streams);
      progress.line("starting mlx-lm's server");
      server = new MlxLmServer(python, baseline.model, prefillBatchSize);
      await server.start();
    }
    const clients = server ? [worker, server] : [worker];
    await warmUp(session, clients, streams);
    return await scenario({ worker, info, clients, serverSettings: server?.settings });
  } finally {
    await Promise.all([worker.stop(), server?.stop()]);
  }
}

/** The fastest settings of mlx-lm for so many prompts of random ids at once. */
async function tune(
  { options, progress }: Session,
  { python, model }: NonNullable<ModelPair["baseline"]>,
  worker: WorkerEngine,
  info: EngineInfo,
  streams: number,
) {
  const ids = randomPrompts(streams, TUNING_TOKENS, worker.vocabularySize, info.eosTokenIds, options.seed);
  return chooseSettings(python, model, ids, progress);
}

/** Short answers that are not measured, so that nothing is done for the first time later. */
async function warmUp(
  { options, limitMs }: Session,
  clients: readonly StreamClient[],
  streams: number,
): Promise<void> {
  for (const client of clients) {
    const requests = mixedRequests(streams, options.seed, "warm-up", WARM_UP_TOKENS);
    const { outcomes } = await closedLoop(client, requests, streams, limitMs);
    checkAnswered(outcomes, `${client.name} failed before the measurement: `);
  }
}

/** Requests per second to measure at, and the capacity that they come from if it had to be measured. */
export async function chooseRates(
  { options, progress, limitMs }: Session,
  { worker }: Engines,
): Promise<{ readonly rates: readonly number[]; readonly capacity: number | null }> {
  if (options.rates !== "auto") return { rates: options.rates, capacity: null };
  progress.line(`measuring the capacity: ${options.clients} clients in a closed loop`);
  const count = options.clients * CAPACITY_REQUESTS;
  const requests = mixedRequests(count, options.seed, "capacity", options.maxTokens);
  const capacity = await capacityOf(worker, requests, options.clients, limitMs);
  progress.line(`capacity: ${capacity.toFixed(2)} requests per second`);
  return { rates: CAPACITY_FRACTIONS.map((fraction) => capacity * fraction), capacity };
}

/** The scenario poisson: every rate on every engine in turn, in each cycle with other prompts and arrivals. */
export async function runPoisson(
  { options, progress, limitMs }: Session,
  { clients }: Engines,
  rates: readonly number[],
): Promise<PoissonRun[]> {
  const runs: PoissonRun[] = [];
  for (let cycle = 0; cycle < options.cycles; cycle++) {
    for (const [level, rate] of rates.entries()) {
      const seed = options.seed + cycle * rates.length + level;
      const series = `${cycle + 1}.${level + 1}`;
      const requests = mixedRequests(options.requests, seed, series, options.maxTokens);
      for (const client of clients) {
        const label = (ended: number): void =>
          progress.label(`${client.name}, ${rate.toFixed(2)} req/s: ${ended} of ${requests.length} answered`);
        label(0);
        const measured = await measurePoisson(client, requests, rate, seed, limitMs, label);
        runs.push({ ...measured, cycle });
        progress.line(poissonLine({ ...measured, cycle }));
        for (const { index, error } of measured.failures) progress.line(`  ✗ request ${index + 1}: ${error}`);
      }
      checkSamePrompts(runs.slice(-clients.length));
    }
  }
  return runs;
}

/** @throws Error when engines that answered everything did not count the same prompt tokens */
function checkSamePrompts(runs: readonly PoissonRun[]): void {
  if (runs.some((run) => run.failures.length > 0)) return;
  const counts = runs.map((run) => `${run.engine} ${run.promptTokens}`);
  if (new Set(runs.map((run) => run.promptTokens)).size > 1) {
    throw new Error(`not comparable: prompt tokens of the same texts: ${counts.join(", ")}`);
  }
}

/** The scenario long-prompt, on every engine in turn. */
export async function runLongPrompt(
  { options, progress, limitMs }: Session,
  { worker, clients }: Engines,
): Promise<LongPromptRun[]> {
  const random = seededRandom(options.seed);
  const sample = questionsText(random, QUESTIONS.length, "sample");
  const questions = Math.round((options.longPrompt / (await worker.countTokens(sample))) * QUESTIONS.length);
  const runs: LongPromptRun[] = [];
  for (let cycle = 0; cycle < options.cycles; cycle++) {
    const rows = Array.from({ length: options.streams }, (_, index): LoadRequest => {
      const prompt = questionsText(random, 1, `${index + 1}-rows-${cycle + 1}`);
      return { index, prompt, maxTokens: ROW_TOKENS };
    });
    const prompt = questionsText(random, questions, `long-${cycle + 1}`);
    const long = { index: rows.length, prompt, maxTokens: 2 };
    for (const client of clients) {
      progress.label(`${client.name}: a long prompt beside ${options.streams} rows`);
      progress.line(`long prompt beside ${options.streams} rows: ${client.name}`);
      runs.push({ ...(await measureLongPrompt(client, rows, long, limitMs)), cycle });
    }
  }
  return runs;
}

/** The scenario concurrent-ttft. */
export async function runConcurrent(
  { options, progress, limitMs }: Session,
  { clients }: Engines,
): Promise<ConcurrentRun[]> {
  const { streams, rounds, maxTokens, seed, cycles } = options;
  progress.line(`${streams} streams at once, ${rounds} rounds`);
  const runs: ConcurrentRun[] = [];
  for (let cycle = 0; cycle < cycles; cycle++) {
    progress.label(`concurrent-ttft, cycle ${cycle + 1} of ${cycles}`);
    const load = { streams, rounds, maxTokens, seed: seed + cycle };
    runs.push(...(await measureConcurrent(clients, load, cycle, limitMs)));
  }
  return runs;
}
