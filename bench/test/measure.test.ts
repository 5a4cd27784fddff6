import { describe, expect, test } from "vitest";
import { measure, type Observer, type Plan } from "../lib/measure.js";
import { compare, summarize } from "../lib/summary.js";
import { answerOf, ScriptedEngine } from "./support.js";

const PLAN: Plan = {
  questions: ["q1", "q2", "q3"],
  coldQuestion: "cold",
  cycles: 1,
  blockSize: 2,
  ask: (text, index) => ({ text, maxTokens: 5, temperature: 0, seed: index }),
};

const silent: Observer = {
  onStarting: () => undefined,
  onStarted: () => undefined,
  onEngines: () => undefined,
  onMeasurement: () => undefined,
  onCycleEnd: async () => undefined,
};

describe("measure", () => {
  test("starts engines one by one, alternates blocks, stops both", async () => {
    const log: string[] = [];
    const engines = [new ScriptedEngine("mlx-worker", log), new ScriptedEngine("mlx-lm", log)];
    const run = await measure(engines, PLAN, silent);
    expect(log).toEqual([
      ...["mlx-worker start", "mlx-worker cold", "mlx-lm start", "mlx-lm cold"],
      ...["mlx-worker q1", "mlx-worker q2", "mlx-lm q1", "mlx-lm q2"],
      ...["mlx-worker q3", "mlx-lm q3"],
      ...["mlx-worker stop", "mlx-lm stop"],
    ]);
    expect(run.measurements.map(({ engine, index }) => `${engine} ${index}`)).toEqual([
      ...["mlx-worker 0", "mlx-worker 1", "mlx-lm 0", "mlx-lm 1", "mlx-worker 2", "mlx-lm 2"],
    ]);
    expect(run.residentBytes.get("mlx-lm")).toBeGreaterThan(0);
  });

  test("starts engines afresh in every cycle", async () => {
    const log: string[] = [];
    const run = await measure([new ScriptedEngine("mlx-worker", log)], { ...PLAN, cycles: 3 }, silent);
    expect(log.filter((line) => line.endsWith("start"))).toHaveLength(3);
    expect(run.coldStarts.map(({ cycle }) => cycle)).toEqual([0, 1, 2]);
    expect(run.measurements).toHaveLength(9);
  });

  test("hands the first engine's end ids to the second", async () => {
    const second = new ScriptedEngine("mlx-lm", []);
    await measure([new ScriptedEngine("mlx-worker", []), second], PLAN, silent);
    expect(second.questions.map(({ eosTokenIds }) => eosTokenIds)).toEqual([[2], [2], [2], [2]]);
  });

  test("records a question that fails and goes on", async () => {
    const engine = new ScriptedEngine("mlx-worker", [], ({ text }) => {
      if (text === "q2") throw new Error("broken");
      return answerOf([1], 1, 2);
    });
    const run = await measure([engine], PLAN, silent);
    expect(run.measurements.map(({ result }) => ("error" in result ? result.error : "fine"))).toEqual([
      "fine",
      "broken",
      "fine",
    ]);
    expect(summarize(run, "mlx-worker")).toMatchObject({ asked: 3, answered: 2, totalTokens: 2 });
  });

  test("stops every engine when a start or a check fails", async () => {
    const log: string[] = [];
    const broken = [
      new ScriptedEngine("mlx-worker", log),
      new ScriptedEngine("mlx-lm", log, undefined, true),
    ];
    await expect(measure(broken, PLAN, silent)).rejects.toThrow("no start");
    expect(log.slice(-2)).toEqual(["mlx-worker stop", "mlx-lm stop"]);

    const checked = new ScriptedEngine("mlx-worker", []);
    const refusing: Observer = {
      ...silent,
      onEngines: () => {
        throw new Error("not comparable");
      },
    };
    await expect(measure([checked], PLAN, refusing)).rejects.toThrow("not comparable");
    expect(checked.log.at(-1)).toBe("mlx-worker stop");
  });
});

describe("summary", () => {
  const pair = async (worker: ScriptedEngine["script"], cycles = 1) => {
    const engines = [
      new ScriptedEngine("mlx-worker", [], worker),
      new ScriptedEngine("mlx-lm", [], () => answerOf([1, 2, 3, 4, 5], 100, 500)),
    ];
    return measure(engines, { ...PLAN, cycles }, silent);
  };

  test("warm total is the question loop alone, cold figures hold start, load and first answer", async () => {
    const summary = summarize(await pair(() => answerOf([1, 2], 10, 30)), "mlx-worker");
    expect(summary.warmTotal.median).toBe(90);
    expect(summary.coldReady.median).toBe(300);
    expect(summary.firstAnswer.median).toBe(30);
    expect(summary.coldTotal.median).toBe(330);
  });

  test("rates count tokens from ids", async () => {
    const summary = summarize(await pair(() => answerOf([1, 2, 3], 100, 300)), "mlx-worker");
    expect(summary.throughput?.mean).toBeCloseTo(10, 12);
    expect(summary.decodeRate?.mean).toBeCloseTo(10, 12);
    expect(summary.totalTokens).toBe(9);
  });

  test("an answer of one token has no decode rate", async () => {
    expect(summarize(await pair(() => answerOf([1], 100, 100)), "mlx-worker").decodeRate).toBeNull();
  });

  test("ratios are engine by baseline, median over cycles with spread", async () => {
    let answers = 0;
    // Each cycle has four answers, the cold one included: 250, 500 and 1000 ms in the three cycles.
    const script = () => answerOf([1, 2, 3, 4, 5], 50, [250, 500, 1000][Math.floor(answers++ / 4)] ?? 0);
    const comparison = compare(await pair(script, 3), "mlx-worker", "mlx-lm");
    expect(comparison?.warmTotal).toEqual({ median: 1, plusMinus: 0.75, values: [0.5, 1, 2] });
    expect(comparison?.ttft.median).toBe(0.5);
    expect(comparison?.throughput.values).toEqual([2, 1, 0.5]);
    expect(comparison?.coldReady.median).toBe(1);
  });

  test("there are no ratios when a question failed", async () => {
    const run = await pair(({ text }) => {
      if (text === "q3") throw new Error("broken");
      return answerOf([1], 1, 2);
    });
    expect(compare(run, "mlx-worker", "mlx-lm")).toBeNull();
  });
});
