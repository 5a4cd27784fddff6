/** How two greedy answers to one question compare. */
export type TokenVerdict =
  /** The same tokens throughout. */
  | { readonly kind: "identical" }
  /** The same up to a step at which the reference's two best logits are too close to tell apart. */
  | { readonly kind: "near-tie"; readonly step: number; readonly margin: number }
  /** Another token where the reference was clear. `step`: the first that differs, from 0. */
  | { readonly kind: "different"; readonly step: number; readonly margin: number };

/**
 * Below this distance between the two best logits, rounding decides the token: 1e-3 in float32, 2e-2 in a
 * 16-bit type.
 *
 * @param dtype type of the reference's logits
 */
export function marginThreshold(dtype: string): number {
  return dtype === "float32" ? 1e-3 : 2e-2;
}

/** The first position at which two token lists differ, an end included; -1 where they are the same. */
export function firstDifference(left: readonly number[], right: readonly number[]): number {
  const longest = Math.max(left.length, right.length);
  for (let step = 0; step < longest; step++) {
    if (left[step] !== right[step]) return step;
  }
  return -1;
}

/**
 * Compares a greedy answer with the reference's by the margin rule: equal up to the first step whose margin
 * lies below the threshold. What follows such a step says nothing and is not looked at.
 *
 * @param tokens ids of the answer, a final end-of-text token included
 * @param reference ids of the reference's answer, likewise
 * @param margins distance of the reference's two best logits at each of its steps
 * @throws RangeError when margins do not cover the reference
 */
export function compareTokens(
  tokens: readonly number[],
  reference: readonly number[],
  margins: readonly number[],
  threshold: number,
): TokenVerdict {
  const step = firstDifference(tokens, reference);
  if (step < 0) return { kind: "identical" };
  if (margins.length < reference.length) {
    throw new RangeError(`${margins.length} margins for ${reference.length} reference tokens`);
  }
  const tie = margins.findIndex((margin) => margin < threshold);
  const margin = (at: number): number => margins[at] ?? Number.POSITIVE_INFINITY;
  if (tie >= 0 && tie <= step) return { kind: "near-tie", step: tie, margin: margin(tie) };
  return { kind: "different", step, margin: margin(step) };
}
