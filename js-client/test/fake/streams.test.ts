import { describe, expect, test } from "vitest";
import {
  CancelledError,
  type GenerateParams,
  GenerationError,
  InvalidParamsError,
  ProtocolError,
  QueueFullError,
} from "../../src/index.js";
import { collect, fakeEngine, rejection, requestsSeen, TWO_TOKEN_CHUNKS } from "./fake-engine.js";

const prompt = (text: string): GenerateParams => ({ model: "m", prompt: text });

describe("generate", () => {
  test("can be awaited", async () => {
    const engine = fakeEngine();
    const generation = engine.generate({ model: "m", prompt: "p", maxTokens: 3 });
    expect(await generation).toEqual({
      streamId: generation.streamId,
      text: "t0 t1 t2 ",
      tokens: [100, 101, 102],
      finishReason: "length",
      usage: { promptTokens: 3, cachedTokens: 1, completionTokens: 3, draftTokens: 0, draftAccepted: 0 },
      timings: { queueMs: 0.5, prefillMs: 2, ttftMs: 250, decodeMs: 4, totalMs: 1500, tokensPerSecond: 40 },
    });
  });

  test("can be iterated, awaited afterwards, and iterated again", async () => {
    const generation = fakeEngine().generate({ model: "m", prompt: "p", maxTokens: 2 });
    expect(await collect(generation)).toEqual(TWO_TOKEN_CHUNKS);
    expect((await generation).text).toBe("t0 t1 ");
    expect(await collect(generation)).toEqual(TWO_TOKEN_CHUNKS);
  });

  test("is a promise", async () => {
    const engine = fakeEngine();
    const order: string[] = [];
    const result = await engine
      .generate(prompt("fail"))
      .catch((error: unknown) => (error as Error).message)
      .finally(() => order.push("finally"));
    expect(result).toBe("the step failed");
    expect(order).toEqual(["finally"]);
    expect(await Promise.race([engine.generate(prompt("p"))])).toMatchObject({ finishReason: "length" });
    expect(String(engine.generate(prompt("p")))).toBe("[object Generation]");
  });

  test("sends its options and a stream id", async () => {
    const engine = fakeEngine();
    await engine.generate(prompt("p"), { streamId: "mine", priority: "urgent", timeoutMs: 1000 });
    expect(await requestsSeen(engine)).toContainEqual({
      method: "generate",
      params: { model_id: "m", prompt: "p", stream_id: "mine", priority: "urgent", timeout_ms: 1000 },
    });
  });

  test("loses no token that comes before the response", async () => {
    expect((await fakeEngine().generate(prompt("eager"))).tokens).toEqual([100]);
  });

  test("reports log probabilities, stop sequence and stop token", async () => {
    const generation = fakeEngine().generate(prompt("logprobs"));
    const logprobs = [
      { tokenId: 7, logprob: -0.5, top: [{ tokenId: 100, text: "t0", logprob: -0.1 }] },
      { tokenId: 8, logprob: -0.25 },
    ];
    expect(await generation).toMatchObject({
      text: "abtail",
      tokens: [7, 8],
      logprobs,
      finishReason: "stop",
      stopSequence: "STOP",
      stopTokenId: 2,
    });
    expect((await collect(generation))[0]).toEqual({ index: 0, text: "ab", tokenIds: [7, 8], logprobs });
  });

  test("50 concurrent streams get their own tokens", async () => {
    const engine = fakeEngine();
    const results = await Promise.all(
      Array.from({ length: 50 }, (_, n) => engine.generate({ model: "m", prompt: "p", maxTokens: n + 1 })),
    );
    for (const [n, result] of results.entries()) {
      expect(result.tokens).toEqual(Array.from({ length: n + 1 }, (_, i) => 100 + i));
    }
    expect((await engine.runtimeState()).activeStreams).toBe(0);
  });

  test("an error of the request rejects promise and iteration", async () => {
    const engine = fakeEngine();
    const generation = engine.generate(prompt("refuse"));
    const error = await rejection(generation);
    expect(error).toBeInstanceOf(QueueFullError);
    expect(error).toMatchObject({ limit: 8, queued: 8, retryAfterMs: 50 });
    expect(await rejection(collect(generation))).toBe(error);
  });

  test("an error of the stream comes after its tokens", async () => {
    const iterator = fakeEngine().generate(prompt("fail"))[Symbol.asyncIterator]();
    expect(await iterator.next()).toMatchObject({ value: { text: "t0 " } });
    const error = await rejection(iterator.next());
    expect(error).toBeInstanceOf(GenerationError);
    expect(error).toMatchObject({ data: { cause: "NaN logits" } });
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  test("a stream that the worker cancels by itself rejects", async () => {
    expect(await rejection(fakeEngine().generate(prompt("evict")))).toBeInstanceOf(CancelledError);
  });

  test("a stream that runs into its time limit has a result", async () => {
    expect(await fakeEngine().generate(prompt("timeout"))).toMatchObject({
      finishReason: "timeout",
      text: "t0 ",
    });
  });

  test("a stream id that is active is refused, and free again afterwards", async () => {
    const engine = fakeEngine();
    const first = engine.generate(prompt("hang"), { streamId: "s" });
    const error = await rejection(engine.generate(prompt("p"), { streamId: "s" }));
    expect(error).toBeInstanceOf(InvalidParamsError);
    first.cancel();
    expect((await first).finishReason).toBe("cancelled");
    expect((await engine.generate(prompt("p"), { streamId: "s" })).finishReason).toBe("length");
  });

  test.each(["garbage", "bad-chunk"])(
    "%s in the middle fails what is pending, and the next call works",
    async (what) => {
      const engine = fakeEngine();
      const other = engine.generate(prompt("silent"));
      expect(await rejection(engine.generate(prompt(what)))).toBeInstanceOf(ProtocolError);
      expect(await rejection(other)).toBeInstanceOf(ProtocolError);
      await engine.ping();
      expect((await engine.runtimeState()).restartCount).toBe(1);
    },
  );
});

describe("batchGenerate", () => {
  test("one request starts all; each item succeeds or fails alone", async () => {
    const engine = fakeEngine();
    const outcomes = await Promise.allSettled(
      engine.batchGenerate(
        [prompt("p"), prompt("refuse"), prompt("fail"), { model: "m", prompt: "q", maxTokens: 1 }],
        {
          priority: "background",
        },
      ),
    );
    expect(outcomes).toMatchObject([
      { status: "fulfilled", value: { tokens: [100, 101, 102, 103] } },
      { status: "rejected", reason: { kind: "QueueFull" } },
      { status: "rejected", reason: { kind: "GenerationError" } },
      { status: "fulfilled", value: { tokens: [100] } },
    ]);
    const seen = await requestsSeen(engine);
    expect(seen.filter(({ method }) => method === "generate")).toEqual([]);
    expect(seen[0]).toMatchObject({
      method: "batch_generate",
      params: { requests: [{ priority: "background" }, {}, {}, {}] },
    });
  });

  test("a parameter that is refused names its request", async () => {
    const [good, bad] = fakeEngine().batchGenerate([
      prompt("p"),
      { model: "m", prompt: "p", topP: "x" } as never,
    ]);
    for (const item of [good, bad]) {
      expect(String(await rejection(item ?? Promise.resolve()))).toContain(
        "batchGenerate: request 1: parameter topP",
      );
    }
  });

  test("a stream id for all of them is refused", async () => {
    const [item] = fakeEngine().batchGenerate([prompt("p")], { streamId: "s" } as object);
    expect(String(await rejection(item ?? Promise.resolve()))).toContain('unknown parameter "streamId"');
  });

  test("an empty batch is empty", () => {
    expect(fakeEngine("exit-early").batchGenerate([])).toEqual([]);
  });

  test("its signal aborts all of it", async () => {
    const engine = fakeEngine();
    const controller = new AbortController();
    const items = engine.batchGenerate([prompt("hang"), prompt("silent")], { signal: controller.signal });
    for await (const _ of items[0] ?? []) {
      controller.abort(new Error("enough"));
      break;
    }
    for (const item of items) expect(await rejection(item)).toEqual(new Error("enough"));
    const state = await engine.runtimeState();
    expect(state.activeStreams).toBe(0);
  });
});

describe("createGenerator", () => {
  test("yields tokens and then metadata, in the replaced system's shapes", async () => {
    const engine = fakeEngine();
    const chunks = await collect(engine.createGenerator({ model_id: "m", prompt: "p", max_tokens: 2 }));
    expect(chunks).toEqual([
      { type: "token", token: "t0 ", tokenId: 100, isFinal: false, cumulativeText: "t0 " },
      { type: "token", token: "t1 ", tokenId: 101, isFinal: false, cumulativeText: "t0 t1 " },
      {
        type: "metadata",
        stats: {
          modelId: "m",
          tokensGenerated: 2,
          tokensPerSecond: 40,
          timeToFirstToken: 0.25,
          totalTime: 1.5,
          draftTokensAccepted: 0,
          finishReason: "length",
        },
      },
    ]);
  });

  test("yields one token chunk a token id, and text without one", async () => {
    const chunks = await collect(fakeEngine().createGenerator({ model: "m", prompt: "logprobs" }));
    expect(chunks.slice(0, -1)).toEqual([
      { type: "token", token: "", tokenId: 7, logprob: -0.5, isFinal: false, cumulativeText: "" },
      { type: "token", token: "ab", tokenId: 8, logprob: -0.25, isFinal: false, cumulativeText: "ab" },
      { type: "token", token: "tail", isFinal: false, cumulativeText: "abtail" },
    ]);
  });

  test("an error of the generation is a chunk, an error of the request is thrown", async () => {
    const engine = fakeEngine();
    const chunks = await collect(engine.createGenerator({ model: "m", prompt: "fail" }));
    expect(chunks.at(-1)).toEqual({
      type: "error",
      error: {
        code: "GenerationError",
        message: "the step failed",
        details: { kind: "GenerationError", cause: "NaN logits" },
      },
    });
    expect(await rejection(engine.createGenerator({ model: "m", prompt: "refuse" }).next())).toBeInstanceOf(
      QueueFullError,
    );
  });

  test("starts with the first next(), not before", async () => {
    const engine = fakeEngine("exit-early");
    const unused = engine.createGenerator({ model: "m", prompt: "p" });
    expect(await unused.return()).toEqual({ done: true, value: undefined });
    expect(await unused.next()).toEqual({ done: true, value: undefined });
    engine.createGenerator({ model: "m", prompt: "p" });
  });
});
