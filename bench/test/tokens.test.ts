import { describe, expect, test } from "vitest";
import { compareTokens, firstDifference, marginThreshold } from "../lib/tokens.js";

const CLEAR = [1, 1, 1, 1];

describe("firstDifference", () => {
  test("finds the position", () => {
    expect(firstDifference([1, 2, 3], [1, 2, 3])).toBe(-1);
    expect(firstDifference([1, 2, 3], [1, 9, 3])).toBe(1);
  });

  test("counts a missing end as a difference", () => {
    expect(firstDifference([1, 2], [1, 2, 3])).toBe(2);
    expect(firstDifference([1, 2, 3], [1, 2])).toBe(2);
  });
});

describe("compareTokens", () => {
  test("accepts the same tokens without looking at margins", () => {
    expect(compareTokens([5, 6], [5, 6], [], 1e-3)).toEqual({ kind: "identical" });
  });

  test("refuses another token where the reference was clear", () => {
    expect(compareTokens([1, 2, 9, 4], [1, 2, 3, 4], CLEAR, 1e-3)).toEqual({
      kind: "different",
      step: 2,
      margin: 1,
    });
  });

  test("accepts another token at a near-tie", () => {
    expect(compareTokens([1, 2, 9, 4], [1, 2, 3, 4], [1, 1, 9e-4, 1], 1e-3)).toEqual({
      kind: "near-tie",
      step: 2,
      margin: 9e-4,
    });
  });

  test("accepts anything after a near-tie", () => {
    expect(compareTokens([1, 2, 3, 9], [1, 2, 3, 4], [1, 0, 1, 1], 1e-3)).toMatchObject({
      kind: "near-tie",
      step: 1,
    });
  });

  test("does not accept a difference before the near-tie", () => {
    expect(compareTokens([1, 9, 3, 4], [1, 2, 3, 4], [1, 1, 1, 0], 1e-3)).toMatchObject({
      kind: "different",
      step: 1,
    });
  });

  test("a margin at the threshold is clear", () => {
    expect(compareTokens([9], [1], [1e-3], 1e-3).kind).toBe("different");
  });

  test("refuses an answer that ends early or late", () => {
    expect(compareTokens([1, 2], [1, 2, 3, 4], CLEAR, 1e-3)).toMatchObject({ kind: "different", step: 2 });
    expect(compareTokens([1, 2, 3, 4, 5], [1, 2, 3, 4], CLEAR, 1e-3)).toMatchObject({
      kind: "different",
      step: 4,
    });
  });

  test("needs a margin for each reference token", () => {
    expect(() => compareTokens([9], [1, 2], [0], 1e-3)).toThrow("1 margins for 2 reference tokens");
  });
});

test("the threshold depends on the type of the logits", () => {
  expect(marginThreshold("float32")).toBe(1e-3);
  expect(marginThreshold("bfloat16")).toBe(2e-2);
});
