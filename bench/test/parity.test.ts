import { describe, expect, test } from "vitest";
import type { EngineName } from "../lib/engine.js";
import type { Measurement } from "../lib/measure.js";
import { compareCycle, type MarginSource, summarizeParity } from "../lib/parity.js";
import { answerOf } from "./support.js";

const measured = (engine: EngineName, index: number, tokens: readonly number[] | null): Measurement => ({
  engine,
  cycle: 0,
  index,
  question: `q${index}`,
  result: tokens ? { answer: answerOf(tokens, 1, 2) } : { error: "broken" },
});

const unused: MarginSource = () => Promise.reject(new Error("margins are not needed"));

describe("compareCycle", () => {
  test("asks for margins only where tokens differ", async () => {
    const asked: number[] = [];
    const margins: MarginSource = async (index) => {
      asked.push(index);
      return { tokens: [1, 2], margins: [1, 0] };
    };
    const measurements = [
      ...[measured("mlx-worker", 0, [7]), measured("mlx-lm", 0, [7])],
      ...[measured("mlx-worker", 1, [1, 9]), measured("mlx-lm", 1, [1, 2])],
    ];
    const records = await compareCycle(measurements, "mlx-worker", "mlx-lm", margins, 1e-3);
    expect(asked).toEqual([1]);
    expect(records.map(({ verdict }) => verdict.kind)).toEqual(["identical", "near-tie"]);
  });

  test("leaves questions out that either engine failed", async () => {
    const measurements = [
      ...[measured("mlx-worker", 0, null), measured("mlx-lm", 0, [1])],
      ...[measured("mlx-worker", 1, [1]), measured("mlx-lm", 1, null)],
    ];
    expect(await compareCycle(measurements, "mlx-worker", "mlx-lm", unused, 1e-3)).toEqual([]);
  });

  test("refuses a reference that does not repeat itself", async () => {
    const measurements = [measured("mlx-worker", 0, [1, 9]), measured("mlx-lm", 0, [1, 2])];
    const margins: MarginSource = async () => ({ tokens: [1, 3], margins: [1, 1] });
    await expect(compareCycle(measurements, "mlx-worker", "mlx-lm", margins, 1e-3)).rejects.toThrow(
      'mlx-lm answers "q0" differently each time',
    );
  });
});

test("summarizeParity counts a question by its worst cycle", () => {
  const record = (cycle: number, index: number, kind: "identical" | "near-tie" | "different") => ({
    cycle,
    index,
    question: `q${index}`,
    verdict: kind === "identical" ? { kind } : { kind, step: 0, margin: 0 },
  });
  const records = [
    ...[record(0, 0, "identical"), record(0, 1, "different"), record(0, 2, "identical")],
    ...[record(1, 0, "identical"), record(1, 1, "identical"), record(1, 2, "near-tie")],
  ];
  expect(summarizeParity(records)).toMatchObject({
    compared: 3,
    equal: 2,
    identical: 1,
    different: [{ index: 1, cycle: 0 }],
  });
});
