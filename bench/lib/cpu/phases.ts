import { ensureBaseline, prepareModel } from "../../baseline/ensure.js";
import { MlxLmEngine } from "../../baseline/mlx-lm-engine.js";
import { NodeLlamaCppEngine } from "../../baseline/node-llama-cpp/engine.js";
import { ensureNodeLlamaCpp } from "../../baseline/node-llama-cpp/ensure.js";
import type { EngineInfo, EngineName } from "../engine.js";
import { withRowLimit } from "../load/args.js";
import { chooseSettings, startEngine } from "../load/start.js";
import type { Progress } from "../progress.js";
import { WorkerEngine } from "../worker-engine.js";
import { type CpuOptions, parseCase, WORKER_VARIANTS } from "./args.js";
import { type CpuEngine, LlamaCase, MlxLmCase, WorkerCase } from "./engines.js";
import { casePrompts } from "./prompts.js";
import { runLine } from "./report.js";
import type { CaseRun } from "./summary.js";
import { chooseLlamaThreads, threadsText } from "./threads.js";

/** The batch by which the settings of the other engines are chosen. */
const TUNING = { batch: 16, promptTokens: 32 } as const;

/** Settings of a prompt alone are chosen by this one. */
const TUNING_ALONE = { batch: 1, promptTokens: 100 } as const;

/** The engines, started. */
export interface Started {
  readonly engines: readonly CpuEngine[];
  readonly infos: ReadonlyMap<EngineName, EngineInfo>;
  readonly tokenize: (text: string) => Promise<readonly number[]>;
}

/** An engine that is started, and how to stop it. */
interface Running {
  readonly engine: CpuEngine;
  readonly info: EngineInfo;
}

/** Starts the engines, each with its best settings, and runs something on them. They are stopped on every way out. */
export async function withStarted<Result>(
  options: CpuOptions,
  progress: Progress,
  work: (started: Started) => Promise<Result>,
): Promise<Result> {
  const stops: (() => Promise<void>)[] = [];
  try {
    // What has to be installed comes first, so that a run does not fail late.
    const line = (text: string): void => progress.line(text);
    const python = options.engines.includes("mlx-lm") ? await ensureBaseline(line) : undefined;
    const llama = options.engines.includes("node-llama-cpp") ? await ensureNodeLlamaCpp(line) : undefined;

    const own = new WorkerEngine(options.model, { env: variantEnv("mlx-worker", options) });
    stops.push(() => own.stop());
    await startEngine(own, progress);
    const tokenize = (text: string): Promise<readonly number[]> => own.tokenize(text);
    const tuning = await casePrompts(TUNING, options.seed, tokenize);
    const alone = await casePrompts(TUNING_ALONE, options.seed, tokenize);
    const limitMs = options.timeout * 1000;

    const start = async (name: EngineName): Promise<Running> => {
      if (name === "mlx-worker") {
        return { engine: new WorkerCase(name, own, limitMs), info: await workerInfo(own) };
      }
      if (name === "mlx-lm" && python) {
        const model = await prepareModel(python, options.model);
        const chosen = await chooseSettings(python, model, tuning, progress);
        const engine = new MlxLmEngine(chosen.python, model);
        stops.push(() => engine.stop());
        await startEngine(engine, progress);
        const info = await engine.info();
        return { engine: new MlxLmCase(engine, chosen.prefillBatchSize, limitMs), info };
      }
      if (name === "node-llama-cpp" && llama) {
        const engine = new NodeLlamaCppEngine(llama, options.model);
        stops.push(() => engine.stop());
        await startEngine(engine, progress);
        progress.line("choosing node-llama-cpp's numbers of threads");
        const threads = await chooseLlamaThreads(engine, [...alone, ...tuning.slice(1)], line);
        return {
          engine: new LlamaCase(engine, threads, limitMs),
          info: engine.info({ threads: threadsText(threads) }),
        };
      }
      const worker = new WorkerEngine(options.model, { env: variantEnv(name, options) });
      stops.push(() => worker.stop());
      progress.line(`${name} is mlx-worker with ${JSON.stringify(variantEnv(name, options))}`);
      await startEngine(worker, progress);
      return { engine: new WorkerCase(name, worker, limitMs), info: await workerInfo(worker) };
    };

    const engines: CpuEngine[] = [];
    const infos = new Map<EngineName, EngineInfo>();
    for (const name of options.engines) {
      const running = await start(name);
      engines.push(running.engine);
      infos.set(name, running.info);
    }
    return await work({ engines, infos, tokenize });
  } finally {
    await Promise.all(stops.map((stop) => stop()));
  }
}

/** Variables of a worker: as many rows as the largest batch, the CPU, and those of the variant. */
function variantEnv(name: EngineName, options: CpuOptions): Record<string, string> {
  const rows = Math.max(...options.cases.map((one) => parseCase(one).batch));
  const variant = name in WORKER_VARIANTS ? WORKER_VARIANTS[name as keyof typeof WORKER_VARIANTS] : {};
  return { ...withRowLimit(rows), MLX_DEVICE: "cpu", ...variant };
}

/** @throws Error when the worker does not compute on the CPU */
async function workerInfo(worker: WorkerEngine): Promise<EngineInfo> {
  const info = await worker.info();
  if (info.device !== "cpu") throw new Error(`the worker computes on ${info.device}, not on the CPU`);
  return info;
}

/** Every case on every engine in each round: forwards in even rounds, backwards in odd ones. */
export async function measureCases(
  started: Started,
  options: CpuOptions,
  progress: Progress,
): Promise<CaseRun[]> {
  const cases: { readonly name: string; readonly prompts: number[][] }[] = [];
  for (const name of options.cases) {
    cases.push({ name, prompts: await casePrompts(parseCase(name), options.seed, started.tokenize) });
  }
  const runs: CaseRun[] = [];
  for (let round = 0; round < options.rounds; round++) {
    progress.line(`Round ${round + 1} of ${options.rounds}`);
    const engines = round % 2 === 0 ? started.engines : started.engines.toReversed();
    for (const { name, prompts } of cases) {
      for (const engine of engines) {
        progress.label(`${engine.name}, ${name}`);
        const figures = await engine.measure({ prompts, maxTokens: options.maxTokens });
        checkLengths(engine.name, figures.answers, options.maxTokens);
        const run = { engine: engine.name, round, ...parseCase(name), ...figures };
        runs.push(run);
        progress.line(runLine(run));
        progress.advance();
      }
    }
  }
  return runs;
}

function checkLengths(engine: EngineName, answers: readonly (readonly number[])[], wanted: number): void {
  const wrong = answers.find((tokens) => tokens.length !== wanted);
  if (wrong) throw new RangeError(`${engine} gave ${wrong.length} tokens in place of ${wanted}`);
}
