import type { Options } from "./args.js";
import type { EngineInfo, EngineName } from "./engine.js";
import {
  duration,
  durationLike,
  gigabytes,
  megabytes,
  milliseconds,
  rate,
  shortened,
  table,
} from "./format.js";
import type { Machine } from "./machine.js";
import type { ColdStart, Measurement } from "./measure.js";
import type { ParitySummary } from "./parity.js";
import type { Distribution, Spread } from "./stats.js";
import type { Comparison, EngineSummary } from "./summary.js";

const QUESTION_SHOWN = 50;

/** Everything that the final report shows. */
export interface Report {
  readonly options: Options;
  readonly machine: Machine;
  /** In the order of the tables: the engine under test first. */
  readonly engines: ReadonlyMap<EngineName, EngineInfo>;
  readonly summaries: ReadonlyMap<EngineName, EngineSummary>;
  /** Null without a baseline, or when a question failed. */
  readonly comparison: Comparison | null;
  /** Null without a baseline, or when answers were sampled. */
  readonly parity: ParitySummary | null;
}

/** The boxed title and the configuration, printed before anything is measured. */
export function configurationLines(options: Options, machine: Machine): string[] {
  const title = ` ${options.limit} questions `;
  const cycles = options.cycles === 1 ? "1 cycle" : `${options.cycles} cycles`;
  const sampling =
    options.temperature === 0 ? "greedy" : `temperature ${options.temperature}, seed ${options.seed}`;
  return [
    `┌${"─".repeat(title.length)}┐`,
    `│${title}│`,
    `└${"─".repeat(title.length)}┘`,
    `Model      ${options.model}`,
    `Answers    up to ${options.maxTokens} tokens, ${sampling}; ${cycles}`,
    `Baseline   ${options.baseline}`,
    `Machine    ${machine.cpu}, ${machine.cores} cores, ${gigabytes(machine.memoryBytes)}, ${machine.os}, Node.js ${machine.node}`,
  ];
}

/** One line for each engine: versions, device, types and settings. */
export function engineLines(engines: ReadonlyMap<EngineName, EngineInfo>): string[] {
  return [...engines].map(([name, info]) => {
    const versions = Object.entries(info.versions).map(([part, version]) => `${part} ${version}`);
    const settings = Object.entries(info.settings).map(([key, value]) => `${key}: ${value}`);
    return `${name.padEnd(10)} ${[...versions, info.device, info.dtype, ...settings].join(", ")}`;
  });
}

/** The line of one start. */
export function coldStartLine(cold: ColdStart): string {
  const parts = [
    `process ${duration(cold.processMs)}`,
    `load ${duration(cold.loadMs)}`,
    `first answer ${duration(cold.firstAnswerMs)}`,
  ];
  return `${cold.engine}: cold start: ${parts.join(", ")}`;
}

/**
 * The line of one question: `[i/50] question… ✓ 812 ms (50 tokens)`.
 *
 * @param total number of questions
 * @param named whether several engines run, so that the line says which one answered
 */
export function questionLine(measurement: Measurement, total: number, named: boolean): string {
  const text = shortened(measurement.question, QUESTION_SHOWN);
  const { result } = measurement;
  const outcome =
    "answer" in result
      ? `✓ ${milliseconds(result.answer.totalMs)} (${result.answer.tokens.length} tokens)`
      : `✗ ${result.error}`;
  return `[${measurement.index + 1}/${total}] ${text}… ${outcome}${named ? `  ${measurement.engine}` : ""}`;
}

type Format = (value: number) => string;

const COLUMNS = ["Mean", "Median", "P95", "P99", "Min", "Max", "Std"] as const;

function distributionRow(name: string, values: Distribution | null, format: Format): string[] {
  if (values === null) return [name, ...COLUMNS.map(() => "–")];
  const { mean, median, p95, p99, min, max, stdDev } = values;
  return [name, ...[mean, median, p95, p99, min, max, stdDev].map(format)];
}

function durationWithSpread({ median, plusMinus, values }: Spread): string {
  return values.length > 1 ? `${duration(median)} ± ${durationLike(plusMinus, median)}` : duration(median);
}

/** `0.42× mlx-lm ± 0.01`, engine divided by baseline. */
export function ratio(value: Spread): string {
  const plusMinus = value.values.length > 1 ? ` ± ${value.plusMinus.toFixed(3)}` : "";
  return `${value.median.toFixed(3)}×${plusMinus}`;
}

/** As {@link ratio}, or a dash where nothing was compared. */
export function ratioOr(value: Spread | null | undefined): string {
  return value ? ratio(value) : "–";
}

/** `mlx-worker / mlx-lm: 0.420× ± 0.010 (2.38 times as fast)`. `faster`: what a large ratio means. */
function speedupLine(names: readonly string[], value: Spread, faster: "larger" | "smaller"): string {
  const times = faster === "larger" ? value.median : 1 / value.median;
  return `${names.join(" / ")}: ${ratio(value)} (${times.toFixed(2)} times as fast)`;
}

function metricTable(
  title: string,
  report: Report,
  pick: (summary: EngineSummary) => Distribution | null,
  format: Format,
  compared: Spread | null | undefined,
  faster: "larger" | "smaller",
): string[] {
  const rows = [...report.summaries].map(([name, summary]) => distributionRow(name, pick(summary), format));
  const lines = table([[title, ...COLUMNS], ...rows]);
  return compared
    ? [...lines, speedupLine([...report.summaries.keys()], compared, faster), ""]
    : [...lines, ""];
}

function totalsTable(report: Report): string[] {
  const summaries = [...report.summaries.values()];
  const { comparison } = report;
  const row = (title: string, pick: (summary: EngineSummary) => Spread, compared?: Spread): string[] => [
    title,
    ...summaries.map((summary) => durationWithSpread(pick(summary))),
    ...(comparison ? [compared ? ratio(compared) : ""] : []),
  ];
  const counts = (title: string, pick: (summary: EngineSummary) => string): string[] => [
    title,
    ...summaries.map(pick),
    ...(comparison ? [""] : []),
  ];
  return table([
    ["", ...report.summaries.keys(), ...(comparison ? ["ratio"] : [])],
    row("Warm total (questions, model loaded)", (summary) => summary.warmTotal, comparison?.warmTotal),
    row("Process start", (summary) => summary.processStart),
    row("Load", (summary) => summary.load),
    row("First answer", (summary) => summary.firstAnswer),
    row("Cold, ready to generate (start + load)", (summary) => summary.coldReady, comparison?.coldReady),
    row("Cold total (start + load + first answer)", (summary) => summary.coldTotal, comparison?.coldTotal),
    counts("Questions answered", ({ answered, asked }) => `${answered}/${asked}`),
    counts("Output tokens", ({ totalTokens }) => String(totalTokens)),
    counts("Prompt tokens", ({ promptTokens }) => String(promptTokens)),
    counts("Prompt tokens from a cache", ({ cachedTokens }) => String(cachedTokens)),
    counts("Resident memory", ({ residentBytes }) => (residentBytes ? megabytes(residentBytes) : "–")),
  ]);
}

/** The sentence on equal tokens, and one line for each question whose tokens differ. */
export function parityLines(parity: ParitySummary, reference: EngineName): string[] {
  const ties = parity.equal - parity.identical;
  const detail =
    ties > 0 ? ` (${parity.identical} identical, ${ties} up to a near-tie of the two best tokens)` : "";
  return [
    `Greedy tokens as ${reference}'s: ${parity.equal}/${parity.compared} equal${detail}`,
    ...parity.different.map(
      ({ index, question, verdict }) =>
        `  ✗ [${index + 1}] ${question}: ${
          verdict.kind === "different"
            ? `token ${verdict.step + 1} differs at a margin of ${verdict.margin.toPrecision(3)}`
            : verdict.kind
        }`,
    ),
  ];
}

/** The tables that end a run. Ratios are the engine divided by the baseline, median over cycles ± half the range. */
export function reportLines(report: Report): string[] {
  const { comparison, parity } = report;
  const reference = [...report.summaries.keys()].at(-1);
  const lines = [
    "",
    ...metricTable(
      "Response time",
      report,
      (s) => s.responseTime,
      duration,
      comparison?.responseTime,
      "smaller",
    ),
    ...metricTable("Time to first token", report, (s) => s.ttft, duration, comparison?.ttft, "smaller"),
    ...metricTable("Throughput", report, (s) => s.throughput, rate, comparison?.throughput, "larger"),
    ...metricTable("Decode rate", report, (s) => s.decodeRate, rate, comparison?.decodeRate, "larger"),
    ...totalsTable(report),
    "",
  ];
  if (parity && reference) lines.push(...parityLines(parity, reference));
  if (report.options.baseline !== "none") {
    if (!parity) lines.push("Tokens were not compared: sampled answers differ between engines");
    if (!comparison) lines.push("No ratios: a question failed, so the engines did not do the same work");
  }
  return lines;
}
