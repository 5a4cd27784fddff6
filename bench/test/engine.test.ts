import { expect, test } from "vitest";
import { checkSameDevice } from "../lib/engine.js";

test.each([
  ["cpu", "cpu"],
  ["metal", "gpu"],
  ["cuda", "gpu"],
])("an engine on %s and a baseline on %s are comparable", (own, baseline) => {
  expect(() => checkSameDevice(own, baseline)).not.toThrow();
});

test.each([
  ["cpu", "gpu"],
  ["metal", "cpu"],
])("an engine on %s and a baseline on %s are not comparable", (own, baseline) => {
  expect(() => checkSameDevice(own, baseline)).toThrow(
    `not comparable: mlx-worker computes on ${own}, mlx-lm on ${baseline}`,
  );
});
