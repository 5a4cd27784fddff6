import type { TopLevelSpec } from "vega-lite";
import {
  CHART_BASE,
  chartTitle,
  conditions,
  ENGINE_COLOURS,
  engineColour,
  enginesOf,
  modelName,
} from "../chart.js";
import type { EngineName } from "../engine.js";
import type { Machine } from "../machine.js";
import type { LatencyOptions } from "./args.js";
import type { ConcurrentComparison } from "./concurrent.js";
import type { LongPromptRun } from "./long-prompt.js";
import type { PoissonLevel } from "./poisson.js";

/** What the chart shows of a result. */
export interface LatencyChart {
  readonly options: Pick<LatencyOptions, "model" | "cycles">;
  readonly machine: Machine;
  readonly timestamp: string;
  readonly poisson: readonly PoissonLevel[];
  readonly longPrompt: readonly LongPromptRun[];
  readonly concurrent: ConcurrentComparison | null;
}

const PERCENTILES = { P50: "median", P95: "p95", P99: "p99" } as const;

const PANELS = ["Time to first token (ms)", "Between tokens (ms)"] as const;

/** One percentile of one engine under one load, milliseconds. */
interface Point {
  readonly panel: (typeof PANELS)[number];
  readonly engine: EngineName;
  readonly load: string;
  readonly percentile: keyof typeof PERCENTILES;
  readonly ms: number;
}

/** The points of all scenarios that were run. */
export function latencyPoints(chart: Omit<LatencyChart, "options" | "machine" | "timestamp">): Point[] {
  type Values =
    | { readonly [Key in (typeof PERCENTILES)[keyof typeof PERCENTILES]]: number }
    | null
    | undefined;
  const points = (panel: Point["panel"], engine: string, load: string, values: Values): Point[] =>
    values
      ? (Object.keys(PERCENTILES) as Point["percentile"][]).map((percentile) => ({
          panel,
          engine: engine as EngineName,
          load,
          percentile,
          ms: values[PERCENTILES[percentile]],
        }))
      : [];
  const [ttft, gaps] = PANELS;
  return [
    ...chart.poisson.flatMap(({ rate, engines }) =>
      Object.entries(engines).flatMap(([name, summary]) => [
        ...points(ttft, name, `${rate.toFixed(2)} req/s`, summary.ttft),
        ...points(gaps, name, `${rate.toFixed(2)} req/s`, summary.interToken),
      ]),
    ),
    ...Object.entries(chart.concurrent?.engines ?? {}).flatMap(([name, summary]) =>
      points(ttft, name, "at once, tiny", summary.ttft),
    ),
    // The last cycle stands for all: the table has every one.
    ...(Object.keys(ENGINE_COLOURS) as EngineName[]).flatMap((name) => {
      const last = chart.longPrompt.findLast((run) => run.engine === name);
      return [
        ...points(gaps, name, "rows alone", last?.undisturbed),
        ...points(gaps, name, "beside long", last?.disturbed),
      ];
    }),
  ];
}

/** The Vega-Lite specification: percentiles by load, one panel for each kind of time, on logarithmic scales. */
export function latencySpec(chart: LatencyChart): TopLevelSpec {
  const values = latencyPoints(chart);
  const engines = enginesOf(values);
  const panel = (title: Point["panel"]) => ({
    width: { step: 90 },
    height: 280,
    transform: [{ filter: { field: "panel", equal: title } }],
    mark: { type: "point" as const, size: 60, filled: true, aria: false },
    encoding: {
      x: {
        field: "load",
        type: "nominal" as const,
        title: null,
        sort: null,
        axis: { labelAngle: 0, labelFontSize: 10 },
      },
      xOffset: { field: "engine", type: "nominal" as const, scale: { domain: engines } },
      y: { field: "ms", type: "quantitative" as const, title, scale: { type: "log" as const } },
      color: engineColour(engines),
      shape: {
        field: "percentile",
        type: "nominal" as const,
        title: null,
        scale: { domain: Object.keys(PERCENTILES), range: ["circle", "triangle-up", "diamond"] },
        legend: { orient: "top" as const, direction: "horizontal" as const },
      },
    },
  });
  const { options } = chart;
  const cycles = options.cycles > 1 ? `, ${options.cycles} cycles` : "";
  return {
    ...CHART_BASE,
    description: "Percentiles of latency by load and engine",
    title: chartTitle(`Latency under load: ${modelName(options.model)}`, [`${conditions(chart)}${cycles}`]),
    data: { values },
    hconcat: PANELS.filter((title) => values.some((point) => point.panel === title)).map(panel),
  };
}
