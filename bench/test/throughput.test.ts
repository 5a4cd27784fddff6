import { describe, expect, test } from "vitest";
import { parseFlags, UsageError } from "../lib/flags.js";
import { summarizeParity } from "../lib/parity.js";
import { requestsOf, THROUGHPUT_FLAGS, type ThroughputOptions } from "../lib/throughput/args.js";
import { throughputPoints, throughputSpec } from "../lib/throughput/chart.js";
import { type LevelEngine, type LevelRun, measureLevel } from "../lib/throughput/measure.js";
import { levelLine, schedulerLines, throughputLines } from "../lib/throughput/report.js";
import { summarizeTurns, type VariantTurn } from "../lib/throughput/scheduler.js";
import { compareAnswers, evenlySpread, summarizeLevels } from "../lib/throughput/summary.js";

const parse = (...args: string[]): ThroughputOptions => parseFlags(args, THROUGHPUT_FLAGS);

describe("command line", () => {
  test("has the documented levels, and takes others", () => {
    expect(parse().concurrency).toEqual([1, 2, 4, 8, 16, 32]);
    expect(parse("--concurrency", "3, 5")).toMatchObject({ concurrency: [3, 5], schedulerOff: false });
    expect(parse("--scheduler-off").schedulerOff).toBe(true);
  });

  test.each([
    [["--concurrency", "1,x"], '--concurrency: "x" is not an integer from 1 to 256'],
    [["--concurrency", "1,"], '--concurrency: "" is not an integer'],
    [["--concurrency", "2,4,2"], "--concurrency: 2 is there twice"],
    [["--max-tokens", "1"], '"1" is not an integer from 2'],
  ])("refuses %j", (args, message) => {
    expect(() => parse(...args)).toThrow(UsageError);
    expect(() => parse(...args)).toThrow(message);
  });

  test("a level has whole rounds, two at least", () => {
    expect([1, 3, 8, 16, 32].map((clients) => requestsOf(parse("--requests", "16"), clients))).toEqual([
      ...[16, 18, 16, 32, 64],
    ]);
  });
});

const runOf = (changes: Partial<LevelRun>): LevelRun => ({
  engine: "mlx-worker",
  cycle: 0,
  clients: 1,
  requests: 2,
  wallMs: 1000,
  completionTokens: 10,
  decodeRate: 20,
  ttftMs: [100, 200],
  interTokenMs: [50, 60, 70],
  answers: [],
  failures: [],
  ...changes,
});

const RUNS: LevelRun[] = [
  runOf({}),
  runOf({ engine: "mlx-lm", completionTokens: 5, decodeRate: 10, ttftMs: [], interTokenMs: [] }),
  runOf({ clients: 8, completionTokens: 60 }),
  runOf({ clients: 8, engine: "mlx-lm", completionTokens: 20, ttftMs: [], interTokenMs: [] }),
  runOf({ cycle: 1, completionTokens: 12 }),
  runOf({ cycle: 1, engine: "mlx-lm", completionTokens: 6, decodeRate: 16 }),
  runOf({ cycle: 1, clients: 8, completionTokens: 48 }),
  runOf({ cycle: 1, clients: 8, engine: "mlx-lm", completionTokens: 24 }),
];

describe("summarizeLevels", () => {
  const [one, eight] = summarizeLevels(RUNS);

  test("takes throughput from wall time, and ratios within a cycle", () => {
    expect(one?.engines["mlx-worker"]?.throughput).toEqual({ median: 11, plusMinus: 1, values: [10, 12] });
    expect(eight?.throughputRatio).toEqual({ median: 2.5, plusMinus: 0.5, values: [3, 2] });
    expect(one?.decodeRatio?.values).toEqual([2, 1.25]);
  });

  test("relates each level to one client of the same cycle", () => {
    expect(eight?.engines["mlx-worker"]?.scaling?.values).toEqual([6, 4]);
    expect(eight?.engines["mlx-lm"]?.scaling?.values).toEqual([4, 4]);
    const [alone] = summarizeLevels(RUNS.filter(({ clients }) => clients === 8));
    expect(alone?.engines["mlx-worker"]?.scaling).toBeNull();
  });

  test("pools latencies over cycles", () => {
    expect(one?.engines["mlx-worker"]?.ttft).toMatchObject({ count: 4, median: 150 });
    expect(summarizeLevels(RUNS.slice(0, 2))[0]?.engines["mlx-lm"]?.ttft).toBeNull();
  });

  test("has no ratios when a request failed or there is no baseline", () => {
    const failed = runOf({ failures: [{ index: 0, error: "no" }] });
    expect(summarizeLevels([failed, ...RUNS.slice(1, 2)])[0]).toMatchObject({
      throughputRatio: null,
      engines: { "mlx-worker": { failed: 1 } },
    });
    expect(summarizeLevels([runOf({})])[0]?.throughputRatio).toBeNull();
  });

  test("shows in tables and as a chart", async () => {
    const levels = summarizeLevels(RUNS);
    const lines = throughputLines(levels).join("\n");
    expect(lines).toContain("2.500× ± 0.500");
    expect(lines).toContain("150 / 200 / 200");
    expect(throughputPoints(levels)).toHaveLength(8);
    const spec = throughputSpec({
      options: { model: "m", promptTokens: 16, maxTokens: 32, cycles: 2 },
      machine: { cpu: "c", cores: 2, memoryBytes: 1, os: "o", node: "n" },
      timestamp: "2025-01-01T00:00:00.000Z",
      levels,
    });
    expect(JSON.stringify(spec)).toContain('"values":[1,8]');
    expect(levelLine(runOf({ failures: [{ index: 0, error: "no" }] }))).toContain("✗ 1 failed");
  });
});

describe("measureLevel", () => {
  const requests = [0, 1].map((index) => ({ index, prompt: [1], maxTokens: 8 }));
  const engine = (tokens: number, asked: number[] = []): LevelEngine => ({
    name: "mlx-worker",
    level: async (given, clients) => {
      asked.push(...given.map(({ maxTokens }) => maxTokens));
      const answers = given.map(({ index }) => ({ index, tokens: new Array<number>(tokens).fill(1) }));
      return runOf({ clients, answers });
    },
  });

  test("warms up with a round of short answers", async () => {
    const asked: number[] = [];
    expect((await measureLevel(engine(8, asked), requests, 1, 3)).cycle).toBe(3);
    expect(asked).toEqual([4, 8, 8]);
  });

  test("refuses answers that are not of the wanted length", async () => {
    await expect(measureLevel(engine(7), requests, 1, 0)).rejects.toThrow(
      "gave 7 tokens to request 1 in place of 8",
    );
  });
});

describe("token comparison", () => {
  test("takes every answer of the worker that has a reference, the worst of a prompt counts", () => {
    const answers = (...tokens: number[][]) => tokens.map((ids, index) => ({ index, tokens: ids }));
    const runs = [
      runOf({ answers: answers([1, 2], [3, 4]) }),
      runOf({ clients: 8, answers: answers([1, 9], [3, 4]) }),
      runOf({ engine: "mlx-lm", answers: answers([7, 7], [7, 7]) }),
    ];
    const references = new Map([[0, { tokens: [1, 2], margins: [1, 0.5] }]]);
    const records = compareAnswers(runs, references, 1e-3);
    expect(records.map(({ verdict }) => verdict.kind)).toEqual(["identical", "different"]);
    expect(records[1]?.question).toBe("prompt 1 beside 7");
    expect(summarizeParity(records)).toMatchObject({ compared: 1, equal: 0 });
  });

  test("samples are spread over all prompts", () => {
    expect(evenlySpread(4, 64)).toEqual([0, 16, 32, 48]);
    expect(evenlySpread(8, 3)).toEqual([0, 1, 2]);
    expect(evenlySpread(0, 3)).toEqual([]);
  });
});

test("settings of the scheduler are compared turn by turn", () => {
  const turns: VariantTurn[] = [0, 1, 2].flatMap((turn) => [
    { variant: "off", turn, throughput: 100, ttftMs: 20 },
    { variant: "on", turn, throughput: [99, 100, 101][turn] ?? 0, ttftMs: 20 },
    { variant: "noFastPath", turn, throughput: 90, ttftMs: 22 + turn },
  ]);
  const comparison = summarizeTurns(turns);
  expect(comparison.throughputOnByOff).toEqual({
    median: 1,
    plusMinus: 0.010000000000000009,
    values: [0.99, 1, 1.01],
  });
  expect(comparison.fastPathSavesMs).toEqual({ median: 3, plusMinus: 1, values: [2, 3, 4] });
  expect(comparison.ttftNoFastPathByFastPath.median).toBeCloseTo(1.15, 9);
  expect(schedulerLines(comparison).join("\n")).toContain("1.000× ± 0.010 (no slower)");
});
