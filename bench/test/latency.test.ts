import { describe, expect, test } from "vitest";
import { parseFlags, UsageError } from "../lib/flags.js";
import { LATENCY_FLAGS, type LatencyOptions } from "../lib/latency/args.js";
import { latencyPoints, latencySpec } from "../lib/latency/chart.js";
import { type ConcurrentRun, measureConcurrent, summarizeConcurrent } from "../lib/latency/concurrent.js";
import { figures, measureLongPrompt, RowWatch } from "../lib/latency/long-prompt.js";
import { capacityOf, measurePoisson, type PoissonRun, summarizePoisson } from "../lib/latency/poisson.js";
import { concurrentLines, longPromptLines, poissonLines } from "../lib/latency/report.js";
import type { Arrival, LoadRequest, StreamClient, StreamOptions, StreamRecord } from "../lib/load/stream.js";
import { recordOf } from "./support.js";

const parse = (...args: string[]): LatencyOptions => parseFlags(args, LATENCY_FLAGS);

const at = (atMs: number, tokens: number | null = 1): Arrival => ({ atMs, tokens, hasText: true });

describe("command line", () => {
  test("has all scenarios and derived rates, and takes others", () => {
    expect(parse()).toMatchObject({
      scenarios: ["poisson", "long-prompt", "concurrent-ttft"],
      rates: "auto",
      streams: 8,
      longPrompt: 2000,
    });
    expect(parse("--scenarios", "poisson", "--rates", "0.5,2")).toMatchObject({
      scenarios: ["poisson"],
      rates: [0.5, 2],
    });
    expect(parse("--rates", "auto").rates).toBe("auto");
  });

  test.each([
    [["--scenarios", "burst"], '"burst" is not one of poisson, long-prompt, concurrent-ttft'],
    [["--rates", "0"], '"0" is not a number from 0.001'],
    [["--rates", "fast"], "accepted besides: auto"],
  ])("refuses %j", (args, message) => {
    expect(() => parse(...args)).toThrow(UsageError);
    expect(() => parse(...args)).toThrow(message);
  });
});

const poissonRun = (changes: Partial<PoissonRun>): PoissonRun => ({
  engine: "mlx-worker",
  cycle: 0,
  rate: 1,
  requests: 2,
  wallMs: 1000,
  ttftMs: [10, 20],
  interTokenMs: [5, 5],
  totalMs: [50, 60],
  queueMs: [1, 2],
  promptTokens: 10,
  failures: [],
  ...changes,
});

/** Answers at once, with one part a token and a text, except to requests that it is to refuse. */
class QuickClient implements StreamClient {
  readonly seen: LoadRequest[] = [];

  constructor(
    readonly name: "mlx-worker" | "mlx-lm" = "mlx-worker",
    readonly refused: readonly number[] = [],
  ) {}

  async stream(request: LoadRequest, { onArrival }: StreamOptions): Promise<StreamRecord> {
    this.seen.push(request);
    if (this.refused.includes(request.index)) throw new Error("queue full");
    const now = performance.now();
    const arrivals = [at(now), at(now + 4)];
    for (const arrival of arrivals) onArrival?.(arrival);
    return { ...recordOf(arrivals, now - 6), queueMs: 2 };
  }
}

const requests: LoadRequest[] = [0, 1, 2].map((index) => ({ index, prompt: "p", maxTokens: 2 }));

describe("poisson", () => {
  test("measures from the planned arrival and counts failures", async () => {
    const ended: number[] = [];
    // So many a second that no time passes between them.
    const run = await measurePoisson(new QuickClient("mlx-worker", [1]), requests, 100_000, 1, 60_000, (n) =>
      ended.push(n),
    );
    expect(run).toMatchObject({
      rate: 100_000,
      requests: 3,
      interTokenMs: [4, 4],
      queueMs: [2, 2],
      promptTokens: 6,
    });
    expect(run.ttftMs).toHaveLength(2);
    for (const [i, total] of run.totalMs.entries()) expect(total - (run.ttftMs[i] ?? 0)).toBeCloseTo(4, 9);
    expect(run.failures).toEqual([{ index: 1, error: "queue full" }]);
    expect(ended).toEqual([1, 2, 3]);
  });

  test("a capacity comes from answers, not from refusals", async () => {
    expect(await capacityOf(new QuickClient(), requests, 2, 60_000)).toBeGreaterThan(0);
    await expect(capacityOf(new QuickClient("mlx-worker", [2]), requests, 2, 60_000)).rejects.toThrow(
      "queue full",
    );
  });

  test("is summed up by rate, ratios within a cycle", () => {
    const runs = [
      poissonRun({ rate: 2 }),
      poissonRun({}),
      poissonRun({ engine: "mlx-lm", ttftMs: [20, 40], interTokenMs: [10, 10], queueMs: [] }),
      poissonRun({ cycle: 1, ttftMs: [30, 60] }),
      poissonRun({ cycle: 1, engine: "mlx-lm", ttftMs: [30, 60], queueMs: [] }),
    ];
    const [one, two] = summarizePoisson(runs);
    expect([one?.rate, two?.rate]).toEqual([1, 2]);
    expect(one?.ratios?.ttftP50.values).toEqual([0.5, 1]);
    expect(one?.ratios?.interTokenP99.values).toEqual([0.5, 1]);
    expect(one?.engines["mlx-lm"]?.queue).toBeNull();
    expect(one?.engines["mlx-worker"]?.ttft).toMatchObject({ count: 4, median: 25 });
    expect(two?.ratios).toBeNull();
    expect(poissonLines(one ? [one] : []).join("\n")).toContain("0.750× ± 0.250");
  });

  test("has no ratios when a request failed", () => {
    const failed = poissonRun({ engine: "mlx-lm", failures: [{ index: 0, error: "no" }] });
    expect(summarizePoisson([poissonRun({}), failed])[0]?.ratios).toBeNull();
  });
});

describe("RowWatch", () => {
  test("leaves out what was before all rows decoded, and counts gaps that lie partly in a time", () => {
    const watch = new RowWatch(2);
    for (const ms of [0, 10, 20, 30, 60, 70]) watch.add(0, at(ms));
    for (const ms of [15, 25, 35, 65]) watch.add(1, at(ms));
    expect(watch.gaps(0, Number.POSITIVE_INFINITY)).toEqual([10, 30, 10, 10, 10, 30]);
    expect(watch.gaps(40, 62)).toEqual([30, 10, 30]);
    expect(watch.gaps(0, 20)).toEqual([10]);
  });

  test("has no gaps while a row has not begun", () => {
    const watch = new RowWatch(2);
    for (const ms of [0, 10]) watch.add(0, at(ms));
    expect(watch.gaps(0, 100)).toEqual([]);
  });

  test("waits for all rows, counting tokens and not held-back text", async () => {
    const watch = new RowWatch(2);
    let done = false;
    const wait = watch.more(1).then(() => {
      done = true;
    });
    for (const [row, part] of [
      [0, at(1)],
      [0, at(2)],
      [1, at(1)],
      [1, at(2, 0)],
    ] as const)
      watch.add(row, part);
    await Promise.resolve();
    expect(done).toBe(false);
    watch.add(1, at(3));
    await wait;
  });

  test("a row that ends fails the wait", async () => {
    const watch = new RowWatch(1);
    watch.fail(new Error("row 1 ended"));
    await expect(watch.more(1)).rejects.toThrow("row 1 ended");
  });
});

describe("long prompt", () => {
  test("the ratio is P99 beside it by the median alone", () => {
    expect(figures([10, 20, 30], [40, 40]).ratio).toBe(2);
  });

  test("rows that end before they share steps are an error, not a figure", async () => {
    const client = new QuickClient();
    const [long] = requests;
    await expect(measureLongPrompt(client, requests, long as LoadRequest, 60_000)).rejects.toThrow(
      "came to its end before all rows and the long prompt had shared steps",
    );
  });

  test("measures the rows before and beside the prompt, and ends them", async () => {
    const client = new SteppedClient();
    const rows = requests.slice(0, 2);
    const run = await measureLongPrompt(client, rows, { index: 9, prompt: "long", maxTokens: 2 }, 60_000);
    expect(run).toMatchObject({ engine: "mlx-worker", rows: 2, promptTokens: 3 });
    // The row that began last counts from its first part, the other one from then on.
    expect(run.undisturbed.count).toBeGreaterThanOrEqual(24);
    expect(run.disturbed.count).toBeGreaterThanOrEqual(2);
    expect(client.aborted).toBe(2);
    expect(longPromptLines([{ ...run, cycle: 0 }]).join("\n")).toContain("×");
  });
});

/** Rows decode for ever, a part each turn of the event loop; the long prompt ends after a few turns. */
class SteppedClient implements StreamClient {
  readonly name = "mlx-worker";
  aborted = 0;

  async stream({ prompt }: LoadRequest, { signal, onArrival }: StreamOptions): Promise<StreamRecord> {
    const sentMs = performance.now();
    const parts: Arrival[] = [];
    for (let turn = 0; prompt !== "long" || turn < 5; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (signal.aborted) {
        this.aborted++;
        throw signal.reason;
      }
      const part = at(performance.now());
      parts.push(part);
      onArrival?.(part);
    }
    return recordOf(parts.slice(-1), sentMs);
  }
}

describe("concurrent streams", () => {
  test("every engine gets the same prompts at once, new ones in each round", async () => {
    const clients = [new QuickClient(), new QuickClient("mlx-lm")];
    const load = { streams: 2, rounds: 3, maxTokens: 4, seed: 1 };
    const runs = await measureConcurrent(clients, load, 0, 60_000);
    const [own, other] = clients.map(({ seen }) => seen.map(({ prompt }) => prompt));
    expect(own).toEqual(other);
    expect(new Set(own).size).toBe(8);
    for (const { ttftMs } of runs) {
      expect(ttftMs).toHaveLength(6);
      for (const ms of ttftMs) expect(ms).toBeCloseTo(6, 9);
    }
  });

  test("compares the P95 within a cycle, unless something failed", () => {
    const run = (engine: ConcurrentRun["engine"], cycle: number, ms: number): ConcurrentRun => ({
      engine,
      cycle,
      ttftMs: [ms],
      failures: [],
    });
    const runs = [
      run("mlx-worker", 0, 3),
      run("mlx-lm", 0, 10),
      run("mlx-worker", 1, 2),
      run("mlx-lm", 1, 10),
    ];
    expect(summarizeConcurrent(runs).ttftP95Ratio?.values).toEqual([0.3, 0.2]);
    expect(concurrentLines(summarizeConcurrent(runs), 8).join("\n")).toContain("TTFT P95 0.250×");
    const failed = [...runs.slice(0, 1), { ...run("mlx-lm", 0, 1), failures: ["no"] }];
    expect(summarizeConcurrent(failed)).toMatchObject({
      ttftP95Ratio: null,
      engines: { "mlx-lm": { failed: 1 } },
    });
    expect(summarizeConcurrent(runs.slice(0, 1)).ttftP95Ratio).toBeNull();
  });
});

test("the chart has a point for every percentile of every load", () => {
  const poisson = summarizePoisson([poissonRun({})]);
  const longPrompt = [
    { engine: "mlx-worker" as const, cycle: 0, rows: 8, promptTokens: 9, ttftMs: 1, ...figures([1, 2], [3]) },
  ];
  const concurrent = summarizeConcurrent([{ engine: "mlx-lm", cycle: 0, ttftMs: [1], failures: [] }]);
  expect(latencyPoints({ poisson, longPrompt, concurrent })).toHaveLength(5 * 3);
  const machine = { cpu: "c", cores: 2, memoryBytes: 1, os: "o", node: "n" };
  const chart = { options: { model: "m", cycles: 1 }, machine, timestamp: "2025-01-01T00:00:00.000Z" };
  const spec = latencySpec({ ...chart, poisson, longPrompt: [], concurrent: null });
  expect(JSON.stringify(spec)).toContain("Time to first token (ms)");
});
