import { QUESTIONS } from "../../questions.js";
import { type Random, randomInteger, seededRandom } from "./random.js";

/**
 * Prompts of random token ids.
 *
 * @param length tokens of each
 * @param vocabulary number of ids to draw from
 * @param excluded ids that are not drawn: those that end a text
 */
export function randomPrompts(
  count: number,
  length: number,
  vocabulary: number,
  excluded: readonly number[],
  seed: number,
): number[][] {
  const random = seededRandom(seed);
  const without = new Set(excluded);
  if (without.size >= vocabulary) throw new RangeError(`a vocabulary of ${vocabulary} ids, all excluded`);
  const draw = (): number => {
    for (;;) {
      const id = randomInteger(random, vocabulary);
      if (!without.has(id)) return id;
    }
  };
  return Array.from({ length: count }, () => Array.from({ length }, draw));
}

/** Lengths of mixed prompts in questions of about ten tokens; each as likely. */
const MIX = [1, 1, 1, 1, 1, 6, 6, 6, 6, 30] as const;

/**
 * Texts of mixed lengths: half of them one question, most others six, every tenth thirty. Each begins with
 * words of its own, so that no engine finds it in a prefix cache.
 *
 * @param series tells apart prompts that are made for different runs on one engine
 */
export function mixedPrompts(count: number, seed: number, series: string): string[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, (_, index) => {
    const length = MIX[randomInteger(random, MIX.length)] ?? 1;
    return questionsText(random, length, `${index + 1}-${series}`);
  });
}

/** A text of so many random questions after a heading. */
export function questionsText(random: Random, questions: number, heading: string): string {
  const drawn = Array.from({ length: questions }, () => QUESTIONS[randomInteger(random, QUESTIONS.length)]);
  return [`${heading}.`, ...drawn].join(" ");
}
