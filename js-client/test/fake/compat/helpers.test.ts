import { expect, test, vi } from "vitest";
import {
  batchTokenize,
  collectChunks,
  create_generator,
  createEngine,
  createMLXEngine,
  type Engine,
  ensureModelLoaded,
  generate,
  generateText,
  generateTextStreaming,
  getEngine,
  getTotalTokenCount,
  isEngineHealthy,
  load_model,
  MLXEngine,
  retryLoadModel,
  shutdown,
  tokenize,
  unload_model,
  waitForModelReady,
  withEngine,
} from "../../../src/compat/index.js";
import { collect, FAKE_WORKER, rejection } from "../fake-engine.js";
import { compatEngine, fakeWorkerByDefault } from "./compat-engine.js";

vi.mock("../../../src/compat/engine.js", async (original) => {
  const module = await original<typeof import("../../../src/compat/engine.js")>();
  return { ...module, createEngine: vi.fn(module.createEngine) };
});

const PARAMS = { model: "m", prompt: "p", maxTokens: 2 };

test("generateText, generateTextStreaming and collectChunks", async () => {
  const engine = await compatEngine();
  expect(await generateText(engine, PARAMS)).toBe("t0 t1 ");
  const tokens: string[] = [];
  expect(await generateTextStreaming(engine, PARAMS, (token) => tokens.push(token))).toBe("t0 t1 ");
  expect(tokens).toEqual(["t0 ", "t1 "]);
  expect((await collectChunks(engine, PARAMS)).map(({ type }) => type)).toEqual([
    "token",
    "token",
    "metadata",
  ]);

  const failing = { ...PARAMS, prompt: "fail" };
  for (const call of [
    generateText(engine, failing),
    generateTextStreaming(engine, failing, () => {}),
    collectChunks(engine, failing),
  ])
    expect(await rejection(call)).toMatchObject({ code: "GenerationError", message: "the step failed" });
});

test("ensureModelLoaded and waitForModelReady", async () => {
  const engine = await compatEngine();
  expect(await rejection(waitForModelReady(engine, "m"))).toMatchObject({ code: "ModelNotLoaded" });
  const model = await ensureModelLoaded(engine, { model: "m" });
  expect(await ensureModelLoaded(engine, { model: model.descriptor })).toBe(model);
  expect(await waitForModelReady(engine, "m", 1, 1)).toBe(model);
});

test("batchTokenize and getTotalTokenCount", async () => {
  const engine = await compatEngine();
  expect(await batchTokenize(engine, "m", ["a", "bc"])).toEqual([[97], [98, 99]]);
  expect(await getTotalTokenCount(engine, "m", ["a", "bc"])).toBe(3);
});

test("retryLoadModel tries again and rejects with the last error", async () => {
  const engine = await compatEngine();
  expect((await retryLoadModel(engine, { model: "m" })).descriptor.id).toBe("m");
  const errors: string[] = [];
  engine.on("error", ({ error }) => errors.push(error.message));
  expect(await rejection(retryLoadModel(engine, { model: "missing" }, 2, 1))).toMatchObject({
    code: "ModelLoadError",
  });
  expect(errors).toHaveLength(3);
});

test("withEngine ends the engine, and isEngineHealthy", async () => {
  let kept: Engine | undefined;
  const options = { workerPath: FAKE_WORKER };
  const text = await withEngine(async (engine) => {
    kept = engine;
    await engine.loadModel("m");
    expect(await isEngineHealthy(engine)).toBe(true);
    return engine.generate(PARAMS);
  }, options);
  expect(text).toBe("t0 t1 ");
  expect(kept && (await isEngineHealthy(kept))).toBe(false);
  const failing = withEngine(async () => {
    throw new Error("the callback's");
  }, options);
  expect(await rejection(failing)).toMatchObject({ message: "the callback's" });
});

test("MLXEngine is an engine with one model", async () => {
  fakeWorkerByDefault();
  const engine = new MLXEngine({ model: "m" });
  expect([engine.isInitialized(), engine.getEngine(), engine.getModelHandle()]).toEqual([false, null, null]);
  expect(await rejection(engine.generate("p"))).toMatchObject({
    message: "MLXEngine not initialized. Call init() first.",
  });
  expect(await engine.init()).toBe(engine);
  expect(await engine.init()).toBe(engine);
  expect(engine.isInitialized()).toBe(true);
  expect(engine.getModelHandle()?.descriptor.id).toBe("m");
  expect(await engine.generate("p", { maxTokens: 2 })).toBe("t0 t1 ");
  expect((await collect(engine.generateStream("p", { max_tokens: 1 }))).map(({ type }) => type)).toEqual([
    "token",
    "metadata",
  ]);
  expect(await engine.tokenize("hi")).toEqual([104, 105]);
  expect(engine.getEngine()?.listModels()).toHaveLength(1);
  await engine.dispose();
  await engine.dispose();
  expect(engine.isInitialized()).toBe(false);
});

test("calls of init() that come meanwhile share one engine, also with dispose()", async () => {
  fakeWorkerByDefault();
  const started = vi.mocked(createEngine).mockClear();
  const engine = new MLXEngine("m");
  expect(await Promise.all([engine.init(), engine.init()])).toEqual([engine, engine]);
  expect(await engine.init()).toBe(engine);
  expect(started).toHaveBeenCalledOnce();
  await engine.dispose();

  const [starting] = [engine.init(), engine.init()];
  await engine.dispose();
  await starting;
  expect(engine.isInitialized()).toBe(false);
  expect(started).toHaveBeenCalledTimes(2);
  const engines = await Promise.all(started.mock.results.map(({ value }) => value as Promise<Engine>));
  for (const ended of engines)
    expect(await ended.healthCheck()).toMatchObject({ runtime: { status: "stopped" } });

  const failing = new MLXEngine("missing");
  const failures = await Promise.all([rejection(failing.init()), rejection(failing.init())]);
  expect(failures).toMatchObject([{ code: "ModelLoadError" }, { code: "ModelLoadError" }]);
  expect(started).toHaveBeenCalledTimes(3);
  expect(await rejection(failing.init())).toMatchObject({ code: "ModelLoadError" });
  await failing.dispose();
});

test("createMLXEngine is ready, or rejects and leaves nothing", async () => {
  fakeWorkerByDefault();
  const engine = await createMLXEngine("m");
  expect(engine.isInitialized()).toBe(true);
  await engine.dispose();
  expect(await rejection(createMLXEngine("missing"))).toMatchObject({ code: "ModelLoadError" });
});

test("the module's functions share an engine", async () => {
  fakeWorkerByDefault();
  expect(getEngine()).toBeNull();
  const model = await load_model("m", { localPath: "/m" });
  expect(model.descriptor.path).toBe("/m");
  const other = await load_model({ model: "n" });
  const engine = getEngine();
  expect(engine?.listModels()).toEqual([model, other]);

  expect(await generate(model, "p", { maxTokens: 1 })).toBe("t0 ");
  const chunks = await collect(create_generator(model, [1, 2], { max_tokens: 1 }));
  expect(chunks.map(({ type }) => type)).toEqual(["token", "metadata"]);
  expect((await tokenize(model, "h", { add_bos: false })).tokens).toEqual([104]);
  await unload_model(model);
  expect(engine?.listModels()).toEqual([other]);

  await shutdown();
  await shutdown();
  expect(getEngine()).toBeNull();
});
