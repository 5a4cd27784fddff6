/**
 * Latency of mlx-worker under an open loop of arrivals, beside a long prompt, and for streams that begin at once, with
 * mlx-lm's HTTP server beside it on request. What is measured and the format of the result: README.md.
 */
import { ensureBaseline, prepareModel, prepareTinyModel } from "./baseline/ensure.js";
import { renderChart } from "./lib/chart.js";
import { runCommand } from "./lib/command.js";
import type { EngineInfo } from "./lib/engine.js";
import { LATENCY_FLAGS, type LatencyOptions, type Scenario } from "./lib/latency/args.js";
import { latencySpec } from "./lib/latency/chart.js";
import { type ConcurrentRun, summarizeConcurrent } from "./lib/latency/concurrent.js";
import type { LongPromptRun } from "./lib/latency/long-prompt.js";
import { type PoissonRun, summarizePoisson } from "./lib/latency/poisson.js";
import { concurrentLines, longPromptLines, poissonLines } from "./lib/latency/report.js";
import {
  chooseRates,
  type Engines,
  type ModelPair,
  runConcurrent,
  runLongPrompt,
  runPoisson,
  type Session,
  withEngines,
} from "./lib/latency/scenarios.js";
import { settingsLine, withRowLimit } from "./lib/load/args.js";
import { Progress } from "./lib/progress.js";
import { engineLines } from "./lib/report.js";
import { deliver, engineFacts, resultHead, workerEnvironment } from "./lib/result.js";
import { described, sum } from "./lib/stats.js";

/** What was measured, before any statistics. */
interface Measured {
  readonly engine: EngineInfo;
  /** Settings of mlx-lm's server, by the model that it served; undefined without a baseline. */
  readonly server: Readonly<Record<string, Readonly<Record<string, string>>>> | undefined;
  readonly capacity: number | null;
  readonly poisson: readonly PoissonRun[];
  readonly longPrompt: readonly LongPromptRun[];
  readonly concurrent: readonly ConcurrentRun[];
}

/** The models of the scenarios: the one that was asked for, and a tiny one, which the baseline's Python writes. */
async function prepareModels(session: Session): Promise<{ large: ModelPair; tiny: ModelPair | undefined }> {
  const { options, progress } = session;
  const compares = options.baseline === "mlx-lm";
  const wantsTiny = options.scenarios.includes("concurrent-ttft");
  if (!compares && !wantsTiny) return { large: { own: options.model }, tiny: undefined };
  const python = await ensureBaseline((line) => progress.line(line));
  const model = await prepareModel(python, options.model);
  const tiny = wantsTiny ? await prepareTinyModel(python, model) : undefined;
  return {
    large: { own: options.model, ...(compares && { baseline: { python, model } }) },
    tiny: tiny && { own: tiny.folder, ...(compares && { baseline: { python, model: tiny } }) },
  };
}

async function measure(session: Session): Promise<Measured> {
  const { options, progress } = session;
  const has = (scenario: Scenario): boolean => options.scenarios.includes(scenario);
  const { large, tiny } = await prepareModels(session);
  let engine: EngineInfo | undefined;
  const servers: Record<string, Readonly<Record<string, string>>> = {};
  let capacity: number | null = null;
  let [poisson, longPrompt, concurrent]: [PoissonRun[], LongPromptRun[], ConcurrentRun[]] = [[], [], []];
  const show = (engines: Engines, model: string): void => {
    engine ??= engines.info;
    if (engines.serverSettings) servers[model] = engines.serverSettings;
    for (const line of engineLines(new Map([["mlx-worker", engines.info]]))) progress.line(line);
  };
  if (has("poisson") || has("long-prompt")) {
    await withEngines(session, large, options.clients, async (engines) => {
      show(engines, "large");
      if (has("poisson")) {
        const chosen = await chooseRates(session, engines);
        capacity = chosen.capacity;
        poisson = await runPoisson(session, engines, chosen.rates);
      }
      if (has("long-prompt")) longPrompt = await runLongPrompt(session, engines);
    });
  }
  if (tiny) {
    await withEngines(session, tiny, options.streams, async (engines) => {
      show(engines, "tiny");
      concurrent = await runConcurrent(session, engines);
    });
  }
  if (!engine) throw new Error("no scenario was run");
  const server = options.baseline === "mlx-lm" ? servers : undefined;
  return { engine, server, capacity, poisson, longPrompt, concurrent };
}

async function run(options: LatencyOptions): Promise<number> {
  const progress = new Progress(options.json ? process.stderr : process.stdout, 1);
  const env = withRowLimit(Math.max(options.clients, options.streams + 1));
  const environment = workerEnvironment({ ...process.env, ...env });
  progress.line(`Latency of ${options.model}: answers of ${options.maxTokens} tokens, greedy`);
  progress.line(settingsLine(environment));
  const session = { options, progress, env, limitMs: options.timeout * 1000 };
  const measured = await measure(session).finally(() => progress.end());

  const { engine, server, capacity, poisson, longPrompt, concurrent } = measured;
  const result = {
    ...resultHead("latency", options, environment, new Date()),
    engines: { "mlx-worker": engineFacts(engine), ...(server && { "mlx-lm": { settings: server } }) },
    capacity,
    poisson: summarizePoisson(poisson),
    longPrompt,
    concurrent: concurrent.length > 0 ? summarizeConcurrent(concurrent) : null,
    rawResults: poisson.map(({ interTokenMs, ...rest }) => ({
      ...rest,
      interToken: described(interTokenMs),
    })),
  };
  if (result.poisson.length > 0) for (const line of poissonLines(result.poisson)) progress.line(line);
  if (longPrompt.length > 0) for (const line of longPromptLines(longPrompt)) progress.line(line);
  if (result.concurrent) {
    for (const line of concurrentLines(result.concurrent, options.streams)) progress.line(line);
  }
  await deliver(options, result, await renderChart(latencySpec(result)), (line) => progress.line(line));
  const failed = sum([...poisson, ...concurrent].map((one) => one.failures.length));
  if (failed > 0) progress.line(`✗ ${failed} requests failed`);
  return failed > 0 ? 1 : 0;
}

await runCommand("npm run bench:latency -- [options]", LATENCY_FLAGS, run);
