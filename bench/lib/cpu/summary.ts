import type { EngineName } from "../engine.js";
import { grouped, type Spread, spread, sum } from "../stats.js";
import { firstDifference } from "../tokens.js";
import { type Case, caseName } from "./args.js";
import type { Figures } from "./figures.js";

/** What one engine did in one case of one round. */
export interface CaseRun extends Figures {
  readonly engine: EngineName;
  /** From 0. */
  readonly round: number;
  readonly batch: number;
  readonly promptTokens: number;
}

/** The figures that are summed up. */
export const FIGURES = ["decodeRate", "prefillRate", "throughput", "ttftMs"] as const;

/** Spreads with one value a round; null where a round has none. */
export type FigureSpreads = Readonly<Record<(typeof FIGURES)[number], Spread | null>>;

/** One case. */
export interface CaseSummary extends Case {
  readonly engines: Readonly<Partial<Record<EngineName, FigureSpreads>>>;
  /** mlx-worker's figures divided by those of each other engine in the same round. */
  readonly ratios: Readonly<Partial<Record<EngineName, FigureSpreads>>>;
}

const spreads = (figure: (name: keyof FigureSpreads) => (number | null)[]): FigureSpreads => {
  const one = (name: keyof FigureSpreads): Spread | null => {
    const known = figure(name).filter((value) => value !== null);
    return known.length > 0 && known.length === figure(name).length ? spread(known) : null;
  };
  return {
    decodeRate: one("decodeRate"),
    prefillRate: one("prefillRate"),
    throughput: one("throughput"),
    ttftMs: one("ttftMs"),
  };
};

/** All cases, in the order of their first measurement. */
export function summarizeCases(runs: readonly CaseRun[]): CaseSummary[] {
  return grouped(runs, caseName).map((inCase) => {
    const [{ batch, promptTokens }] = inCase as [CaseRun];
    const names = [...new Set(inCase.map((run) => run.engine))].sort(
      (a, b) => order(runs, a) - order(runs, b),
    );
    const of = (engine: EngineName): CaseRun[] => inCase.filter((run) => run.engine === engine);
    const own = of("mlx-worker");
    return {
      batch,
      promptTokens,
      engines: Object.fromEntries(
        names.map((engine) => [engine, spreads((f) => of(engine).map((run) => run[f]))]),
      ),
      ratios: Object.fromEntries(
        names
          .filter((engine) => engine !== "mlx-worker")
          .map((engine) => [engine, spreads((f) => quotients(own, of(engine), f))]),
      ),
    };
  });
}

/** Place of an engine by its first run, which is that of the command line. */
function order(runs: readonly CaseRun[], engine: EngineName): number {
  return runs.findIndex((run) => run.engine === engine);
}

function quotients(
  own: readonly CaseRun[],
  other: readonly CaseRun[],
  figure: keyof FigureSpreads,
): (number | null)[] {
  return own.map((run) => {
    const above = run[figure];
    const below = other.find(({ round }) => round === run.round)?.[figure];
    return above !== null && below ? above / below : null;
  });
}

/** How far an engine's greedy tokens are mlx-worker's. */
export interface Agreement {
  readonly answers: number;
  /** Answers that are the same throughout. */
  readonly identical: number;
  /** Answers with the same first token. */
  readonly firstTokens: number;
  /** Tokens before the first one that differs, by all tokens: 0 to 1. */
  readonly share: number;
}

/** Compares the answers of each engine with mlx-worker's to the same prompts of the same round. */
export function summarizeAgreement(runs: readonly CaseRun[]): Partial<Record<EngineName, Agreement>> {
  const result: Partial<Record<EngineName, Agreement>> = {};
  const others = new Set(runs.map((run) => run.engine).filter((engine) => engine !== "mlx-worker"));
  for (const engine of others) {
    const pairs = runs
      .filter((run) => run.engine === engine)
      .flatMap((run) => {
        const own = runs.find(
          (one) => one.engine === "mlx-worker" && one.round === run.round && caseName(one) === caseName(run),
        );
        return own ? run.answers.map((tokens, i) => ({ tokens, own: own.answers[i] ?? [] })) : [];
      });
    const equal = pairs.map(({ tokens, own }) => {
      const step = firstDifference(own, tokens);
      return step < 0 ? own.length : step;
    });
    const all = sum(pairs.map(({ own }) => own.length));
    result[engine] = {
      answers: pairs.length,
      identical: pairs.filter(({ tokens, own }) => firstDifference(own, tokens) < 0).length,
      firstTokens: equal.filter((tokens) => tokens > 0).length,
      share: all > 0 ? sum(equal) / all : 0,
    };
  }
  return result;
}
