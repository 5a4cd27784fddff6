import { expect, describe as suite, test } from "vitest";
import { describe, described, grouped, median, percentile, spread, sum } from "../lib/stats.js";

suite("percentile", () => {
  test("interpolates between the closest ranks", () => {
    expect(percentile([10, 20, 30, 40], 50)).toBe(25);
    expect(percentile([10, 20, 30, 40], 95)).toBeCloseTo(38.5, 12);
    expect(percentile([10, 20, 30, 40], 99)).toBeCloseTo(39.7, 12);
  });

  test("gives the extremes at 0 and 100", () => {
    expect(percentile([1, 5, 9], 0)).toBe(1);
    expect(percentile([1, 5, 9], 100)).toBe(9);
  });

  test("of one value is that value", () => {
    expect(percentile([7], 99)).toBe(7);
  });

  test("refuses an empty sample and a p out of range", () => {
    expect(() => percentile([], 50)).toThrow("empty sample");
    expect(() => percentile([1], 101)).toThrow("101");
    expect(() => percentile([1], Number.NaN)).toThrow("NaN");
  });
});

suite("describe", () => {
  test("does not depend on the order and leaves its input alone", () => {
    const values = [9, 2, 4, 4, 5, 4, 7, 5];
    expect(describe(values)).toMatchObject({ count: 8, mean: 5, median: 4.5, min: 2, max: 9 });
    expect(values[0]).toBe(9);
  });

  test("uses the population's standard deviation", () => {
    expect(describe([2, 4, 4, 4, 5, 5, 7, 9]).stdDev).toBe(2);
  });

  test("sorts by value, not by text", () => {
    expect(describe([100, 9, 20]).median).toBe(20);
  });
});

test("a sample without values has no figures", () => {
  expect(described([])).toBeNull();
  expect(described([3])).toEqual(describe([3]));
});

suite("spread", () => {
  test("is the median with half the range", () => {
    expect(spread([12, 10, 20])).toEqual({ median: 12, plusMinus: 5, values: [12, 10, 20] });
  });

  test("of one cycle is 0", () => {
    expect(spread([3]).plusMinus).toBe(0);
  });
});

test("sum and median", () => {
  expect(sum([])).toBe(0);
  expect(sum([1, 2, 3])).toBe(6);
  expect(median([3, 1])).toBe(2);
});

test("groups come in the order of their first items", () => {
  expect(grouped(["b1", "a1", "b2", "c1", "a2"], (item) => item.slice(0, 1))).toEqual([
    ["b1", "b2"],
    ["a1", "a2"],
    ["c1"],
  ]);
  expect(grouped([], String)).toEqual([]);
});
