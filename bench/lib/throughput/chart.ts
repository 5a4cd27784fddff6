import type { TopLevelSpec } from "vega-lite";
import { CHART_BASE, chartTitle, conditions, engineColour, enginesOf, modelName } from "../chart.js";
import type { EngineName } from "../engine.js";
import type { Machine } from "../machine.js";
import type { ThroughputOptions } from "./args.js";
import type { Level } from "./summary.js";

/** What the chart shows of a result. */
export interface ThroughputChart {
  readonly options: Pick<ThroughputOptions, "model" | "promptTokens" | "maxTokens" | "cycles">;
  readonly machine: Machine;
  readonly timestamp: string;
  readonly levels: readonly Level[];
}

/** One point: the median over cycles with the extremes. Tokens per second. */
interface Point {
  readonly engine: EngineName;
  readonly clients: number;
  readonly measure: "throughput" | "decodeRate";
  readonly rate: number;
  readonly low: number;
  readonly high: number;
}

/** The points of all levels. */
export function throughputPoints(levels: readonly Level[]): Point[] {
  return levels.flatMap(({ clients, engines }) =>
    Object.entries(engines).flatMap(([name, summary]) =>
      (["throughput", "decodeRate"] as const).flatMap((measure) => {
        const value = summary[measure];
        if (value === null) return [];
        const [low, high] = [Math.min(...value.values), Math.max(...value.values)];
        return [{ engine: name as EngineName, clients, measure, rate: value.median, low, high }];
      }),
    ),
  );
}

/** The Vega-Lite specification: throughput beside the rate without prefills, by clients. */
export function throughputSpec(chart: ThroughputChart): TopLevelSpec {
  const { options, levels } = chart;
  const points = throughputPoints(levels);
  const engines = enginesOf(points);
  const x = {
    field: "clients",
    type: "quantitative" as const,
    title: "Clients",
    scale: { type: "log" as const, base: 2, nice: false },
    axis: { grid: false, values: levels.map((level) => level.clients) },
  };
  const panel = (measure: Point["measure"], title: string) => ({
    width: 330,
    height: 260,
    transform: [{ filter: { field: "measure", equal: measure } }],
    layer: [
      {
        mark: { type: "rule" as const, strokeWidth: 1, aria: false },
        encoding: {
          x,
          y: { field: "low", type: "quantitative" as const, title },
          y2: { field: "high" },
          color: engineColour(engines),
        },
      },
      {
        mark: { type: "line" as const, point: { size: 40, filled: true }, strokeWidth: 1.5, aria: false },
        encoding: {
          x,
          y: { field: "rate", type: "quantitative" as const, title, scale: { zero: true } },
          color: engineColour(engines),
        },
      },
    ],
  });
  const cycles = options.cycles > 1 ? `, median and range of ${options.cycles} cycles` : "";
  return {
    ...CHART_BASE,
    description: "Tokens per second by number of clients and engine",
    title: chartTitle(
      `Throughput by concurrency, ${options.promptTokens} + ${options.maxTokens} tokens: ${modelName(options.model)}`,
      [`${conditions(chart)}${cycles}`],
    ),
    data: { values: points },
    hconcat: [panel("throughput", "Throughput (tok/s)"), panel("decodeRate", "Decode alone (tok/s)")],
  };
}
