import { describe, expect, test } from "vitest";
import {
  FrameTooLargeError,
  InvalidParamsError,
  type LoadProgress,
  ModelLoadError,
  type TokenizeParams,
  TokenizerError,
} from "../../src/index.js";
import { fakeEngine, rejection, requestsSeen } from "./fake-engine.js";

describe("calls", () => {
  test("loadModel sends wire names, an absolute path, and returns the model", async () => {
    const engine = fakeEngine();
    const model = await engine.loadModel({
      model: "m",
      localPath: "a/../b.gguf",
      contextLength: 512,
      draft: undefined,
    });
    expect(model).toMatchObject({
      modelId: "m",
      contextLength: 2048,
      quantization: { mode: "affine", bits: 4, groupSize: 32 },
    });
    expect(await requestsSeen(engine)).toContainEqual({
      method: "load_model",
      params: { model_id: "m", local_path: `${process.cwd()}/b.gguf`, context_length: 512 },
    });
  });

  test("loadModel reports the progress of its own model only", async () => {
    const engine = fakeEngine();
    const progress: LoadProgress[] = [];
    await engine.loadModel("m", { onProgress: (step) => progress.push(step) });
    await engine.loadModel("m");
    expect(progress).toEqual([{ modelId: "m", phase: "read", loadedBytes: 10, totalBytes: 10 }]);
  });

  test("a progress listener that throws does not disturb the load", async () => {
    const warning = new Promise<Error>((resolve) => process.once("warning", resolve));
    const engine = fakeEngine();
    await engine.loadModel("m", {
      onProgress: () => {
        throw new Error("listener failed");
      },
    });
    expect((await warning).message).toBe("listener failed");
  });

  test("an error of the worker becomes a typed error, and the worker goes on", async () => {
    const engine = fakeEngine();
    const error = await rejection(engine.loadModel("missing"));
    expect(error).toBeInstanceOf(ModelLoadError);
    expect(error).toMatchObject({ code: -32001, kind: "ModelLoadError", message: "no such model: missing" });
    await engine.ping();
  });

  test("tokens, text and templates", async () => {
    const engine = fakeEngine();
    expect(await engine.tokenize({ model: "m", text: "hé" })).toEqual({ tokens: [104, 233], count: 2 });
    expect(await engine.detokenize({ model: "m", tokens: [104, 233], skipSpecialTokens: true })).toBe("hé");
    const messages = [{ role: "user", content: "hi" }];
    expect(await engine.applyChatTemplate({ model: "m", messages })).toBe("rendered");
    expect(await engine.applyChatTemplate({ model: "m", messages, tokenize: true })).toEqual([1, 2]);
    expect(await engine.unloadModel({ modelId: "m" }, { force: true })).toEqual({
      success: true,
      freedBytes: 5,
    });
    const seen = await requestsSeen(engine);
    expect(seen).toContainEqual({
      method: "detokenize",
      params: { model_id: "m", tokens: [104, 233], skip_special_tokens: true },
    });
    expect(seen).toContainEqual({ method: "unload_model", params: { model_id: "m", force: true } });
  });

  test("countTokens counts a text's tokens or a conversation's", async () => {
    const engine = fakeEngine();
    expect(await engine.countTokens({ model: "m", text: "héllo", addSpecialTokens: false })).toBe(5);
    const messages = [{ role: "user", content: "hi" }];
    expect(await engine.countTokens({ model: { modelId: "m" }, messages, addGenerationPrompt: false })).toBe(
      2,
    );
    const seen = await requestsSeen(engine);
    expect(seen).toContainEqual({
      method: "tokenize",
      params: { model_id: "m", text: "héllo", add_special_tokens: false },
    });
    expect(seen).toContainEqual({
      method: "apply_chat_template",
      params: { model_id: "m", messages, add_generation_prompt: false, tokenize: true },
    });
  });

  test("a format to quantise to is sent under its wire names", async () => {
    const engine = fakeEngine();
    await engine.loadModel({ model: "m", quantization: { bits: 4, groupSize: 32 } });
    await engine.loadModel({ model: "n", quantization: "int8" });
    const loads = (await requestsSeen(engine)).filter(({ method }) => method === "load_model");
    expect(loads.map(({ params }) => params.quantization)).toEqual([{ bits: 4, group_size: 32 }, "int8"]);
  });

  test("listModels has the worker's models, and none without a worker", async () => {
    const engine = fakeEngine();
    expect(await engine.listModels()).toEqual([]);
    expect((await engine.healthCheck()).worker).toBe("stopped");
    await engine.loadModel("m");
    expect(await engine.listModels()).toEqual([{ modelId: "m", state: "ready", type: "text" }]);
    await engine.close();
    expect(await rejection(engine.listModels())).toMatchObject({ kind: "EngineClosed" });
  });

  test("batchTokenize returns every text's tokens, or the error of one", async () => {
    const engine = fakeEngine();
    const texts = ["a", "bc"];
    expect(await engine.batchTokenize({ model: "m", texts, addSpecialTokens: false })).toEqual([
      { tokens: [1], count: 1 },
      { tokens: [2], count: 1 },
    ]);
    expect(await requestsSeen(engine)).toContainEqual({
      method: "batch_tokenize",
      params: { requests: texts.map((text) => ({ model_id: "m", add_special_tokens: false, text })) },
    });
    expect(await engine.batchTokenize({ model: "m", texts: [] })).toEqual([]);
    expect(await rejection(engine.batchTokenize({ model: "m", texts: ["a", "bad"] }))).toBeInstanceOf(
      TokenizerError,
    );
  });

  test("runtimeInfo and runtimeState have camelCase names", async () => {
    const engine = fakeEngine();
    expect(await engine.runtimeInfo()).toMatchObject({
      protocol: 1,
      mlxCVersion: "0",
      device: { name: "fake", memoryBytes: 1 },
    });
    expect(await engine.runtimeState()).toEqual({
      loadedModels: [],
      activeStreams: 0,
      queued: 0,
      restartCount: 0,
    });
  });

  test("what is wrong with the parameters is said before a worker is started", async () => {
    const engine = fakeEngine("exit-early");
    const refused = async (call: Promise<unknown>, param: string) => {
      const error = await rejection(call);
      expect(error).toBeInstanceOf(InvalidParamsError);
      expect(error).toMatchObject({ param });
    };
    await refused(engine.tokenize({ model: "m", text: "t", addBos: true } as TokenizeParams), "addBos");
    await refused(engine.tokenize({ text: "t" } as TokenizeParams), "model");
    await refused(engine.tokenize({ model: "m", text: 1 } as unknown as TokenizeParams), "text");
    await refused(engine.loadModel({ model: "m", path: "x" } as { model: string }), "path");
    await refused(engine.loadModel("m", { signl: undefined } as object), "signl");
    await refused(engine.ping({ timeout: 5 } as object), "timeout");
    await refused(engine.batchTokenize({ model: "m" } as never), "texts");
    await refused(engine.countTokens({ model: "m" } as never), "text");
    await refused(engine.countTokens({ model: "m", text: "t", messages: [] } as never), "text");
    await refused(engine.countTokens({ model: "m", text: "t", tools: [] } as never), "tools");
    await refused(engine.healthCheck({ timeout: 5 } as object), "timeout");
    await refused(engine.loadModel({ model: "m", quantization: 4 } as never), "quantization");
    await refused(
      Promise.resolve(engine.generate({ model: "m", prompt: "p" }, { prority: "urgent" } as object)),
      "prority",
    );
    await refused(engine.createGenerator({ model: "m", prompt: "p", hints: {} } as object).next(), "hints");
  });

  test("a message over the frame limit is refused before it is sent", async () => {
    const engine = fakeEngine("normal", { maxFrameBytes: 2048 });
    const error = await rejection(engine.tokenize({ model: "m", text: "x".repeat(2048) }));
    expect(error).toBeInstanceOf(FrameTooLargeError);
    expect(error).toMatchObject({ limit: 2048, kind: "FrameTooLarge" });
    expect(await rejection(engine.generate({ model: "m", prompt: "x".repeat(2048) }))).toBeInstanceOf(
      FrameTooLargeError,
    );
    await engine.ping();
  });

  test("large texts come and go whole", async () => {
    const engine = fakeEngine();
    const text = "日本語 ".repeat(100_000);
    const { tokens } = await engine.tokenize({ model: "m", text });
    expect(tokens).toHaveLength(text.length);
    expect(await engine.detokenize({ model: "m", tokens: tokens.slice(0, 5000) })).toBe(text.slice(0, 5000));
  });
});
