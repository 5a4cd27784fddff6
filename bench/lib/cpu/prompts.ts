import { questionsText } from "../load/prompts.js";
import { randomInteger, seededRandom } from "../load/random.js";
import { sum } from "../stats.js";
import type { Case } from "./args.js";

/**
 * Lengths of the prompts of a batch: evenly spread from half to one and a half times the mean, in an order that is
 * the same for the same seed.
 */
export function raggedLengths({ batch, promptTokens }: Case, seed: number): number[] {
  const lengths = Array.from({ length: batch }, (_, i) =>
    Math.max(1, Math.round(promptTokens * (0.5 + (2 * i + 1) / (2 * batch)))),
  );
  // What rounding took away or added, so that every batch has the tokens that its name says.
  lengths[0] = Math.max(1, (lengths[0] ?? 1) + batch * promptTokens - sum(lengths));
  const random = seededRandom(seed);
  for (let i = batch - 1; i > 0; i--) {
    const j = randomInteger(random, i + 1);
    [lengths[i], lengths[j]] = [lengths[j] as number, lengths[i] as number];
  }
  return lengths;
}

/** Tokens that a question has at least, however short it is. */
const LEAST_TOKENS_A_QUESTION = 4;

/**
 * Prompts of a case as token ids: texts of questions, cut to their lengths, each with a beginning of its own.
 *
 * @param tokenize the token ids of a text
 */
export async function casePrompts(
  one: Case,
  seed: number,
  tokenize: (text: string) => Promise<readonly number[]>,
): Promise<number[][]> {
  const random = seededRandom(seed);
  const prompts: number[][] = [];
  for (const [i, length] of raggedLengths(one, seed).entries()) {
    const questions = Math.ceil(length / LEAST_TOKENS_A_QUESTION);
    const ids = await tokenize(questionsText(random, questions, `Questions ${i + 1}`));
    if (ids.length < length) throw new RangeError(`a text of ${ids.length} tokens in place of ${length}`);
    prompts.push(ids.slice(0, length));
  }
  return prompts;
}
