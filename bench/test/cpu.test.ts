import { describe, expect, test } from "vitest";
import { CPU_FLAGS, type CpuOptions, caseName, parseCase } from "../lib/cpu/args.js";
import { cpuPoints, cpuSpec } from "../lib/cpu/chart.js";
import { instructionsOf, sessionNiceness } from "../lib/cpu/conditions.js";
import { WorkerCase } from "../lib/cpu/engines.js";
import { bestOf, figuresOf } from "../lib/cpu/figures.js";
import { casePrompts, raggedLengths } from "../lib/cpu/prompts.js";
import { agreementLines, caseLines, conditionsLine, runLine, targetLines } from "../lib/cpu/report.js";
import { type CaseRun, summarizeAgreement, summarizeCases } from "../lib/cpu/summary.js";
import { checkTargets } from "../lib/cpu/targets.js";
import { bestThreads, llamaThreadCounts, type ThreadSample } from "../lib/cpu/threads.js";
import { parseFlags, UsageError } from "../lib/flags.js";
import type { Arrival, LoadRequest, StreamClient, StreamOptions, StreamRecord } from "../lib/load/stream.js";
import { sum } from "../lib/stats.js";
import { recordOf } from "./support.js";

const parse = (...args: string[]): CpuOptions => parseFlags(args, CPU_FLAGS);

describe("command line", () => {
  test("compares with both engines by default, in five rounds", () => {
    expect(parse()).toMatchObject({ engines: ["mlx-worker", "mlx-lm", "node-llama-cpp"], rounds: 5 });
    expect(parse("--cases", "8x4000, 1x016").cases).toEqual(["8x4000", "1x16"]);
    expect(parse().cases.map(parseCase).map(caseName)).toEqual(parse().cases);
  });

  test.each([
    [["--engines", "mlx-worker,vllm"], '"vllm" is not one of'],
    [["--engines", "node-llama-cpp"], "--engines needs mlx-worker"],
    [["--cases", "16"], '--cases: "16" is not a number of prompts x tokens'],
    [["--cases", "0x100"], '"0" is not an integer from 1 to 256'],
    [["--cases", "1x100,1x0100"], "1x100 is there twice"],
    [["--baseline", "mlx-lm"], "unknown option --baseline"],
  ])("refuses %j", (args, message) => {
    expect(() => parse(...args)).toThrow(UsageError);
    expect(() => parse(...args)).toThrow(message);
  });
});

describe("prompts", () => {
  test.each([
    { batch: 1, promptTokens: 100 },
    { batch: 3, promptTokens: 7 },
    { batch: 32, promptTokens: 100 },
  ])("of $batch x $promptTokens have the tokens that their name says", (one) => {
    const lengths = raggedLengths(one, 0);
    expect(lengths).toHaveLength(one.batch);
    expect(sum(lengths)).toBe(one.batch * one.promptTokens);
    expect(raggedLengths(one, 0)).toEqual(lengths);
  });

  test("differ in length, in no order", () => {
    const lengths = raggedLengths({ batch: 8, promptTokens: 100 }, 0);
    const sorted = lengths.toSorted((a, b) => a - b);
    expect(sorted).toEqual([56, 69, 81, 94, 106, 119, 131, 144]);
    expect(lengths).not.toEqual(sorted);
  });

  test("are cut from texts, which must be long enough", async () => {
    const words = async (text: string): Promise<number[]> => text.split(" ").map((word) => word.length);
    const prompts = await casePrompts({ batch: 2, promptTokens: 10 }, 0, words);
    expect(prompts.map((ids) => ids.length).toSorted((a, b) => a - b)).toEqual([7, 13]);
    await expect(casePrompts({ batch: 1, promptTokens: 10 }, 0, async () => [1])).rejects.toThrow(
      "a text of 1 tokens in place of 10",
    );
  });
});

const part = (atMs: number): Arrival => ({ atMs, tokens: 1, hasText: true });

/** One answer of these moments to a prompt of 100 tokens. */
const record = (...atMs: number[]): StreamRecord => ({
  ...recordOf(atMs.map(part), 0),
  promptTokens: 100,
  tokens: atMs.map((_, i) => i),
});

describe("figures", () => {
  test("tell prefill and decode apart", () => {
    const figures = figuresOf([record(100, 300, 400, 500), record(200, 300, 400, 500)]);
    expect(figures).toMatchObject({ prefillRate: 1000, throughput: 16, ttftMs: 150, decodeRate: 20 });
  });

  test("can have the prefill of another run", () => {
    const figures = figuresOf([record(200, 300, 400)], [record(100, 900)]);
    expect(figures).toMatchObject({ prefillRate: 1000, throughput: 10, ttftMs: 100, decodeRate: 10 });
  });

  test("have no decode rate where answers never ran at once, and need a token", () => {
    expect(figuresOf([record(100, 200), record(300, 400)]).decodeRate).toBeNull();
    expect(() => figuresOf([record()])).toThrow("without a token");
  });

  test("the best of several runs is the best of each figure", () => {
    const one = figuresOf([record(100, 500, 900)]);
    const two = figuresOf([record(300, 400, 500)]);
    expect(bestOf([one, two])).toEqual({
      decodeRate: two.decodeRate,
      prefillRate: one.prefillRate,
      throughput: two.throughput,
      ttftMs: 100,
      answers: one.answers,
    });
  });
});

/** Streams a token every 10 ms by a clock of its own; a new row waits for those before. */
class FakeWorker implements StreamClient {
  readonly name = "mlx-worker";
  readonly asked: number[] = [];
  #now = 0;

  async stream({ maxTokens }: LoadRequest, { signal, onArrival }: StreamOptions): Promise<StreamRecord> {
    this.asked.push(maxTokens);
    const arrivals: Arrival[] = [];
    while (arrivals.length < maxTokens) {
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
      this.#now += 10;
      arrivals.push(part(this.#now));
      onArrival?.(part(this.#now));
    }
    return { ...recordOf(arrivals, 0), promptTokens: 1, tokens: arrivals.map(() => 7) };
  }
}

describe("mlx-worker's cases", () => {
  test("one prompt takes its decode rate from its answer", async () => {
    const worker = new FakeWorker();
    const figures = await new WorkerCase("mlx-worker", worker, 5000).measure({
      prompts: [[1]],
      maxTokens: 8,
    });
    expect(worker.asked).toEqual([4, 8]);
    expect(figures.decodeRate).toBeCloseTo(100, 9);
  });

  test("several prompts decode long answers together until there is enough to see", async () => {
    const worker = new FakeWorker();
    const engine = new WorkerCase("kernels-off", worker, 5000);
    const figures = await engine.measure({ prompts: [[1], [2]], maxTokens: 8 });
    expect(worker.asked).toEqual([4, 4, 8, 8, 1024, 1024]);
    expect(figures.answers.map((tokens) => tokens.length)).toEqual([8, 8]);
    expect(figures.decodeRate).toBeGreaterThan(50);
  });

  test("a failure is not taken for the end", async () => {
    const failing: StreamClient = {
      name: "mlx-worker",
      stream: async () => {
        throw new Error("no memory");
      },
    };
    const engine = new WorkerCase("mlx-worker", failing, 5000);
    await expect(engine.measure({ prompts: [[1]], maxTokens: 8 })).rejects.toThrow("no memory");
  });
});

const runOf = (changes: Partial<CaseRun>): CaseRun => ({
  engine: "mlx-worker",
  round: 0,
  batch: 1,
  promptTokens: 100,
  decodeRate: 100,
  prefillRate: 500,
  throughput: 60,
  ttftMs: 200,
  answers: [[1, 2, 3, 4]],
  ...changes,
});

const RUNS: CaseRun[] = [
  runOf({}),
  runOf({ engine: "mlx-lm", decodeRate: 20 }),
  runOf({ engine: "node-llama-cpp", decodeRate: 80, ttftMs: 400, answers: [[1, 2, 9, 4]] }),
  runOf({ engine: "node-llama-cpp", round: 1, decodeRate: 100, ttftMs: 200, answers: [[1, 2, 9, 4]] }),
  runOf({ engine: "mlx-lm", round: 1, decodeRate: 25, ttftMs: null }),
  runOf({ round: 1, decodeRate: 110, ttftMs: 300 }),
];

describe("summary", () => {
  const cases = summarizeCases(RUNS);

  test("has ratios within a round, and engines in the order of the first one", () => {
    const [one] = cases;
    expect(Object.keys(one?.engines ?? {})).toEqual(["mlx-worker", "mlx-lm", "node-llama-cpp"]);
    expect(one?.engines["mlx-worker"]?.decodeRate?.values).toEqual([100, 110]);
    expect(one?.ratios["node-llama-cpp"]?.decodeRate?.values).toEqual([1.25, 1.1]);
    expect(one?.ratios["node-llama-cpp"]?.ttftMs?.values).toEqual([0.5, 1.5]);
    expect(one?.ratios["mlx-lm"]?.ttftMs).toBeNull();
  });

  test("targets depend on the instructions, and are those of what was measured", () => {
    const met = (avx512: boolean) =>
      checkTargets(cases, avx512).map(({ engine, figure, met: ok }) => [engine, figure, ok]);
    expect(met(false)).toEqual([
      ["mlx-lm", "decodeRate", true],
      ["node-llama-cpp", "decodeRate", true],
      ["node-llama-cpp", "ttftMs", true],
    ]);
    expect(met(true)[0]).toEqual(["mlx-lm", "decodeRate", false]);
  });

  test("tokens agree up to the first that differs", () => {
    const agreement = summarizeAgreement(RUNS);
    expect(agreement["mlx-lm"]).toEqual({ answers: 2, identical: 2, firstTokens: 2, share: 1 });
    expect(agreement["node-llama-cpp"]).toEqual({ answers: 2, identical: 0, firstTokens: 2, share: 0.5 });
    expect(agreementLines(agreement).join("\n")).not.toContain("✗");
    const garbage = summarizeAgreement([runOf({}), runOf({ engine: "mlx-lm", answers: [[5, 5, 5, 5]] })]);
    expect(agreementLines(garbage).join("\n")).toContain("✗ too few");
  });

  test("shows in tables and as a chart", () => {
    const lines = caseLines(cases).join("\n");
    expect(lines).toContain("Decode, all answers (tok/s)");
    expect(lines).toContain("105.0 ± 5.0");
    expect(lines).toContain("1.175× ± 0.075");
    expect(targetLines(checkTargets(cases, false)).join("\n")).toContain("≥ 4.0×");
    expect(runLine(runOf({ decodeRate: null, ttftMs: null }))).toContain("never decoded at once");
    expect(cpuPoints(cases)).toHaveLength(6);
    const spec = cpuSpec({
      options: { model: "m", maxTokens: 64, rounds: 2 },
      machine: { cpu: "c", cores: 2, memoryBytes: 1, os: "o", node: "n" },
      timestamp: "2025-01-01T00:00:00.000Z",
      cases,
    });
    expect(JSON.stringify(spec)).toContain("node-llama-cpp");
  });
});

test("numbers of threads are the best of each figure's medians", () => {
  const sample = (threads: number, ttftMs: number, decodeRate: number, batch: number): ThreadSample => ({
    threads,
    alone: { ttftMs, decodeRate },
    batch: { decodeRate: batch },
  });
  const samples = [
    sample(1, 500, 80, 90),
    sample(2, 300, 60, 95),
    sample(1, 520, 82, 99),
    sample(2, 290, 95, 97),
  ];
  expect(bestThreads(samples)).toEqual({ prefill: 2, decode: 1, batch: 2 });
  expect([1, 2, 12].map((cores) => llamaThreadCounts(cores))).toEqual([[1], [1, 2], [1, 2, 4, 8, 12]]);
});

test("conditions come from what Linux tells", () => {
  expect(instructionsOf("model name\t: x\nflags\t\t: fpu avx2 sse avx512f\nbugs\t: avx512_vnni\n")).toEqual([
    "avx2",
    "avx512f",
  ]);
  expect(instructionsOf("")).toEqual([]);
  expect(sessionNiceness("1\n", "/autogroup-52 nice -20\n")).toBe(-20);
  expect(sessionNiceness("0\n", "/autogroup-52 nice 0\n")).toBeNull();
  expect(conditionsLine({ instructions: ["avx2"], niceness: 0, sessionNiceness: 5, load: 1 })).toContain(
    "avx2, nice 0, its session's 5, load 1.0",
  );
});
