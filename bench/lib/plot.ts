import type { TopLevelSpec } from "vega-lite";
import {
  CHART_BASE,
  chartTitle,
  conditions,
  engineColour,
  enginesOf,
  modelName,
  renderChart,
} from "./chart.js";
import type { EngineName } from "./engine.js";
import { duration } from "./format.js";
import type { BenchmarkResult } from "./result.js";
import { median } from "./stats.js";

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
  const engines = enginesOf(points);
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
      color: engineColour(engines),
    },
  });
  const { options } = result;
  const cycles = options.cycles > 1 ? `, median of ${options.cycles} cycles` : "";
  const totals = engines.map((name) => `${name} ${duration(result.engines[name]?.totalTime.median ?? 0)}`);
  return {
    ...CHART_BASE,
    description: "Response time and time to first token of each question, by engine",
    title: chartTitle(
      `${result.totalQuestions} questions, up to ${options.maxTokens} tokens each: ${modelName(options.model)}`,
      [`${conditions(result)}${cycles}`, `Warm total: ${totals.join(", ")}`],
    ),
    data: { values: points },
    vconcat: [
      panel("responseTime", "Response time (ms)", false),
      panel("ttft", "Time to first token (ms)", true),
    ],
  };
}

/** Renders a result as an SVG image. */
export async function renderPlot(result: BenchmarkResult): Promise<string> {
  return renderChart(plotSpec(result));
}
