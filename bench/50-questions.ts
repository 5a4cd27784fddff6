/**
 * Fifty questions, one after the other, to a model in mlx-worker and, on request, in Python mlx-lm.
 * What is measured and the format of the result: README.md.
 */
import { ensureBaseline, prepareModel } from "./baseline/ensure.js";
import { MlxLmEngine } from "./baseline/mlx-lm-engine.js";
import { chooseThreads } from "./baseline/tune.js";
import { type Options, optionsTable } from "./lib/args.js";
import { runCommand } from "./lib/command.js";
import { checkSameDevice, type EngineInfo, type EngineName, type EngineUnderTest } from "./lib/engine.js";
import { thisMachine } from "./lib/machine.js";
import { measure, type Observer, type Plan } from "./lib/measure.js";
import { compareCycle, type ParityRecord, summarizeParity } from "./lib/parity.js";
import { renderPlot } from "./lib/plot.js";
import { Progress } from "./lib/progress.js";
import { coldStartLine, configurationLines, engineLines, questionLine, reportLines } from "./lib/report.js";
import { buildResult, deliver } from "./lib/result.js";
import { compare, summarize } from "./lib/summary.js";
import { marginThreshold } from "./lib/tokens.js";
import { WorkerEngine } from "./lib/worker-engine.js";
import { COLD_QUESTION, QUESTIONS } from "./questions.js";

/** Questions that one engine answers before the other has its turn. */
const BLOCK_SIZE = 5;

/** @throws Error when the engines compute on different devices or format prompts differently */
function checkComparable(engines: ReadonlyMap<EngineName, EngineInfo>): void {
  const [own, baseline] = [engines.get("mlx-worker"), engines.get("mlx-lm")];
  if (!own || !baseline) return;
  checkSameDevice(own.device, baseline.device);
  if (own.chatTemplate !== baseline.chatTemplate) {
    throw new Error("not comparable: only one of the engines found a chat template in the model");
  }
}

async function run(options: Options): Promise<number> {
  const output = options.json ? process.stderr : process.stdout;
  const questions = QUESTIONS.slice(0, options.limit);
  const compares = options.baseline === "mlx-lm";
  const progress = new Progress(output, questions.length * options.cycles * (compares ? 2 : 1));
  for (const line of configurationLines(options, thisMachine())) progress.line(line);

  const engines: EngineUnderTest[] = [new WorkerEngine(options.model)];
  let baseline: MlxLmEngine | undefined;
  if (compares) {
    const log = (line: string): void => progress.line(line);
    const python = await ensureBaseline(log);
    const model = await prepareModel(python, options.model);
    progress.label("choosing mlx-lm's best settings");
    baseline = new MlxLmEngine(await chooseThreads(python, model, COLD_QUESTION, log), model);
    engines.push(baseline);
  }
  progress.line();

  const plan: Plan = {
    questions,
    coldQuestion: COLD_QUESTION,
    cycles: options.cycles,
    blockSize: BLOCK_SIZE,
    ask: (text, index) => ({
      text,
      maxTokens: options.maxTokens,
      temperature: options.temperature,
      seed: options.seed + index + 1,
    }),
  };

  const parityRecords: ParityRecord[] = [];
  const comparesTokens = baseline !== undefined && options.temperature === 0;
  let infos: ReadonlyMap<EngineName, EngineInfo> = new Map();
  const observer: Observer = {
    onStarting: (engine, cycle) => {
      if (options.cycles > 1 && engine === "mlx-worker")
        progress.line(`Cycle ${cycle + 1} of ${options.cycles}`);
      progress.label(`starting ${engine}`);
    },
    onStarted: (cold) => progress.line(coldStartLine(cold)),
    onEngines: (started) => {
      checkComparable(started);
      infos = new Map(started);
      for (const line of engineLines(started)) progress.line(line);
      progress.line();
    },
    onMeasurement: (measurement) => {
      progress.line(questionLine(measurement, questions.length, compares));
      progress.label(measurement.engine);
      progress.advance();
    },
    onCycleEnd: async (_, measurements) => {
      const reference = infos.get("mlx-lm");
      if (!comparesTokens || !baseline || !reference) return;
      const engine = baseline;
      progress.label("comparing tokens");
      const eosTokenIds = infos.get("mlx-worker")?.eosTokenIds ?? [];
      const margins = (index: number) =>
        engine.margins({ ...plan.ask(questions[index] as string, index), eosTokenIds });
      parityRecords.push(
        ...(await compareCycle(
          measurements,
          "mlx-worker",
          "mlx-lm",
          margins,
          marginThreshold(reference.dtype),
        )),
      );
    },
  };

  const raw = await measure(engines, plan, observer).finally(() => progress.end());
  const summaries = new Map(engines.map(({ name }) => [name, summarize(raw, name)]));
  const comparison = compares ? compare(raw, "mlx-worker", "mlx-lm") : null;
  const parity = comparesTokens ? summarizeParity(parityRecords) : null;
  const result = buildResult(options, raw, summaries, comparison, parity, new Date());

  const report = { options, machine: result.machine, engines: raw.engines, summaries, comparison, parity };
  for (const line of reportLines(report)) progress.line(line);
  await deliver(options, result, await renderPlot(result), (line) => progress.line(line));

  const failed = raw.measurements.filter(({ result: outcome }) => "error" in outcome).length;
  if (failed > 0) progress.line(`✗ ${failed} of ${raw.measurements.length} questions failed`);
  return failed > 0 || (parity?.different.length ?? 0) > 0 ? 1 : 0;
}

await runCommand("npm run bench:50-questions -- [options]", optionsTable(QUESTIONS.length), run);
