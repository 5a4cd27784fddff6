import type { TopLevelSpec } from "vega-lite";
import { CHART_BASE, chartTitle, conditions, engineColour, enginesOf, modelName } from "../chart.js";
import type { EngineName } from "../engine.js";
import type { Machine } from "../machine.js";
import { type CpuOptions, caseName } from "./args.js";
import type { CaseSummary, FigureSpreads } from "./summary.js";

/** What the chart shows of a result. */
export interface CpuChart {
  readonly options: Pick<CpuOptions, "model" | "maxTokens" | "rounds">;
  readonly machine: Machine;
  readonly timestamp: string;
  readonly cases: readonly CaseSummary[];
}

/** One bar: the median over rounds with the extremes. */
interface Point {
  readonly engine: EngineName;
  readonly case: string;
  readonly figure: keyof FigureSpreads;
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

const PANELS = [
  ["decodeRate", "Decode, all answers (tok/s)"],
  ["prefillRate", "Prefill (prompt tok/s)"],
] as const satisfies readonly (readonly [keyof FigureSpreads, string])[];

/** The bars of all cases. */
export function cpuPoints(cases: readonly CaseSummary[]): Point[] {
  return cases.flatMap((one) =>
    Object.entries(one.engines).flatMap(([engine, figures]) =>
      PANELS.flatMap(([figure]) => {
        const value = figures[figure];
        if (value === null) return [];
        const [low, high] = [Math.min(...value.values), Math.max(...value.values)];
        return [
          { engine: engine as EngineName, case: caseName(one), figure, value: value.median, low, high },
        ];
      }),
    ),
  );
}

/** The Vega-Lite specification: decode beside prefill, by case and engine. */
export function cpuSpec(chart: CpuChart): TopLevelSpec {
  const { options, cases } = chart;
  const points = cpuPoints(cases);
  const engines = enginesOf(points);
  const x = {
    field: "case",
    type: "nominal" as const,
    title: "Prompts x tokens",
    sort: cases.map(caseName),
    axis: { labelAngle: 0 },
  };
  const xOffset = { field: "engine", type: "nominal" as const, sort: [...engines] };
  const panels = PANELS.map(([figure, title]) => ({
    width: 380,
    height: 260,
    transform: [{ filter: { field: "figure", equal: figure } }],
    layer: [
      {
        mark: { type: "bar" as const, aria: false },
        encoding: {
          x,
          xOffset,
          y: { field: "value", type: "quantitative" as const, title },
          color: engineColour(engines),
        },
      },
      {
        mark: { type: "rule" as const, strokeWidth: 1, aria: false },
        encoding: {
          x,
          xOffset,
          y: { field: "low", type: "quantitative" as const, title },
          y2: { field: "high" },
        },
      },
    ],
  }));
  const rounds = options.rounds > 1 ? `, median and range of ${options.rounds} rounds` : "";
  return {
    ...CHART_BASE,
    description: "Tokens per second of decode and prefill by case and engine",
    title: chartTitle(`On the CPU, answers of ${options.maxTokens} tokens: ${modelName(options.model)}`, [
      `${conditions(chart)}${rounds}`,
    ]),
    data: { values: points },
    hconcat: panels,
  };
}
