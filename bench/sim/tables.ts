import type { Point, Simulation } from "./result.js";

type Column = readonly [title: string, cell: (point: Point) => string];

/** About three significant digits. */
function figure(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value.toFixed(value >= 10 ? 1 : 2);
}

/** Milliseconds, or minutes where a queue grew for as long as the trace lasted. */
function time(ms: number): string {
  return ms >= 60_000 ? `${figure(ms / 60_000)} min` : figure(ms);
}

const trace: Column = ["trace", (p) => p.trace];
const tokens: Column = ["tokens/s", (p) => figure(p.tokensPerSecond)];
const ttft: readonly Column[] = [
  ["TTFT P50", (p) => time(p.ttft.p50)],
  ["P95", (p) => time(p.ttft.p95)],
  ["P99", (p) => time(p.ttft.p99)],
];
const ttftMean: Column = ["TTFT mean", (p) => time(p.ttft.mean)];
const ttftLong: Column = ["TTFT P95 of long prompts", (p) => (p.ttftLong ? time(p.ttftLong.p95) : "–")];
const interToken: readonly Column[] = [
  ["inter-token P50", (p) => time(p.interToken.p50)],
  ["P95", (p) => time(p.interToken.p95)],
  ["P99", (p) => time(p.interToken.p99)],
];
const queue: Column = ["queue P95", (p) => time(p.queue.p95)];
const rows: Column = ["mean rows", (p) => figure(p.meanRows)];

const TABLES: Readonly<Record<string, readonly Column[]>> = {
  load: [trace, ["scheduler", (p) => p.setting], tokens, ...ttft, ...interToken, queue, rows],
  rows: [["most rows", (p) => p.setting], trace, tokens, ...ttft, ...interToken, queue, rows],
  window: [["window", (p) => p.setting], trace, ttftMean, ...ttft, ["steps", (p) => `${p.steps}`]],
  prefill: [["most tokens", (p) => p.setting], tokens, ...ttft, ttftLong, ...interToken, queue],
  target: [
    ["target", (p) => p.trace],
    ["auto-tune", (p) => p.setting],
    tokens,
    ...ttft,
    ...interToken,
    rows,
    ["lowered/raised", (p) => `${p.degradations}/${p.recoveries}`],
    ["adjustments", (p) => `${p.adjustments}`],
  ],
  ahead: [trace, ["steps ahead", (p) => p.setting], tokens, ...ttft, ...interToken, queue],
};

/** A sweep's Markdown tables, one a machine; times are milliseconds unless marked. Empty without points. */
export function tablesOf(simulation: Simulation, sweep: string): string {
  const columns = TABLES[sweep] ?? [];
  const parts: string[] = [];
  for (const { name: machine } of simulation.machines) {
    const points = simulation.points.filter((p) => p.sweep === sweep && p.machine === machine);
    if (points.length === 0) continue;
    parts.push(
      [
        `**${machine}**`,
        "",
        `| ${columns.map(([title]) => title).join(" | ")} |`,
        `|${"---|".repeat(columns.length)}`,
        ...points.map((point) => `| ${columns.map(([, cell]) => cell(point)).join(" | ")} |`),
      ].join("\n"),
    );
  }
  return parts.join("\n\n");
}

/**
 * Puts tables into a Markdown text, between `<!-- sim:NAME -->` and `<!-- /sim:NAME -->`, for every
 * sweep that the simulation has points of.
 *
 * @throws Error if a sweep that the text names was not closed
 */
export function withTables(text: string, simulation: Simulation): string {
  return simulation.sweeps.reduce((written, { name }) => {
    const open = `<!-- sim:${name} -->`;
    const close = `<!-- /sim:${name} -->`;
    const start = written.indexOf(open);
    if (start < 0) return written;
    const end = written.indexOf(close, start);
    if (end < 0) throw new Error(`${open} without ${close}`);
    return `${written.slice(0, start + open.length)}\n${tablesOf(simulation, name)}\n${written.slice(end)}`;
  }, text);
}
