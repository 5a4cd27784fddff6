import { afterAll, beforeAll, expect, test } from "vitest";
import { ChatSession, type Engine, type RuntimeStats } from "../../src/index.js";
import { loadTestModel, realEngine } from "./real-engine.js";

let engine: Engine;

beforeAll(async () => {
  engine = realEngine();
  await loadTestModel(engine);
});

afterAll(() => engine.close());

const number = expect.any(Number);
const boolean = expect.any(Boolean);
const summary = { p50: number, p95: number, p99: number, count: number };
const rates = { "5s": number, "30s": number, "60s": number };

test("stats has the figures that its type says, and no others", async () => {
  await engine.generate({ model: "smollm2", prompt: "Once", maxTokens: 4 });
  const stats = await engine.stats();
  const { prefixCache, speculative, ...figures } = stats;
  expect(figures).toEqual({
    latencyMs: { queue: summary, ttft: summary, interToken: summary, total: summary },
    throughput: rates,
    requestsPerSecond: rates,
    batch: { rows: number, maxRows: number, windowMs: number, sizes: expect.any(Object) },
    requests: {
      submitted: number,
      rejected: number,
      completed: number,
      cancelled: number,
      timedOut: number,
      failed: number,
      preempted: number,
      active: number,
      queued: number,
    },
    tokens: { prompt: number, completion: number },
    stepsTotal: number,
    fastPathTotal: number,
    degradationsTotal: number,
    recoveriesTotal: number,
    tuner: {
      enabled: boolean,
      targetMs: number,
      p99Ms: number,
      p99AverageMs: number,
      rowLimit: number,
      degraded: boolean,
      prefillBudgetTokens: number,
      adjustments: number,
    },
    memory: { limitBytes: number, weightsBytes: number, reservedBytes: number },
    uptimeMs: number,
  } satisfies Omit<RuntimeStats, "prefixCache" | "speculative">);
  for (const feature of [prefixCache, speculative]) expect(feature).toHaveProperty("enabled", boolean);
  expect(stats.memory.weightsBytes).toBeGreaterThan(0);
  expect(Object.keys(stats.batch.sizes)).toContain("1");
});

test("health and models", async () => {
  const { pid } = await engine.runtimeInfo();
  const health = await engine.healthCheck();
  expect(health).toMatchObject({
    status: "healthy",
    worker: "running",
    pid,
    loadedModels: 1,
    activeStreams: 0,
  });
  expect(await engine.listModels()).toEqual([{ modelId: "smollm2", state: "ready", type: "text" }]);
});

test("countTokens counts what is prefilled", async () => {
  const messages = [{ role: "user", content: "What is the capital of France?" }];
  const { usage } = await engine.chat(messages, { model: "smollm2", maxTokens: 1 });
  expect(await engine.countTokens({ model: "smollm2", messages })).toBe(usage.promptTokens);
  const text = "Once upon a time";
  const { tokens } = await engine.tokenize({ model: "smollm2", text });
  expect(await engine.countTokens({ model: "smollm2", text })).toBe(tokens.length);
});

test("a chat session's second answer knows the first", async () => {
  const chat = new ChatSession(engine, { model: "smollm2", temperature: 0, maxTokens: 16 });
  const first = await chat.send("My name is Ada. Say hello.");
  const second = await chat.send("What is my name?");
  expect(second.usage.promptTokens).toBeGreaterThan(first.usage.promptTokens + first.usage.completionTokens);
  expect(chat.messages).toEqual([
    { role: "user", content: "My name is Ada. Say hello." },
    { role: "assistant", content: first.text },
    { role: "user", content: "What is my name?" },
    { role: "assistant", content: second.text },
  ]);
});

test("the text of a generation as the body of a response", async () => {
  const generation = engine.generate({ model: "smollm2", prompt: "Once", maxTokens: 8, temperature: 0 });
  const body = await new Response(generation.toReadableStream({ format: "bytes" })).text();
  expect(body).toBe((await generation).text);
  expect(body).not.toBe("");
});
