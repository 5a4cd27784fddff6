import type { EngineName } from "../engine.js";
import { milliseconds, rate, table } from "../format.js";
import { ratioOr } from "../report.js";
import type { Spread } from "../stats.js";
import { caseName } from "./args.js";
import type { Conditions } from "./conditions.js";
import type { Agreement, CaseRun, CaseSummary, FigureSpreads } from "./summary.js";
import type { Target } from "./targets.js";

const NONE = "–";

/** Below this share of equal tokens another engine's answers deserve a look. */
const LEAST_AGREEMENT = 0.1;

const TITLES: Readonly<Record<keyof FigureSpreads, string>> = {
  decodeRate: "Decode, all answers (tok/s)",
  prefillRate: "Prefill (prompt tok/s)",
  throughput: "Throughput, prefill included (tok/s)",
  ttftMs: "Time to first token, median of the batch (ms)",
};

/** The line of the conditions. */
export function conditionsLine(conditions: Conditions): string {
  const { instructions, niceness, sessionNiceness, load } = conditions;
  const session = sessionNiceness === null ? "" : `, its session's ${sessionNiceness}`;
  return `Machine    ${instructions.join(" ") || "no instruction sets known"}, nice ${niceness}${session}, load ${load.toFixed(1)}`;
}

/** The line of one engine in one case. */
export function runLine(run: CaseRun): string {
  const decode = run.decodeRate === null ? "never decoded at once" : `decode ${rate(run.decodeRate)}`;
  const ttft = run.ttftMs === null ? "" : `, TTFT ${milliseconds(run.ttftMs)}`;
  return `${caseName(run).padStart(8)}  ${run.engine.padEnd(14)} ${decode}, prefill ${rate(run.prefillRate)}, together ${rate(run.throughput)}${ttft}`;
}

function withSpread(value: Spread | null | undefined): string {
  if (!value) return NONE;
  const plusMinus = value.values.length > 1 ? ` ± ${value.plusMinus.toFixed(1)}` : "";
  return `${value.median.toFixed(1)}${plusMinus}`;
}

/** One table a figure: every engine, and mlx-worker by each other one. */
export function caseLines(cases: readonly CaseSummary[]): string[] {
  const names = Object.keys(cases[0]?.engines ?? {}) as EngineName[];
  const others = names.filter((name) => name !== "mlx-worker");
  return (Object.keys(TITLES) as (keyof FigureSpreads)[]).flatMap((figure) => [
    "",
    TITLES[figure],
    ...table([
      ["Prompts x tokens", ...names, ...others.map((name) => `by ${name}`)],
      ...cases.map((one) => [
        caseName(one),
        ...names.map((name) => withSpread(one.engines[name]?.[figure])),
        ...others.map((name) => ratioOr(one.ratios[name]?.[figure])),
      ]),
    ]),
  ]);
}

const FIGURE_NAMES: Readonly<Record<keyof FigureSpreads, string>> = {
  decodeRate: "decode",
  prefillRate: "prefill",
  throughput: "throughput",
  ttftMs: "TTFT",
};

/** What was wanted and what it was. */
export function targetLines(targets: readonly Target[]): string[] {
  if (targets.length === 0) return [];
  return [
    "",
    "Targets, mlx-worker by the other engine",
    ...table([
      ["Figure", "wanted", "measured", ""],
      ...targets.map(({ case: name, figure, engine, wanted, ratio, met }) => [
        `${FIGURE_NAMES[figure]} ${name} by ${engine}`,
        `${figure === "ttftMs" ? "≤" : "≥"} ${wanted.toFixed(1)}×`,
        `${ratio.toFixed(2)}×`,
        met ? "✓" : "✗",
      ]),
    ]),
  ];
}

/** How far each engine's tokens are mlx-worker's. */
export function agreementLines(agreement: Readonly<Partial<Record<EngineName, Agreement>>>): string[] {
  const lines = Object.entries(agreement).map(([engine, { answers, identical, firstTokens, share }]) => {
    const text = `${engine}: ${(share * 100).toFixed(0)} % of the tokens are mlx-worker's up to the first that differs; ${identical} of ${answers} answers throughout, ${firstTokens} in their first token`;
    return share < LEAST_AGREEMENT ? `${text}  ✗ too few: look at its answers` : text;
  });
  return lines.length > 0 ? ["", ...lines, ""] : [""];
}
