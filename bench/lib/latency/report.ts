import type { EngineName } from "../engine.js";
import { milliseconds, table } from "../format.js";
import { ratio, ratioOr } from "../report.js";
import { percentiles } from "../throughput/report.js";
import type { ConcurrentComparison } from "./concurrent.js";
import type { LongPromptRun } from "./long-prompt.js";
import type { PoissonLevel, PoissonRun } from "./poisson.js";

const P = "P50 / P95 / P99 ms";

/** The line of one engine at one rate. */
export function poissonLine(run: PoissonRun): string {
  const failed = run.failures.length > 0 ? `, ✗ ${run.failures.length} failed` : "";
  return `${run.rate.toFixed(2)} req/s  ${run.engine.padEnd(10)} ${run.requests} requests in ${milliseconds(run.wallMs)}${failed}`;
}

/** The tables of the scenario poisson: percentiles by rate and engine, then ratios. */
export function poissonLines(levels: readonly PoissonLevel[]): string[] {
  const rows = levels.flatMap(({ rate, engines }) =>
    Object.entries(engines).map(([name, summary]) => [
      `${rate.toFixed(2)} ${name}`,
      percentiles(summary.ttft),
      percentiles(summary.interToken),
      percentiles(summary.queue),
      `${summary.failed}/${summary.requests}`,
    ]),
  );
  const lines = table([["Poisson, req/s", `TTFT ${P}`, `inter-token ${P}`, `queue ${P}`, "failed"], ...rows]);
  if (levels.every(({ engines }) => engines["mlx-lm"] === undefined)) return ["", ...lines, ""];
  const ratios = table([
    ["mlx-worker / mlx-lm", "TTFT P50", "TTFT P95", "inter-token P50", "inter-token P99"],
    ...levels.map(({ rate, ratios: by }) => [
      rate.toFixed(2),
      ...[by?.ttftP50, by?.ttftP95, by?.interTokenP50, by?.interTokenP99].map(ratioOr),
    ]),
  ]);
  return ["", ...lines, "", ...ratios, ""];
}

/** The table of the scenario long-prompt, one row a run. */
export function longPromptLines(runs: readonly LongPromptRun[]): string[] {
  return [
    ...table([
      [
        "Long prompt",
        "rows",
        "prompt tokens",
        "its TTFT",
        `alone ${P}`,
        `beside it ${P}`,
        "P99 / median alone",
      ],
      ...runs.map((run) => [
        run.engine,
        String(run.rows),
        String(run.promptTokens),
        milliseconds(run.ttftMs),
        percentiles(run.undisturbed),
        percentiles(run.disturbed),
        `${run.ratio.toFixed(2)}×`,
      ]),
    ]),
    "",
  ];
}

/** The table of the scenario concurrent-ttft. */
export function concurrentLines(comparison: ConcurrentComparison, streams: number): string[] {
  const { engines, ttftP50Ratio, ttftP95Ratio } = comparison;
  const rows = (Object.keys(engines) as EngineName[]).map((name) => [
    name,
    percentiles(engines[name]?.ttft ?? null),
    String(engines[name]?.failed ?? 0),
  ]);
  const lines = table([[`${streams} streams at once, tiny model`, `TTFT ${P}`, "failed"], ...rows]);
  if (ttftP50Ratio && ttftP95Ratio) {
    lines.push(`mlx-worker / mlx-lm: TTFT P95 ${ratio(ttftP95Ratio)}, P50 ${ratio(ttftP50Ratio)}`);
  }
  return [...lines, ""];
}
