/**
 * Loading: memory, what it does to the streams of other models, second loads, and what looking for NaN costs. What is
 * measured and the format of the result: README.md.
 */
import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { RuntimeInfo } from "mlx-worker";
import { resolveWorker } from "../js-client/src/resolve-worker.js";
import { renderChart } from "./lib/chart.js";
import { runCommand } from "./lib/command.js";
import { settingsLine } from "./lib/load/args.js";
import { LOADING_FLAGS, type LoadingOptions } from "./lib/loading/args.js";
import { loadingSpec } from "./lib/loading/chart.js";
import {
  type Checkpoint,
  describeCheckpoint,
  fileHash,
  largeShape,
  TINY_SHAPE,
  writeLlama,
} from "./lib/loading/checkpoints.js";
import { type LoadRun, measureLoads, summarizeLoads } from "./lib/loading/loads.js";
import { casesOf, casesOfOneWorker, type LoadCase } from "./lib/loading/modes.js";
import { buildWorkers, measureNaNCheck, type NaNRun, summarizeNaNCheck } from "./lib/loading/nan-check.js";
import {
  caseLabel,
  checkpointLine,
  loadLine,
  loadLines,
  nanLines,
  stallLine,
  stallLines,
} from "./lib/loading/report.js";
import { measureStall, type StallRun, summarizeStalls } from "./lib/loading/stalls.js";
import { withWorker } from "./lib/loading/worker.js";
import { Progress } from "./lib/progress.js";
import { deliver, resultHead, workerEnvironment } from "./lib/result.js";

/** What all measurements of a run share. */
interface Session {
  readonly options: LoadingOptions;
  readonly progress: Progress;
  /** A folder that goes away at the end. */
  readonly scratch: string;
  /** What is loaded. */
  readonly checkpoints: readonly Checkpoint[];
}

/** Variables of the worker beside those of this process: nothing but warnings in its log. */
const ENV = { MLX_LOG_LEVEL: process.env.MLX_LOG_LEVEL || "warn" };

async function prepareCheckpoints(
  options: LoadingOptions,
  scratch: string,
  progress: Progress,
): Promise<Checkpoint[]> {
  const paths = [resolve(options.model)];
  for (const format of options.formats) {
    const folder = join(scratch, `random-${format}`);
    progress.line(`writing ${folder}`);
    await writeLlama(folder, largeShape(options.layers), format, options.seed);
    paths.push(folder);
  }
  const checkpoints: Checkpoint[] = [];
  for (const path of paths) {
    const checkpoint = await describeCheckpoint(path);
    progress.line(checkpointLine({ checkpoint }));
    checkpoints.push(checkpoint);
  }
  return checkpoints;
}

async function runLoads({ options, progress, checkpoints }: Session): Promise<LoadRun[]> {
  const runs: LoadRun[] = [];
  for (let cycle = 0; cycle < options.cycles; cycle++) {
    for (const load of casesOf(checkpoints)) {
      progress.label(caseLabel("loads", load));
      const run = await measureLoads(load, cycle, options.settle, ENV);
      progress.line(loadLine(run));
      runs.push(run);
    }
  }
  return runs;
}

async function runStalls({ options, progress, checkpoints, scratch }: Session): Promise<StallRun[]> {
  const folder = join(scratch, "tiny");
  await writeLlama(folder, TINY_SHAPE, "f32", options.seed);
  const models = { tiny: await describeCheckpoint(folder), model: checkpoints[0] as Checkpoint };
  const runs: StallRun[] = [];
  for (const stream of options.streams) {
    const streaming: LoadCase = { checkpoint: models[stream], mode: { name: "default", env: {} } };
    const others = checkpoints.filter(({ name }) => name !== streaming.checkpoint.name);
    await withWorker(ENV, async (worker) => {
      await worker.load(streaming);
      for (const load of casesOfOneWorker(others)) {
        progress.label(caseLabel("stalls", load));
        let { ms } = await worker.load(load);
        await worker.unload(load);
        for (let cycle = 0; cycle < options.cycles; cycle++) {
          const run = await measureStall(worker, stream, streaming.checkpoint.name, load, cycle, ms);
          ({ ms } = run.load);
          progress.line(stallLine(run));
          runs.push(run);
        }
      }
    });
  }
  return runs;
}

async function runNaNCheck({ options, progress, checkpoints, scratch }: Session): Promise<NaNRun[]> {
  progress.line("building the worker with and without the check for NaN");
  const workers = await buildWorkers(scratch);
  return measureNaNCheck(workers, casesOfOneWorker(checkpoints), options.cycles, ENV, (load) =>
    progress.line(caseLabel("nan-check", load)),
  );
}

/** What is told of the worker: its versions, its device, and which executable it was. */
function workerFacts({ version, mlxVersion, mlxCVersion, backend, device }: RuntimeInfo, sha256: string) {
  return { version, mlxVersion, mlxCVersion, backend, device: device.name, sha256 };
}

async function measure(options: LoadingOptions, progress: Progress, scratch: string) {
  const environment = workerEnvironment({ ...process.env, ...ENV });
  progress.line("Loading of models");
  progress.line(settingsLine(environment));
  // The folder is gone when the result is there.
  const { scratch: _scratch, ...told } = options;
  const executable = await fileHash(resolveWorker({ env: process.env }));
  const worker = workerFacts(await withWorker(ENV, async ({ info }) => info), executable);
  progress.line(`Worker     ${worker.version}, ${worker.backend}, sha256 ${executable.slice(0, 16)}…`);
  const checkpoints = await prepareCheckpoints(options, scratch, progress);
  const session = { options, progress, scratch, checkpoints };
  const has = (scenario: LoadingOptions["scenarios"][number]): boolean =>
    options.scenarios.includes(scenario);
  const loads = has("loads") ? await runLoads(session) : [];
  const stalls = has("stalls") ? await runStalls(session) : [];
  const nanCheck = has("nan-check") ? await runNaNCheck(session) : [];
  return {
    ...resultHead("loading", told, environment, new Date()),
    worker,
    // Paths are those of one machine.
    checkpoints: checkpoints.map(({ path: _path, files: _files, ...facts }) => facts),
    loads: summarizeLoads(loads),
    stalls: summarizeStalls(stalls),
    nanCheck: summarizeNaNCheck(nanCheck),
    rawResults: { loads, stalls, nanCheck },
  };
}

async function run(options: LoadingOptions): Promise<number> {
  const progress = new Progress(options.json ? process.stderr : process.stdout, 1);
  const scratch = await mkdtemp(join(options.scratch, "mlx-worker-loading-"));
  // Gigabytes, which must not stay when the run is broken off.
  process.once("exit", () => rmSync(scratch, { recursive: true, force: true }));
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
  const result = await measure(options, progress, scratch).finally(() => progress.end());
  const { loads, stalls, nanCheck } = result;
  if (loads.length > 0) for (const line of loadLines(loads)) progress.line(line);
  if (stalls.length > 0) for (const line of stallLines(stalls)) progress.line(line);
  if (nanCheck.length > 0) for (const line of nanLines(nanCheck)) progress.line(line);
  const plot = loads.length + stalls.length > 0 ? await renderChart(loadingSpec(result)) : undefined;
  await deliver(options, result, plot, (line) => progress.line(line));
  return 0;
}

await runCommand("npm run bench:loading -- [options]", LOADING_FLAGS, run);
