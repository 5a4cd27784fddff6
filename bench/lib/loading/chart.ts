import type { TopLevelSpec } from "vega-lite";
import { CHART_BASE, chartTitle, conditions } from "../chart.js";
import type { Machine } from "../machine.js";
import type { LoadSummary } from "./loads.js";
import { TARGETS } from "./report.js";
import type { StallSummary } from "./stalls.js";

/** What the chart shows of a result. */
export interface LoadingChart {
  readonly machine: Machine;
  readonly timestamp: string;
  readonly loads: readonly LoadSummary[];
  readonly stalls: readonly StallSummary[];
}

const PANELS = [
  { title: "Resident memory by weights on disk", target: TARGETS.memoryByWeights },
  { title: "Longest gap of a stream (ms)", target: TARGETS.longestGapMs },
] as const;

/** One mark. */
interface Point {
  readonly panel: (typeof PANELS)[number]["title"];
  readonly load: string;
  readonly kind: string;
  readonly value: number;
}

/** The marks: memory at the peak and at rest, and the longest gaps, one for each kind of stretch. */
export function loadingPoints({ loads, stalls }: Pick<LoadingChart, "loads" | "stalls">): Point[] {
  const [memory, gaps] = PANELS.map(({ title }) => title) as [Point["panel"], Point["panel"]];
  return [
    ...loads.flatMap(({ checkpoint, mode, byWeights }) =>
      byWeights
        ? (["peak", "rest"] as const).map((kind) => ({
            panel: memory,
            load: `${checkpoint}, ${mode}`,
            kind,
            value: byWeights[kind].median,
          }))
        : [],
    ),
    ...stalls.flatMap((stall) =>
      (["quiet", "load", "unload"] as const).map((kind) => ({
        panel: gaps,
        load: `${stall.checkpoint}, ${stall.mode}, stream ${stall.stream}`,
        kind,
        value: stall[kind].max,
      })),
    ),
  ];
}

/** The Vega-Lite specification: a panel for memory and one for gaps, each with a line at what is wanted. */
export function loadingSpec(chart: LoadingChart): TopLevelSpec {
  const values = loadingPoints(chart);
  const panel = ({ title, target }: (typeof PANELS)[number]) => ({
    width: 420,
    height: { step: 22 },
    layer: [
      {
        transform: [{ filter: { field: "panel", equal: title } }],
        mark: { type: "point" as const, size: 60, filled: true, aria: false },
        encoding: {
          y: { field: "load", type: "nominal" as const, title: null, sort: null, axis: { labelLimit: 360 } },
          x: { field: "value", type: "quantitative" as const, title },
          color: { field: "kind", type: "nominal" as const, title: null, legend: { orient: "top" as const } },
        },
      },
      {
        mark: { type: "rule" as const, strokeDash: [4, 4], aria: false },
        encoding: { x: { datum: target } },
      },
    ],
  });
  return {
    ...CHART_BASE,
    description: "Memory and stalls of loading, by model and mode",
    title: chartTitle("Loading a model", [`${conditions(chart)}; dashed: what is wanted`]),
    data: { values },
    resolve: { scale: { color: "independent" } },
    vconcat: PANELS.filter(({ title }) => values.some((point) => point.panel === title)).map(panel),
  };
}
