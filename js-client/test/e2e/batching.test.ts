import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Engine, QueueFullError } from "../../src/index.js";
import { rejection } from "../fake/fake-engine.js";
import { ROOT } from "./paths.js";
import { expectServes, loadTestModel, realEngine } from "./real-engine.js";

interface Golden {
  readonly margin_threshold: number;
  readonly cases: readonly {
    readonly prompt_ids: readonly number[];
    readonly token_ids: readonly number[];
    readonly margins: readonly number[];
  }[];
}

/** What mlx-lm answers; see parity/README.md. */
const golden = JSON.parse(readFileSync(`${ROOT}/parity/smollm2_greedy.json`, "utf8")) as Golden;

/** The tokens that rounding cannot change: those before the first step with a small margin. */
function certain(answer: Golden["cases"][number]): readonly number[] {
  const doubtful = answer.margins.findIndex((margin) => margin < golden.margin_threshold);
  return doubtful < 0 ? answer.token_ids : answer.token_ids.slice(0, doubtful);
}

const model = "smollm2";

describe("requests that share steps", () => {
  let engine: Engine;

  beforeAll(async () => {
    engine = realEngine();
    await loadTestModel(engine);
  });

  afterAll(() => engine.close());

  test("get the tokens of mlx-lm's single runs", async () => {
    const twice = [...golden.cases, ...golden.cases];
    const results = await Promise.all(
      twice.map(({ prompt_ids, token_ids }) =>
        engine.generate({
          model,
          prompt: { tokens: [...prompt_ids] },
          temperature: 0,
          maxTokens: token_ids.length,
        }),
      ),
    );
    for (const [i, answer] of twice.entries()) {
      const expected = certain(answer);
      expect(expected.length, `case ${i}`).toBeGreaterThan(0);
      expect(results[i]?.tokens.slice(0, expected.length), `case ${i}`).toEqual(expected);
    }
    const { batch } = await engine.stats();
    expect(Math.max(...Object.keys(batch.sizes).map(Number))).toBeGreaterThanOrEqual(8);
  });

  test("a seed gives the same tokens alone and beside others, whose options differ", async () => {
    const sampled = {
      model,
      prompt: "Once upon a time",
      temperature: 0.9,
      topP: 0.95,
      seed: 7,
      maxTokens: 16,
    };
    const alone = await engine.generate(sampled);
    const others = [
      { temperature: 0 },
      { temperature: 1.2, minP: 0.05, seed: 1 },
      { temperature: 0.8, topK: 20, repetitionPenalty: 1.2, seed: 2 },
      { temperature: 0, logitBias: { 28: -100 }, logprobs: true, topLogprobs: 2 },
      { temperature: 1, xtcProbability: 0.5, presencePenalty: 0.5, frequencyPenalty: 0.5, seed: 3 },
    ].map((options, i) => engine.generate({ model, prompt: `Chapter ${i}:`, maxTokens: 12 + i, ...options }));
    const [beside, ...rest] = await Promise.all([engine.generate(sampled), ...others]);
    expect(beside.tokens).toEqual(alone.tokens);
    expect(rest[3]?.tokens).not.toContain(28);
    expect(rest[3]?.logprobs?.every(({ top }) => top?.length === 2)).toBe(true);
  });

  test("a reader that stops reading does not stall the others", async () => {
    const unread = engine.generate({ model, prompt: "One", temperature: 0, maxTokens: 48, ignoreEos: true });
    const iterator = unread[Symbol.asyncIterator]();
    await iterator.next();
    const others = await Promise.all(
      [2, 3, 4].map((n) =>
        engine.generate({ model, prompt: `Count to ${n}:`, temperature: 0, maxTokens: 8 }),
      ),
    );
    expect(others.every(({ tokens }) => tokens.length > 0)).toBe(true);
    expect((await unread).usage.completionTokens).toBe(48);
  });

  test("a long prompt is cancelled in its middle, and the others go on", async () => {
    const running = engine.generate({
      model,
      prompt: "Go on:",
      temperature: 0,
      maxTokens: 24,
      ignoreEos: true,
    });
    const controller = new AbortController();
    const long = engine.generate(
      { model, prompt: { tokens: Array.from({ length: 1800 }, (_, i) => 100 + i) }, maxTokens: 4 },
      { signal: controller.signal },
    );
    await engine.ping();
    controller.abort();
    expect(await rejection(long)).toBe(controller.signal.reason);
    expect((await running).usage.completionTokens).toBe(24);
    await expectServes(engine);
    await expect.poll(async () => (await engine.runtimeState()).activeStreams, { timeout: 20_000 }).toBe(0);
  });
});

describe("a full queue", () => {
  test("refuses with a typed error and serves what it has admitted", async () => {
    const engine = realEngine({ env: { MLX_MAX_QUEUE: "5", MLX_GPU_SCHEDULER: "off" } });
    try {
      await loadTestModel(engine);
      const results = await Promise.allSettled(
        Array.from({ length: 20 }, (_, i) =>
          engine.generate({ model, prompt: `Say ${i}:`, temperature: 0, maxTokens: 4, ignoreEos: true }),
        ),
      );
      const refused = results.filter((result) => result.status === "rejected");
      expect(refused.length).toBeGreaterThan(0);
      expect(results.length - refused.length).toBeGreaterThanOrEqual(6);
      for (const { reason } of refused) {
        expect(reason).toBeInstanceOf(QueueFullError);
        expect(reason.data).toMatchObject({ limit: 5 });
      }
      for (const result of results) {
        if (result.status === "fulfilled") expect(result.value.tokens).toHaveLength(4);
      }
    } finally {
      await engine.close();
    }
  });
});

describe("metrics over HTTP", () => {
  /** A port that was free a moment ago. */
  const freePort = (): Promise<number> =>
    new Promise((resolve, reject) => {
      const server = createServer().once("error", reject);
      server.listen(0, "127.0.0.1", () => {
        const { port } = server.address() as { port: number };
        server.close(() => resolve(port));
      });
    });

  test("are served while the worker lives, and a taken port is no failure", async () => {
    const port = await freePort();
    const env = { MLX_METRICS_EXPORT: "on", MLX_METRICS_PORT: String(port) };
    const get = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${port}${path}`);
    const engine = realEngine({ env });
    const second = realEngine({ env });
    try {
      await engine.ping();
      expect((await get("/health")).status).toBe(200);
      expect((await get("/ready")).status).toBe(503);
      await loadTestModel(engine);
      expect((await get("/ready")).status).toBe(200);
      await engine.generate({ model, prompt: "Hello", temperature: 0, maxTokens: 4, ignoreEos: true });
      const metrics = await (await get("/metrics")).text();
      for (const name of ["mlx_latency_p99_milliseconds", "mlx_batch_size_current", "mlx_queue_depth"]) {
        expect(metrics).toMatch(new RegExp(`^${name} [\\d.]+$`, "m"));
      }
      expect((await (await get("/stats")).json()) as object).toHaveProperty("latency");
      expect((await get("/other")).status).toBe(404);
      await second.ping(); // its port is taken
    } finally {
      await Promise.all([engine.close(), second.close()]);
    }
    expect(await rejection(get("/health"))).toBeInstanceOf(TypeError);
  });
});
