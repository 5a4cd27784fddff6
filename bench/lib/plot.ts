import * as vega from "vega";
import { compile, type TopLevelSpec } from "vega-lite";
import type { EngineName } from "./engine.js";
import { duration, shortened } from "./format.js";
import type { BenchmarkResult } from "./result.js";
import { median } from "./stats.js";

/** Colour-blind safe, one an engine. */
const COLOURS: Readonly<Record<EngineName, string>> = { "mlx-worker": "#0072B2", "mlx-lm": "#D55E00" };

const WIDTH = 700;
const PANEL_HEIGHT = 170;

/** One point of the plot: the median over cycles. */
export interface Point {
  readonly engine: EngineName;
  /** From 1. */
  readonly question: number;
  /** Milliseconds. */
  readonly responseTime: number;
  /** Milliseconds. */
  readonly ttft: number;
}

/** The medians over cycles of every answered question. */
export function plotPoints(result: BenchmarkResult): Point[] {
  const groups = new Map<
    string,
    { engine: EngineName; question: number; times: number[]; ttfts: number[] }
  >();
  for (const { engine, questionNumber: question, metrics } of result.rawResults) {
    if (!metrics) continue;
    const key = `${engine} ${question}`;
    const group = groups.get(key) ?? { engine, question, times: [], ttfts: [] };
    group.times.push(metrics.totalTimeMs);
    group.ttfts.push(metrics.ttftMs);
    groups.set(key, group);
  }
  return [...groups.values()].map(({ engine, question, times, ttfts }) => ({
    engine,
    question,
    responseTime: median(times),
    ttft: median(ttfts),
  }));
}

/** The Vega-Lite specification: response time above, time to first token below, by question. */
export function plotSpec(result: BenchmarkResult): TopLevelSpec {
  const points = plotPoints(result);
  const engines = (Object.keys(COLOURS) as EngineName[]).filter((name) =>
    points.some((point) => point.engine === name),
  );
  const panel = (field: "responseTime" | "ttft", title: string, showsQuestions: boolean) => ({
    width: WIDTH,
    height: PANEL_HEIGHT,
    mark: { type: "line" as const, point: { size: 34, filled: true }, strokeWidth: 1.5, aria: false },
    encoding: {
      x: {
        field: "question",
        type: "quantitative" as const,
        title: showsQuestions ? "Question" : null,
        scale: { domain: [0.5, result.totalQuestions + 0.5], nice: false, zero: false },
        axis: { grid: false, format: "d", tickMinStep: 1 },
      },
      y: {
        field,
        type: "quantitative" as const,
        title,
        scale: { zero: true },
        axis: { tickCount: 5 },
      },
      color: {
        field: "engine",
        type: "nominal" as const,
        title: null,
        scale: { domain: engines, range: engines.map((name) => COLOURS[name]) },
        legend: { orient: "top" as const, direction: "horizontal" as const, symbolType: "circle" },
      },
    },
  });
  const { options, machine, timestamp } = result;
  const cycles = options.cycles > 1 ? `, median of ${options.cycles} cycles` : "";
  const conditions = `${machine.cpu}, ${machine.cores} cores, ${machine.os}, ${timestamp.slice(0, 10)}${cycles}`;
  const totals = engines.map((name) => `${name} ${duration(result.engines[name]?.totalTime.median ?? 0)}`);
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    description: "Response time and time to first token of each question, by engine",
    background: "white",
    padding: 14,
    title: {
      text: `${result.totalQuestions} questions, up to ${options.maxTokens} tokens each: ${shortened(modelName(options.model), 60)}`,
      subtitle: [conditions, `Warm total: ${totals.join(", ")}`],
      anchor: "start",
      fontSize: 15,
      subtitleFontSize: 11,
      subtitleColor: "#555",
      offset: 10,
    },
    data: { values: points },
    vconcat: [
      panel("responseTime", "Response time (ms)", false),
      panel("ttft", "Time to first token (ms)", true),
    ],
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
  };
}

/** Renders a result as an SVG image. */
export async function renderPlot(result: BenchmarkResult): Promise<string> {
  const view = new vega.View(vega.parse(compile(plotSpec(result)).spec), { renderer: "none" });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}

/** The last part of a path, an id as it is. */
function modelName(model: string): string {
  return /^[./~]/.test(model) ? (model.split("/").at(-1) ?? model) : model;
}
