import * as vega from "vega";
import { compile, type TopLevelSpec } from "vega-lite";
import type { EngineName } from "./engine.js";
import { shortened } from "./format.js";
import type { Machine } from "./machine.js";

/** Colour-blind safe, one an engine. */
export const ENGINE_COLOURS: Readonly<Record<EngineName, string>> = {
  "mlx-worker": "#0072B2",
  "mlx-lm": "#D55E00",
  "node-llama-cpp": "#009E73",
  "kernels-off": "#56B4E9",
  "kernels-avx2": "#CC79A7",
};

/** What every chart has: schema, ground, fonts and the look of its axes. */
export const CHART_BASE = {
  $schema: "https://vega.github.io/schema/vega-lite/v6.json",
  background: "white",
  padding: 14,
  config: {
    font: "Helvetica, Arial, sans-serif",
    view: { stroke: null },
    axis: {
      labelFontSize: 11,
      titleFontSize: 12,
      gridColor: "#e6e6e6",
      domainColor: "#999",
      tickColor: "#999",
    },
    legend: { labelFontSize: 12 },
  },
} as const;

/** A title with lines of detail below it. */
export function chartTitle(text: string, subtitle: string[]) {
  return {
    text,
    subtitle,
    anchor: "start" as const,
    fontSize: 15,
    subtitleFontSize: 11,
    subtitleColor: "#555",
    offset: 10,
  };
}

/** The engines that have points, in the order of their colours. */
export function enginesOf(points: readonly { readonly engine: EngineName }[]): EngineName[] {
  const names = Object.keys(ENGINE_COLOURS) as EngineName[];
  return names.filter((name) => points.some((point) => point.engine === name));
}

/** The colour channel of a chart by engine, with its legend above. */
export function engineColour(engines: readonly EngineName[]) {
  return {
    field: "engine",
    type: "nominal" as const,
    title: null,
    scale: { domain: [...engines], range: engines.map((name) => ENGINE_COLOURS[name]) },
    legend: { orient: "top" as const, direction: "horizontal" as const, symbolType: "circle" },
  };
}

/** Machine and date of a result, for a subtitle. */
export function conditions({ machine, timestamp }: { machine: Machine; timestamp: string }): string {
  return `${machine.cpu}, ${machine.cores} cores, ${machine.os}, ${timestamp.slice(0, 10)}`;
}

/** The last part of a path, an id as it is, short enough for a title. */
export function modelName(model: string): string {
  return shortened(/^[./~]/.test(model) ? (model.split("/").at(-1) ?? model) : model, 60);
}

/** Renders a chart as an SVG image. */
export async function renderChart(spec: TopLevelSpec): Promise<string> {
  const view = new vega.View(vega.parse(compile(spec).spec), { renderer: "none" });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}
