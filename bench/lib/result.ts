import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Options } from "./args.js";
import type { EngineInfo, EngineName } from "./engine.js";
import { type Machine, thisMachine } from "./machine.js";
import type { ColdStart, Measurement, RawRun } from "./measure.js";
import type { ParitySummary } from "./parity.js";
import type { Distribution, Spread } from "./stats.js";
import { type Comparison, type EngineSummary, throughputOf } from "./summary.js";

/** Version of the JSON formats that begin with a {@link ResultHead}; README.md documents them. */
const RESULT_VERSION = 1;

/** Settings that decide where a result goes and not what it says. */
interface Delivery {
  /** Folder of the files. */
  readonly output: string;
  /** Print the JSON result on stdout. */
  readonly json: boolean;
}

/** What a result tells of its options: nothing of {@link Delivery}. */
type Settings<All> = Omit<All, keyof Delivery | "help">;

/** How the JSON result of a benchmark of one model begins. */
interface ResultHead<Name extends string, All> {
  readonly schemaVersion: number;
  readonly benchmark: Name;
  /** ISO 8601, UTC. */
  readonly timestamp: string;
  readonly modelId: string;
  readonly options: Settings<All>;
  /** The `MLX_*` variables that the worker was started with. */
  readonly environment: Readonly<Record<string, string>>;
  readonly machine: Machine;
}

interface EngineResult extends Omit<EngineInfo, "pid"> {
  readonly avgResponseTime: Distribution | null;
  readonly avgTTFT: Distribution | null;
  readonly avgThroughput: Distribution | null;
  readonly avgDecodeRate: Distribution | null;
  readonly avgTokens: number;
  readonly totalTokens: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly successRate: number;
  readonly totalTime: Spread;
  readonly processStart: Spread;
  readonly load: Spread;
  readonly firstAnswer: Spread;
  readonly coldReady: Spread;
  readonly coldTotal: Spread;
  readonly residentBytes: number | null;
}

interface RawResult {
  readonly cycle: number;
  readonly questionNumber: number;
  readonly question: string;
  readonly engine: EngineName;
  readonly success: boolean;
  readonly metrics?: {
    readonly totalTimeMs: number;
    readonly ttftMs: number;
    readonly generationTimeMs: number;
    readonly totalTokens: number;
    readonly promptTokens: number;
    readonly cachedTokens: number;
    readonly throughputTokensPerSec: number;
  };
  readonly finishReason?: string;
  readonly tokenIds?: readonly number[];
  readonly output?: string;
  readonly error?: string;
}

/** The JSON result of one run of the fifty questions. */
export interface BenchmarkResult extends ResultHead<"50-questions", Options> {
  readonly totalQuestions: number;
  readonly engines: Readonly<Partial<Record<EngineName, EngineResult>>>;
  readonly comparison: Comparison | null;
  readonly tokenParity: ParitySummary | null;
  readonly coldStarts: readonly ColdStart[];
  readonly rawResults: readonly RawResult[];
}

function engineResult(info: EngineInfo, summary: EngineSummary): EngineResult {
  return {
    ...engineFacts(info),
    avgResponseTime: summary.responseTime,
    avgTTFT: summary.ttft,
    avgThroughput: summary.throughput,
    avgDecodeRate: summary.decodeRate,
    avgTokens: summary.answered > 0 ? summary.totalTokens / summary.answered : 0,
    totalTokens: summary.totalTokens,
    promptTokens: summary.promptTokens,
    cachedTokens: summary.cachedTokens,
    successRate: (summary.answered / summary.asked) * 100,
    totalTime: summary.warmTotal,
    processStart: summary.processStart,
    load: summary.load,
    firstAnswer: summary.firstAnswer,
    coldReady: summary.coldReady,
    coldTotal: summary.coldTotal,
    residentBytes: summary.residentBytes,
  };
}

function rawResult(measurement: Measurement): RawResult {
  const { cycle, index, question, engine, result } = measurement;
  const common = { cycle: cycle + 1, questionNumber: index + 1, question, engine };
  if ("error" in result) return { ...common, success: false, error: result.error };
  const { answer } = result;
  return {
    ...common,
    success: true,
    metrics: {
      totalTimeMs: answer.totalMs,
      ttftMs: answer.ttftMs,
      generationTimeMs: answer.totalMs - answer.ttftMs,
      totalTokens: answer.tokens.length,
      promptTokens: answer.promptTokens,
      cachedTokens: answer.cachedTokens,
      throughputTokensPerSec: throughputOf(answer),
    },
    finishReason: answer.finishReason,
    tokenIds: answer.tokens,
    output: answer.text,
  };
}

/** What is told of an engine: everything but its process, which is gone. */
export function engineFacts({ pid: _, ...facts }: EngineInfo): Omit<EngineInfo, "pid"> {
  return facts;
}

/** The variables of an environment that configure the worker. */
export function workerEnvironment(environment: NodeJS.ProcessEnv): Record<string, string> {
  const entries = Object.entries(environment).filter(([name, value]) => name.startsWith("MLX_") && value);
  return Object.fromEntries(entries) as Record<string, string>;
}

/** How a result begins. `now`: when it was complete. */
export function resultHead<
  Name extends string,
  All extends Delivery & { readonly help: boolean; readonly model: string },
>(
  benchmark: Name,
  options: All,
  environment: Readonly<Record<string, string>>,
  now: Date,
): ResultHead<Name, All> {
  const { help: _help, json: _json, output: _output, ...settings } = options;
  return {
    schemaVersion: RESULT_VERSION,
    benchmark,
    timestamp: now.toISOString(),
    modelId: options.model,
    options: settings,
    environment,
    machine: thisMachine(),
  };
}

/** Puts a run into the JSON format. */
export function buildResult(
  options: Options,
  run: RawRun,
  summaries: ReadonlyMap<EngineName, EngineSummary>,
  comparison: Comparison | null,
  tokenParity: ParitySummary | null,
  now: Date,
): BenchmarkResult {
  const head = resultHead("50-questions", options, workerEnvironment(process.env), now);
  // Fields keep their places in the file: the number of questions comes before the options.
  const { schemaVersion, benchmark, timestamp, modelId, ...ran } = head;
  const engines: Partial<Record<EngineName, EngineResult>> = {};
  for (const [name, info] of run.engines) {
    const summary = summaries.get(name);
    if (summary) engines[name] = engineResult(info, summary);
  }
  return {
    schemaVersion,
    benchmark,
    timestamp,
    modelId,
    totalQuestions: options.limit,
    ...ran,
    engines,
    comparison,
    tokenParity,
    coldStarts: run.coldStarts,
    rawResults: run.measurements.map(rawResult),
  };
}

/** A file name that sorts by time and is valid everywhere: `<benchmark>-2025-11-23T18-30-00Z`. */
export function resultName(benchmark: string, timestamp: string): string {
  return `${benchmark}-${timestamp.replace(/\.\d+Z$/, "Z").replaceAll(":", "-")}`;
}

/** Writes a result, and a text beside it if there is one, into a folder that is created. Returns the paths. */
export async function writeResult(
  folder: string,
  result: { readonly benchmark: string; readonly timestamp: string },
  plot?: string,
): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const base = join(folder, resultName(result.benchmark, result.timestamp));
  const files: [string, string][] = [[`${base}.json`, `${JSON.stringify(result, null, 2)}\n`]];
  if (plot !== undefined) files.push([`${base}.svg`, plot]);
  for (const [path, text] of files) await writeFile(path, text);
  return files.map(([path]) => path);
}

/**
 * Writes a result and its plot, names the files, and prints the result on stdout if that was asked for.
 *
 * @param line takes a line for the reader, which must not go to stdout beside the result
 */
export async function deliver(
  options: Delivery,
  result: Parameters<typeof writeResult>[1],
  plot: string | undefined,
  line: (text: string) => void,
): Promise<void> {
  for (const file of await writeResult(options.output, result, plot)) line(`written: ${file}`);
  if (options.json) process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
}
