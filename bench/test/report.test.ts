import { describe, expect, test } from "vitest";
import { type Options, optionsTable } from "../lib/args.js";
import type { EngineName } from "../lib/engine.js";
import { parseFlags } from "../lib/flags.js";
import { duration, shortened, table } from "../lib/format.js";
import { thisMachine } from "../lib/machine.js";
import { measure, type RawRun } from "../lib/measure.js";
import { plotPoints, renderPlot } from "../lib/plot.js";
import { Progress } from "../lib/progress.js";
import { parityLines, questionLine, reportLines } from "../lib/report.js";
import { buildResult, resultName, workerEnvironment } from "../lib/result.js";
import { compare, summarize } from "../lib/summary.js";
import { COLD_QUESTION, QUESTIONS } from "../questions.js";
import { answerOf, ScriptedEngine } from "./support.js";

const options = (...args: string[]): Options => parseFlags(args, optionsTable(50));

async function sampleRun(cycles = 2): Promise<RawRun> {
  const engines = [
    new ScriptedEngine("mlx-worker", [], () => answerOf([1, 2, 3], 100, 400)),
    new ScriptedEngine("mlx-lm", [], () => answerOf([1, 2, 3], 200, 1600)),
  ];
  const plan = {
    questions: ["Why is the sky blue?", "What is a prime number?"],
    coldQuestion: "cold",
    cycles,
    blockSize: 5,
    ask: (text: string) => ({ text, maxTokens: 3, temperature: 0, seed: 0 }),
  };
  return measure(engines, plan, {
    onStarting: () => undefined,
    onStarted: () => undefined,
    onEngines: () => undefined,
    onMeasurement: () => undefined,
    onCycleEnd: async () => undefined,
  });
}

const NAMES: readonly EngineName[] = ["mlx-worker", "mlx-lm"];
const NO_DIFFERENCE = { compared: 2, equal: 2, identical: 2, different: [] };

const resultOf = (run: RawRun) =>
  buildResult(
    options("--limit", "2", "--cycles", "2", "--baseline", "mlx-lm"),
    run,
    new Map(NAMES.map((name) => [name, summarize(run, name)])),
    compare(run, "mlx-worker", "mlx-lm"),
    NO_DIFFERENCE,
    new Date("2025-11-23T18:30:05.123Z"),
  );

describe("lines", () => {
  test("a question's line", () => {
    const measurement = { engine: "mlx-worker" as const, cycle: 0, index: 11, question: "Why do we sleep?" };
    const answered = { ...measurement, result: { answer: answerOf([1, 2, 3], 100, 811.7) } };
    expect(questionLine(answered, 50, false)).toBe("[12/50] Why do we sleep?… ✓ 812 ms (3 tokens)");
    expect(questionLine(answered, 50, true)).toBe(
      "[12/50] Why do we sleep?… ✓ 812 ms (3 tokens)  mlx-worker",
    );
    expect(questionLine({ ...measurement, result: { error: "out of memory" } }, 50, false)).toBe(
      "[12/50] Why do we sleep?… ✗ out of memory",
    );
  });

  test("equal tokens, near-ties and differences", () => {
    expect(parityLines(NO_DIFFERENCE, "mlx-lm")).toEqual(["Greedy tokens as mlx-lm's: 2/2 equal"]);
    const verdict = { kind: "different" as const, step: 4, margin: 0.25 };
    const lines = parityLines(
      { compared: 3, equal: 2, identical: 1, different: [{ cycle: 0, index: 1, question: "q?", verdict }] },
      "mlx-lm",
    );
    expect(lines).toEqual([
      "Greedy tokens as mlx-lm's: 2/3 equal (1 identical, 1 up to a near-tie of the two best tokens)",
      "  ✗ [2] q?: token 5 differs at a margin of 0.250",
    ]);
  });
});

describe("report", () => {
  test("shows both engines, ratios and apart totals", async () => {
    const run = await sampleRun();
    const text = reportLines({
      options: options("--limit", "2", "--cycles", "2", "--baseline", "mlx-lm"),
      machine: thisMachine(),
      engines: run.engines,
      summaries: new Map(NAMES.map((name) => [name, summarize(run, name)])),
      comparison: compare(run, "mlx-worker", "mlx-lm"),
      parity: NO_DIFFERENCE,
    }).join("\n");
    expect(text).toMatch(/^Response time +Mean +Median +P95 +P99 +Min +Max +Std$/m);
    expect(text).toMatch(/^mlx-worker +400\.00 ms/m);
    expect(text).toMatch(/^mlx-lm +1\.60 s/m);
    expect(text).toContain("mlx-worker / mlx-lm: 0.250× ± 0.000 (4.00 times as fast)");
    expect(text).toMatch(/^Warm total .* 800\.00 ms ± 0\.00 ms +3\.20 s ± 0\.00 s +0\.250× ± 0\.000$/m);
    expect(text).toMatch(/^Load +200\.00 ms/m);
    expect(text).toMatch(/^Cold total .* 700\.00 ms/m);
    expect(text).toMatch(/^Questions answered +4\/4 +4\/4$/m);
    expect(text).toMatch(/^Output tokens +12 +12$/m);
    expect(text).toContain("2/2 equal");
  });

  test("says why there are no ratios and no token comparison", async () => {
    const run = await sampleRun(1);
    const text = reportLines({
      options: options("--baseline", "mlx-lm", "--temperature", "0.7"),
      machine: thisMachine(),
      engines: run.engines,
      summaries: new Map(NAMES.map((name) => [name, summarize(run, name)])),
      comparison: null,
      parity: null,
    }).join("\n");
    expect(text).toContain("Tokens were not compared");
    expect(text).toContain("No ratios: a question failed");
  });
});

describe("result", () => {
  test("keeps every answer and the figures by engine", async () => {
    const result = resultOf(await sampleRun());
    expect(result.rawResults).toHaveLength(8);
    expect(result.rawResults[0]).toMatchObject({
      cycle: 1,
      questionNumber: 1,
      engine: "mlx-worker",
      success: true,
      tokenIds: [1, 2, 3],
      metrics: {
        totalTimeMs: 400,
        ttftMs: 100,
        generationTimeMs: 300,
        totalTokens: 3,
        throughputTokensPerSec: 7.5,
      },
    });
    expect(result.engines["mlx-lm"]).toMatchObject({
      successRate: 100,
      avgTokens: 3,
      totalTime: { median: 3200 },
    });
    expect(result.comparison?.warmTotal.median).toBe(0.25);
    expect(JSON.parse(JSON.stringify(result))).toEqual(result);
  });

  test("begins with what was asked for, in one order, without what does not concern it", async () => {
    const result = resultOf(await sampleRun());
    expect(Object.keys(result).slice(0, 8)).toEqual([
      "schemaVersion",
      "benchmark",
      "timestamp",
      "modelId",
      "totalQuestions",
      "options",
      "environment",
      "machine",
    ]);
    for (const name of ["help", "json", "output"]) expect(result.options).not.toHaveProperty(name);
  });

  test("records only the worker's variables", () => {
    expect(workerEnvironment({ MLX_FAST_PATH: "on", PATH: "/bin", MLX_AUTO_TUNE: "" })).toEqual({
      MLX_FAST_PATH: "on",
    });
  });

  test("file names have no colons", () => {
    expect(resultName("50-questions", "2025-11-23T18:30:05.123Z")).toBe("50-questions-2025-11-23T18-30-05Z");
  });
});

describe("plot", () => {
  test("has one median point for each engine and question", async () => {
    const points = plotPoints(resultOf(await sampleRun()));
    expect(points).toHaveLength(4);
    expect(points[0]).toEqual({ engine: "mlx-worker", question: 1, responseTime: 400, ttft: 100 });
  });

  test("renders titles, units and a legend", async () => {
    const svg = await renderPlot(resultOf(await sampleRun()));
    expect(svg).toMatch(/^<svg /);
    const texts = [
      "2 questions, up to 50 tokens each",
      "Response time (ms)",
      "Time to first token (ms)",
      "Question",
    ];
    for (const text of [...texts, "mlx-worker", "mlx-lm"]) expect(svg).toContain(text);
  });
});

describe("format", () => {
  test("durations choose their unit", () => {
    expect([0.5, 12.345, 2500, 90_000].map(duration)).toEqual([
      "500.00 μs",
      "12.35 ms",
      "2.50 s",
      "1.50 min",
    ]);
  });

  test("tables align", () => {
    expect(
      table([
        ["a", "bb"],
        ["ccc", "d"],
      ]),
    ).toEqual(["a    bb", "───────", "ccc   d"]);
    expect(table([])).toEqual([]);
  });

  test("long texts are cut", () => {
    expect(shortened("abcdef", 4)).toBe("abc…");
    expect(shortened("abcd", 4)).toBe("abcd");
  });
});

describe("progress", () => {
  test("writes plain lines where there is no terminal", () => {
    const written: string[] = [];
    const progress = new Progress({ write: (text) => written.push(text) }, 2);
    progress.label("mlx-worker");
    progress.line("one");
    progress.advance();
    progress.end();
    expect(written).toEqual(["one\n"]);
  });

  test("draws a bar that fits the terminal", () => {
    const written: string[] = [];
    const progress = new Progress({ write: (text) => written.push(text), isTTY: true, columns: 40 }, 2);
    progress.label("a label that is too long for this terminal");
    progress.advance();
    progress.line("one");
    const bar = written.at(-1)?.replace("\r\u001b[2K", "") ?? "";
    expect(bar).toContain(`${"█".repeat(12)}${"░".repeat(12)} 1/2`);
    expect([...bar].length).toBeLessThan(40);
    expect(written).toContain("\r\u001b[2Kone\n");
    progress.end();
    expect(written.at(-1)).toBe("\r\u001b[2K");
  });
});

describe("questions", () => {
  test("are fifty different ones of 3 to 10 words, the cold one not among them", () => {
    expect(QUESTIONS).toHaveLength(50);
    expect(new Set([...QUESTIONS, COLD_QUESTION]).size).toBe(51);
    for (const question of QUESTIONS) {
      expect(question).toMatch(/^[A-Z].*\?$/);
      expect(question.split(" ").length).toBeGreaterThanOrEqual(3);
      expect(question.split(" ").length).toBeLessThanOrEqual(10);
    }
  });
});
