import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Engine, GenerateChunk, LoadProgress, ModelHandle } from "../../src/index.js";
import { collect, rejection } from "../fake/fake-engine.js";
import { MODEL_FILE } from "./paths.js";
import { loadTestModel, realEngine } from "./real-engine.js";

let engine: Engine;
let model: ModelHandle;
const progress: LoadProgress[] = [];

beforeAll(async () => {
  engine = realEngine();
  model = await engine.loadModel(
    { model: "smollm2", localPath: MODEL_FILE },
    { onProgress: (step) => progress.push(step) },
  );
});

afterAll(() => engine.close());

const GREEDY = { model: "smollm2", temperature: 0 };
const FRANCE = [{ role: "user", content: "What is the capital of France?" }];

describe("loadModel", () => {
  test("describes the model", () => {
    expect(model).toMatchObject({
      modelId: "smollm2",
      state: "ready",
      architecture: "llama",
      vocabSize: 49152,
      chatTemplate: true,
      cached: false,
    });
    expect(model.contextLength).toBeGreaterThanOrEqual(2048);
    expect(model.parameterCount).toBeGreaterThan(130_000_000);
    expect(model.parameterCount).toBeLessThan(170_000_000);
    expect(model.sizeBytes).toBeGreaterThan(50_000_000);
    expect(model.eosTokenIds).toContain(2);
    expect(model.loadMs).toBeGreaterThan(0);
    expect(model.dtype).toBeTypeOf("string");
  });

  test("reports progress up to the whole file", () => {
    expect(progress.map((step) => step.modelId)).toContain("smollm2");
    const read = progress.filter((step) => step.phase === "read");
    expect(read.at(-1)?.loadedBytes).toBe(read.at(-1)?.totalBytes);
  });

  test("loading it again returns the loaded model", async () => {
    expect(await loadTestModel(engine)).toEqual({ ...model, cached: true });
  });

  test("a second id is a second model, which can be unloaded while the first one goes on", async () => {
    const other = await engine.loadModel({ model: "other", localPath: MODEL_FILE, contextLength: 128 });
    expect(other.contextLength).toBe(128);
    const ids = (await engine.runtimeState()).loadedModels.map(({ modelId }) => modelId);
    expect(ids.sort()).toEqual(["other", "smollm2"]);
    const both = await Promise.all(
      [other, model].map((ref) => engine.generate({ ...GREEDY, model: ref, messages: FRANCE, maxTokens: 8 })),
    );
    expect(both[0]?.tokens).toEqual(both[1]?.tokens);
    const { success, freedBytes } = await engine.unloadModel(other);
    expect(success).toBe(true);
    expect(freedBytes).toBeGreaterThan(0);
    expect(await rejection(engine.generate({ model: other, prompt: "p" }))).toMatchObject({
      kind: "ModelNotLoaded",
    });
  });
});

describe("generate", () => {
  test("answers a question", async () => {
    const result = await engine.generate({ ...GREEDY, messages: FRANCE, maxTokens: 32 });
    expect(result.text).toContain("Paris");
    expect(result.finishReason).toBe("stop");
    expect(result.stopTokenId).toBe(2);
    expect(result.usage.completionTokens).toBe(result.tokens.length);
    expect(result.usage.promptTokens).toBeGreaterThan(5);
    for (const key of ["prefillMs", "ttftMs", "totalMs", "tokensPerSecond"] as const) {
      expect(result.timings[key], key).toBeGreaterThan(0);
    }
    expect(result.timings.queueMs).toBeGreaterThanOrEqual(0);
    expect(result.timings.totalMs).toBeGreaterThanOrEqual(result.timings.ttftMs);
  });

  test("its chunks are its result, in order", async () => {
    const generation = engine.generate({ ...GREEDY, messages: FRANCE, maxTokens: 16 });
    const chunks: GenerateChunk[] = await collect(generation);
    const result = await generation;
    expect(chunks.map((chunk) => chunk.index)).toEqual(chunks.map((_, i) => i));
    expect(chunks.map((chunk) => chunk.text).join("")).toBe(result.text);
    expect(chunks.flatMap((chunk) => chunk.tokenIds)).toEqual(result.tokens);
    expect(chunks.length).toBeGreaterThan(1);
  });

  test("greedy decoding is repeatable, alone and beside others", async () => {
    const run = () => engine.generate({ ...GREEDY, prompt: "The sky is", maxTokens: 12 });
    const alone = await run();
    const together = await Promise.all([run(), run(), run()]);
    for (const result of together) expect(result.tokens).toEqual(alone.tokens);
    expect(alone.finishReason).toBe("length");
    expect(alone.tokens).toHaveLength(12);
  });

  test("a seed makes sampling repeatable", async () => {
    const run = (seed: number) =>
      engine.generate({ model, prompt: "Once upon a time", maxTokens: 16, temperature: 1, topP: 0.95, seed });
    const [first, again, other] = await Promise.all([run(1), run(1), run(2)]);
    expect(again.tokens).toEqual(first.tokens);
    expect(other.tokens).not.toEqual(first.tokens);
  });

  test("a prompt of token ids is used as it is", async () => {
    const { tokens } = await engine.tokenize({ model, text: "The sky is" });
    const fromIds = await engine.generate({ ...GREEDY, prompt: { tokens }, maxTokens: 8 });
    const fromText = await engine.generate({ ...GREEDY, prompt: "The sky is", maxTokens: 8 });
    expect(fromIds.tokens).toEqual(fromText.tokens);
    expect(fromIds.usage.promptTokens).toBe(tokens.length);
  });

  test("a stop sequence ends the text before it", async () => {
    const whole = await engine.generate({ ...GREEDY, messages: FRANCE, maxTokens: 32 });
    const cut = await engine.generate({
      ...GREEDY,
      messages: FRANCE,
      maxTokens: 32,
      stopSequences: ["Paris"],
    });
    expect(cut).toMatchObject({ finishReason: "stop", stopSequence: "Paris" });
    expect(cut.text).toBe(whole.text.slice(0, whole.text.indexOf("Paris")));
  });

  test("log probabilities belong to the tokens", async () => {
    const { tokens, logprobs } = await engine.generate({
      ...GREEDY,
      prompt: "The sky is",
      maxTokens: 4,
      logprobs: true,
      topLogprobs: 3,
    });
    expect(logprobs?.map(({ tokenId }) => tokenId)).toEqual(tokens);
    for (const entry of logprobs ?? []) {
      expect(entry.logprob).toBeLessThanOrEqual(0);
      expect(entry.top).toHaveLength(3);
      expect(entry.top?.[0]?.tokenId).toBe(entry.tokenId);
    }
  });

  test("stream: false delivers one chunk", async () => {
    const generation = engine.generate({ ...GREEDY, prompt: "The sky is", maxTokens: 8, stream: false });
    const chunks = await collect(generation);
    expect(chunks).toHaveLength(1);
    expect(chunks[0]?.tokenIds).toHaveLength(8);
  });

  test("a time limit ends with what there is", async () => {
    const result = await engine.generate(
      { model, prompt: "Once", maxTokens: 2000, ignoreEos: true },
      { timeoutMs: 300 },
    );
    expect(result.finishReason).toBe("timeout");
    expect(result.tokens.length).toBeLessThan(2000);
  });

  test("16 concurrent generations finish", async () => {
    const results = await Promise.all(
      Array.from({ length: 16 }, (_, i) =>
        engine.generate({ ...GREEDY, prompt: `Item ${i}:`, maxTokens: 8, ignoreEos: true }),
      ),
    );
    for (const result of results) expect(result.tokens).toHaveLength(8);
  });
});

test("createGenerator yields tokens and then metadata", async () => {
  const chunks = await collect(
    engine.createGenerator({ model_id: "smollm2", messages: FRANCE, temperature: 0, max_tokens: 32 }),
  );
  const tokens = chunks.filter((chunk) => chunk.type === "token");
  expect(tokens.at(-1)?.cumulativeText).toContain("Paris");
  expect(tokens.map(({ token }) => token).join("")).toBe(tokens.at(-1)?.cumulativeText);
  const last = chunks.at(-1);
  expect(last).toMatchObject({ type: "metadata", stats: { modelId: "smollm2", finishReason: "stop" } });
  if (last?.type !== "metadata") throw new Error("no metadata");
  expect(last.stats.tokensGenerated).toBe(tokens.filter(({ tokenId }) => tokenId !== undefined).length);
  expect(last.stats.timeToFirstToken).toBeLessThan(last.stats.totalTime);
});

test("batchGenerate: each item succeeds or fails alone", async () => {
  const outcomes = await Promise.allSettled(
    engine.batchGenerate([
      { ...GREEDY, prompt: "The sky is", maxTokens: 4 },
      { ...GREEDY, model: "nobody", prompt: "p" },
      { ...GREEDY, prompt: "The sea is", maxTokens: 4 },
    ]),
  );
  expect(outcomes).toMatchObject([
    { status: "fulfilled", value: { finishReason: "length" } },
    { status: "rejected", reason: { kind: "ModelNotLoaded" } },
    { status: "fulfilled", value: { finishReason: "length" } },
  ]);
});

describe("text", () => {
  test("tokens become their text again", async () => {
    const text = "naïve 🦙 — 日本語\n\tcode();";
    const { tokens, tokenStrings, count } = await engine.tokenize({
      model,
      text,
      addSpecialTokens: false,
      strings: true,
    });
    expect(count).toBe(tokens.length);
    expect(tokenStrings).toHaveLength(count);
    expect(await engine.detokenize({ model, tokens })).toBe(text);
    const texts = [text, "plain", ""];
    const batch = await engine.batchTokenize({ model, texts, addSpecialTokens: false });
    expect(batch[0]?.tokens).toEqual(tokens);
    expect(batch.map((item) => item.count)).toEqual([count, 1, 0]);
  });

  test("the chat template renders to text and to its tokens", async () => {
    const text = await engine.applyChatTemplate({ model, messages: FRANCE });
    expect(text).toContain("<|im_start|>user\nWhat is the capital of France?<|im_end|>\n");
    expect(text.endsWith("<|im_start|>assistant\n")).toBe(true);
    const tokens = await engine.applyChatTemplate({ model, messages: FRANCE, tokenize: true });
    expect(tokens).toEqual((await engine.tokenize({ model, text, addSpecialTokens: false })).tokens);
    const bare = await engine.applyChatTemplate({ model, messages: FRANCE, addGenerationPrompt: false });
    expect(text.startsWith(bare)).toBe(true);
    expect(bare.length).toBeLessThan(text.length);
  });
});

test("the runtime describes itself", async () => {
  const info = await engine.runtimeInfo();
  expect(info).toMatchObject({ protocol: 1, mlxVersion: expect.stringMatching(/^\d+\.\d+/) });
  expect(["cpu", "cuda", "metal"]).toContain(info.backend);
  expect(info.memory.rssBytes).toBeGreaterThan(1_000_000);
  expect(info.device.memoryBytes).toBeGreaterThan(0);
  expect(info.capabilities).toContain("generate");
  const stats = await engine.stats();
  expect(stats.latencyMs.ttft.count).toBeGreaterThan(0);
  expect(stats.latencyMs.interToken.p50).toBeGreaterThan(0);
  expect(stats.tokens.completion).toBeGreaterThan(0);
  expect(Object.keys(stats.throughput).sort()).toEqual(["30s", "5s", "60s"]);
});
