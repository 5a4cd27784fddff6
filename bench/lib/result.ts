import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Options } from "./args.js";
import type { EngineInfo, EngineName } from "./engine.js";
import { type Machine, thisMachine } from "./machine.js";
import type { ColdStart, Measurement, RawRun } from "./measure.js";
import type { ParitySummary } from "./parity.js";
import type { Distribution, Spread } from "./stats.js";
import { type Comparison, type EngineSummary, throughputOf } from "./summary.js";

/** Version of the JSON format below; README.md documents it. */
export const RESULT_VERSION = 1;

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
export interface BenchmarkResult {
  readonly schemaVersion: number;
  readonly benchmark: "50-questions";
  /** ISO 8601, UTC. */
  readonly timestamp: string;
  readonly modelId: string;
  readonly totalQuestions: number;
  readonly options: Omit<Options, "help" | "json" | "output">;
  /** The `MLX_*` variables that the worker was started with. */
  readonly environment: Readonly<Record<string, string>>;
  readonly machine: Machine;
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

/** Puts a run into the JSON format. */
export function buildResult(
  options: Options,
  run: RawRun,
  summaries: ReadonlyMap<EngineName, EngineSummary>,
  comparison: Comparison | null,
  tokenParity: ParitySummary | null,
  now: Date,
): BenchmarkResult {
  const { help: _help, json: _json, output: _output, ...settings } = options;
  const engines: Partial<Record<EngineName, EngineResult>> = {};
  for (const [name, info] of run.engines) {
    const summary = summaries.get(name);
    if (summary) engines[name] = engineResult(info, summary);
  }
  return {
    schemaVersion: RESULT_VERSION,
    benchmark: "50-questions",
    timestamp: now.toISOString(),
    modelId: options.model,
    totalQuestions: options.limit,
    options: settings,
    environment: workerEnvironment(process.env),
    machine: thisMachine(),
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
