import { expect, test } from "vitest";
import { threadCounts } from "../baseline/tune.js";

test("thread counts are powers of two up to the cores, at most eight", () => {
  expect([1, 2, 3, 4, 6, 8, 64].map(threadCounts)).toEqual([
    [1],
    [1, 2],
    [1, 2, 3],
    [1, 2, 4],
    [1, 2, 4, 6],
    [1, 2, 4, 8],
    [1, 2, 4, 8],
  ]);
});
