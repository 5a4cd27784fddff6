import type { TopLevelSpec } from "vega-lite";
import { CHART_BASE, chartTitle, renderChart } from "../lib/chart.js";
import type { Point, Simulation } from "./result.js";

/** Colour-blind safe, one a series. */
const COLOURS: Readonly<Record<string, string>> = {
  "scheduler on": "#0072B2",
  "scheduler off": "#D55E00",
  "all at once": "#0072B2",
  "heavy load": "#D55E00",
  P50: "#0072B2",
  P99: "#D55E00",
  "short prompts": "#0072B2",
  "long prompts": "#D55E00",
  "auto-tune off": "#0072B2",
  "auto-tune on": "#D55E00",
};

const WIDTH = 330;
const PANEL_HEIGHT = 140;

/** A line of a panel: what it takes of which points. */
interface Series {
  readonly name: string;
  readonly of: (point: Point) => boolean;
  /** Undefined: the point has no such figure. */
  readonly value: (point: Point) => number | undefined;
}

interface Panel {
  readonly title: string;
  readonly series: readonly Series[];
  readonly log?: boolean;
}

/** A plot: its panels one below the other, a column for each machine. */
interface Plot {
  /** Of the file: `scheduling-<name>.svg`. */
  readonly name: string;
  readonly sweep: string;
  readonly title: string;
  readonly x: string;
  readonly logX: boolean;
  readonly panels: readonly Panel[];
}

const onAndOff = (value: Series["value"]): Series[] => [
  { name: "scheduler on", of: ({ setting }) => setting === "on", value },
  { name: "scheduler off", of: ({ setting }) => setting === "off", value },
];

const tuned = (value: Series["value"]): Series[] => [
  { name: "auto-tune off", of: ({ setting }) => setting === "off", value },
  { name: "auto-tune on", of: ({ setting }) => setting === "on", value },
];

const interToken: Panel = {
  title: "Inter-token (ms)",
  series: [
    { name: "P99", of: () => true, value: ({ interToken: { p99 } }) => p99 },
    { name: "P50", of: () => true, value: ({ interToken: { p50 } }) => p50 },
  ],
};

const timeToFirst: Panel = {
  title: "TTFT P95 (s)",
  log: true,
  series: [
    { name: "short prompts", of: () => true, value: ({ ttft }) => ttft.p95 / 1000 },
    { name: "long prompts", of: () => true, value: ({ ttftLong }) => ttftLong && ttftLong.p95 / 1000 },
  ],
};

const PLOTS: readonly Plot[] = [
  {
    name: "load",
    sweep: "load",
    title: "Scheduler on and off, by load",
    x: "Arrivals per second",
    logX: true,
    panels: [
      { title: "Tokens/s", series: onAndOff(({ tokensPerSecond }) => tokensPerSecond) },
      { title: "TTFT P95 (s)", log: true, series: onAndOff(({ ttft }) => ttft.p95 / 1000) },
      { title: "Inter-token P99 (ms)", series: onAndOff(({ interToken: { p99 } }) => p99) },
    ],
  },
  {
    name: "rows",
    sweep: "rows",
    title: "Row limit",
    x: "Most rows of a step",
    logX: true,
    panels: [
      {
        title: "Tokens/s",
        series: [
          {
            name: "all at once",
            of: ({ trace }) => trace === "all at once",
            value: (p) => p.tokensPerSecond,
          },
          { name: "heavy load", of: ({ trace }) => trace === "heavy", value: (p) => p.tokensPerSecond },
        ],
      },
      {
        title: "Inter-token P99 (ms)",
        series: [
          {
            name: "all at once",
            of: ({ trace }) => trace === "all at once",
            value: (p) => p.interToken.p99,
          },
          { name: "heavy load", of: ({ trace }) => trace === "heavy", value: (p) => p.interToken.p99 },
        ],
      },
      {
        title: "TTFT P95 (s)",
        log: true,
        series: [
          { name: "heavy load", of: ({ trace }) => trace === "heavy", value: (p) => p.ttft.p95 / 1000 },
        ],
      },
    ],
  },
  {
    name: "prefill",
    sweep: "prefill",
    title: "Prefill tokens of a step, long prompts mixed in",
    x: "MLX_PREFILL_STEP_TOKENS",
    logX: true,
    panels: [interToken, timeToFirst],
  },
  {
    name: "target",
    sweep: "target",
    title: "Latency target under a load that comes and goes",
    x: "MLX_GPU_SCHEDULER_P99_THRESHOLD_MS",
    logX: true,
    panels: [
      { title: "Inter-token P99 (ms)", series: tuned(({ interToken: { p99 } }) => p99) },
      { title: "TTFT P95 (s)", log: true, series: tuned(({ ttft }) => ttft.p95 / 1000) },
      { title: "Rows of a step", series: tuned(({ meanRows }) => meanRows) },
    ],
  },
];

/** The names of the plots that a simulation has points for. */
export function plotNames(simulation: Simulation): string[] {
  const sweeps = new Set(simulation.points.map(({ sweep }) => sweep));
  return PLOTS.filter(({ sweep }) => sweeps.has(sweep)).map(({ name }) => name);
}

function panelSpec(plot: Plot, panel: Panel, points: readonly Point[], last: boolean) {
  const values = panel.series.flatMap(({ name, of, value }) =>
    points.filter(of).flatMap((point) => {
      const y = value(point);
      return y === undefined ? [] : [{ series: name, x: point.x, y }];
    }),
  );
  const names = panel.series.map(({ name }) => name);
  return {
    width: WIDTH,
    height: PANEL_HEIGHT,
    data: { values },
    mark: { type: "line" as const, point: { size: 34, filled: true }, strokeWidth: 1.5, aria: false },
    encoding: {
      x: {
        field: "x",
        type: "quantitative" as const,
        title: last ? plot.x : null,
        scale: { type: plot.logX ? ("log" as const) : ("linear" as const), nice: false },
        axis: { grid: false, values: [...new Set(points.map(({ x }) => x))], labelOverlap: true },
      },
      y: {
        field: "y",
        type: "quantitative" as const,
        title: panel.title,
        scale: panel.log ? { type: "log" as const, nice: false } : { zero: true },
        axis: { tickCount: 4, format: "~r" },
      },
      color: {
        field: "series",
        type: "nominal" as const,
        title: null,
        scale: { domain: names, range: names.map((name) => COLOURS[name] ?? "#009E73") },
        legend: { orient: "top" as const, direction: "horizontal" as const, symbolType: "circle" },
      },
    },
  };
}

/**
 * The Vega-Lite specification of a plot.
 *
 * @throws RangeError for a name that {@link plotNames} does not give
 */
export function plotSpec(simulation: Simulation, name: string): TopLevelSpec {
  const plot = PLOTS.find((one) => one.name === name);
  if (!plot) throw new RangeError(`no plot "${name}"`);
  const columns = simulation.machines.map(({ name: machine }) => {
    const points = simulation.points.filter((p) => p.sweep === plot.sweep && p.machine === machine);
    return {
      title: { text: machine, anchor: "start" as const, fontSize: 12, fontWeight: "normal" as const },
      vconcat: plot.panels.map((panel, index) =>
        panelSpec(plot, panel, points, index === plot.panels.length - 1),
      ),
      resolve: { scale: { color: "independent" as const } },
    };
  });
  return {
    ...CHART_BASE,
    description: plot.title,
    title: chartTitle(plot.title, [
      `Simulated: ${simulation.requests} requests a trace, cost models in bench/sim/cost.go`,
    ]),
    hconcat: columns,
    resolve: { scale: { color: "independent" } },
  };
}

/** Renders a plot as an SVG image. */
export async function renderPlot(simulation: Simulation, name: string): Promise<string> {
  return renderChart(plotSpec(simulation, name));
}
