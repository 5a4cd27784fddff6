import type { EngineName } from "../engine.js";
import { milliseconds, rate, table } from "../format.js";
import { ratio, ratioOr } from "../report.js";
import type { Distribution, Spread } from "../stats.js";
import type { LevelRun } from "./measure.js";
import type { SchedulerComparison, VariantName, VariantTurn } from "./scheduler.js";
import { type Level, type LevelSummary, throughputOf } from "./summary.js";

const NONE = "–";

/** The line of one engine at one level. */
export function levelLine(run: LevelRun): string {
  const decode = run.decodeRate === null ? "" : `, decode alone ${rate(run.decodeRate)}`;
  const failed = run.failures.length > 0 ? `, ✗ ${run.failures.length} failed` : "";
  return `${String(run.clients).padStart(3)} clients  ${run.engine.padEnd(10)} ${rate(throughputOf(run))} (${run.completionTokens} tokens in ${milliseconds(run.wallMs)})${decode}${failed}`;
}

/** `12.30 ± 0.40` */
function withSpread(value: Spread | null, digits = 1): string {
  if (value === null) return NONE;
  const plusMinus = value.values.length > 1 ? ` ± ${value.plusMinus.toFixed(digits)}` : "";
  return `${value.median.toFixed(digits)}${plusMinus}`;
}

/** `12 / 15 / 19`: P50, P95 and P99 in milliseconds. */
export function percentiles(values: Distribution | null): string {
  if (values === null) return NONE;
  return [values.median, values.p95, values.p99]
    .map((value) => value.toFixed(value < 10 ? 1 : 0))
    .join(" / ");
}

/** The tables that end a run: rates by level with ratios, then latencies. */
export function throughputLines(levels: readonly Level[]): string[] {
  const names = Object.keys(levels[0]?.engines ?? {}) as EngineName[];
  const compared = names.length > 1;
  const cells = (level: Level, cell: (summary: LevelSummary) => string): string[] =>
    names.map((name) => {
      const summary = level.engines[name];
      return summary ? cell(summary) : NONE;
    });
  const rates = table([
    [
      "Clients",
      ...names.map((name) => `${name} tok/s`),
      ...(compared ? ["ratio"] : []),
      ...names.map((name) => `${name} decode`),
      ...(compared ? ["ratio"] : []),
      ...names.map((name) => `${name} by one client`),
    ],
    ...levels.map((level) => [
      String(level.clients),
      ...cells(level, (summary) => withSpread(summary.throughput)),
      ...(compared ? [ratioOr(level.throughputRatio)] : []),
      ...cells(level, (summary) => withSpread(summary.decodeRate)),
      ...(compared ? [ratioOr(level.decodeRatio)] : []),
      ...cells(level, (summary) => ratioOr(summary.scaling)),
    ]),
  ]);
  const latencies = table([
    ["Clients (mlx-worker)", "TTFT P50 / P95 / P99 ms", "inter-token P50 / P95 / P99 ms", "failed"],
    ...levels.flatMap(({ clients, engines: { "mlx-worker": summary } }) =>
      summary
        ? [
            [
              String(clients),
              percentiles(summary.ttft),
              percentiles(summary.interToken),
              `${summary.failed}/${summary.requests}`,
            ],
          ]
        : [],
    ),
  ]);
  return ["", ...rates, "", ...latencies, ""];
}

const VARIANT_NAMES: Readonly<Record<VariantName, string>> = {
  off: "scheduler off",
  on: "scheduler on",
  noFastPath: "fast path off",
};

/** The line of one turn. */
export function turnLine({ variant, turn, throughput, ttftMs }: VariantTurn): string {
  return `turn ${turn + 1}  ${VARIANT_NAMES[variant].padEnd(13)} ${rate(throughput)}, TTFT ${ttftMs.toFixed(2)} ms`;
}

/** What the scheduler costs at one client. */
export function schedulerLines(comparison: SchedulerComparison): string[] {
  const { throughputOnByOff: cost, ttftOnByOff, ttftNoFastPathByFastPath, fastPathSavesMs } = comparison;
  const slower = (1 - cost.median) * 100;
  return [
    "",
    `One client, ${cost.values.length} turns (median ± half the range):`,
    `  throughput, scheduler on / off: ${ratio(cost)} (${slower > 0 ? `${slower.toFixed(1)} % slower` : "no slower"})`,
    `  TTFT, scheduler on / off: ${ratio(ttftOnByOff)}`,
    `  TTFT, fast path off / on: ${ratio(ttftNoFastPathByFastPath)}, it saves ${withSpread(fastPathSavesMs, 2)} ms`,
    "",
  ];
}
