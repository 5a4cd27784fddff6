import type { EngineName } from "../engine.js";
import { type Case, caseName } from "./args.js";
import type { CaseSummary, FigureSpreads } from "./summary.js";

/** A ratio that is wanted, and what it was. */
export interface Target {
  readonly case: string;
  readonly figure: keyof FigureSpreads;
  /** The engine that mlx-worker's figure is divided by. */
  readonly engine: EngineName;
  /** At least, for rates; at most, for times. */
  readonly wanted: number;
  /** Median over rounds. */
  readonly ratio: number;
  readonly met: boolean;
}

interface Wish {
  readonly figure: keyof FigureSpreads;
  readonly engine: EngineName;
  readonly wanted: number;
  readonly applies: (one: Case) => boolean;
}

const alone = ({ batch }: Case): boolean => batch === 1;
const sixteen = ({ batch }: Case): boolean => batch === 16;

/** What is wanted of a processor with or without AVX-512. */
function wishes(avx512: boolean): Wish[] {
  return [
    { figure: "decodeRate", engine: "mlx-lm", wanted: avx512 ? 8 : 4, applies: alone },
    { figure: "decodeRate", engine: "node-llama-cpp", wanted: 1.1, applies: alone },
    { figure: "decodeRate", engine: "mlx-lm", wanted: 3, applies: sixteen },
    { figure: "decodeRate", engine: "node-llama-cpp", wanted: 2, applies: sixteen },
    { figure: "ttftMs", engine: "node-llama-cpp", wanted: 1, applies: alone },
  ];
}

/** The targets that were measured. */
export function checkTargets(cases: readonly CaseSummary[], avx512: boolean): Target[] {
  return cases.flatMap((one) =>
    wishes(avx512)
      .filter(({ applies }) => applies(one))
      .flatMap(({ figure, engine, wanted }) => {
        const ratio = one.ratios[engine]?.[figure]?.median;
        if (ratio === undefined) return [];
        const met = figure === "ttftMs" ? ratio <= wanted : ratio >= wanted;
        return [{ case: caseName(one), figure, engine, wanted, ratio, met }];
      }),
  );
}
