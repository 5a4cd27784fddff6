import type { EngineName } from "./engine.js";
import type { Measurement } from "./measure.js";
import { compareTokens, firstDifference, type TokenVerdict } from "./tokens.js";

/** One question's verdict in one cycle. */
export interface ParityRecord {
  readonly cycle: number;
  readonly index: number;
  readonly question: string;
  readonly verdict: TokenVerdict;
}

/** Verdicts of a whole run, by question: the worst of its cycles counts. */
export interface ParitySummary {
  readonly compared: number;
  /** Identical or equal up to a near-tie. */
  readonly equal: number;
  readonly identical: number;
  readonly different: readonly ParityRecord[];
}

/** The reference's margins for a question, with the tokens that they belong to. */
export type MarginSource = (
  index: number,
) => Promise<{ readonly tokens: readonly number[]; readonly margins: readonly number[] }>;

/**
 * Compares the greedy answers of one cycle with the reference's. Margins are asked for only where the tokens
 * differ. Questions that either engine failed are left out.
 *
 * @throws Error when the reference's second answer differs from its first: then margins mean nothing
 */
export async function compareCycle(
  measurements: readonly Measurement[],
  engine: EngineName,
  reference: EngineName,
  margins: MarginSource,
  threshold: number,
): Promise<ParityRecord[]> {
  const records: ParityRecord[] = [];
  for (const measurement of measurements) {
    if (measurement.engine !== engine || !("answer" in measurement.result)) continue;
    const { cycle, index, question } = measurement;
    const other = measurements.find((one) => one.engine === reference && one.index === index)?.result;
    if (other === undefined || !("answer" in other)) continue;
    const [own, expected] = [measurement.result.answer.tokens, other.answer.tokens];
    let verdict: TokenVerdict = { kind: "identical" };
    if (firstDifference(own, expected) >= 0) {
      const known = await margins(index);
      if (firstDifference(known.tokens, expected) >= 0) {
        throw new Error(
          `${reference} answers "${question}" differently each time; its tokens cannot be a reference`,
        );
      }
      verdict = compareTokens(own, expected, known.margins, threshold);
    }
    records.push({ cycle, index, question, verdict });
  }
  return records;
}

const BY_SEVERITY: readonly TokenVerdict["kind"][] = ["identical", "near-tie", "different"];

/** Sums verdicts up by question. */
export function summarizeParity(records: readonly ParityRecord[]): ParitySummary {
  const worst = new Map<number, ParityRecord>();
  for (const record of records) {
    const known = worst.get(record.index);
    const severity = (one: ParityRecord): number => BY_SEVERITY.indexOf(one.verdict.kind);
    if (known === undefined || severity(record) > severity(known)) worst.set(record.index, record);
  }
  const verdicts = [...worst.values()];
  const different = verdicts.filter((record) => record.verdict.kind === "different");
  return {
    compared: verdicts.length,
    equal: verdicts.length - different.length,
    identical: verdicts.filter((record) => record.verdict.kind === "identical").length,
    different,
  };
}
