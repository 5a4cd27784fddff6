import { rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  createEngine,
  ENGINE_API_SNAPSHOT_VERSION,
  Engine,
  EngineClientError,
  type EngineEventName,
  type GeneratorParams,
  type LoadModelOptions,
} from "../../../src/compat/index.js";
import { collect, FAKE_WORKER, type Request, rejection } from "../fake-engine.js";
import { compatEngine } from "./compat-engine.js";

const CHUNKS = [
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
];

const HANDLE = {
  descriptor: {
    id: "m",
    source: "huggingface",
    modality: "text",
    family: "mlx-lm",
    tokenizer: { type: "llama" },
  },
  state: "ready",
  contextLength: 2048,
  metadata: { architecture: "llama" },
  draft: false,
};

/** What an engine's worker was asked for, in order. The fake worker logs it. */
async function requestsOf(calls: (engine: Engine) => Promise<unknown>): Promise<Request[]> {
  let log = "";
  const onStderr = (text: string): void => {
    log += text;
  };
  const engine = await compatEngine({ logLevel: "debug", onStderr });
  await calls(engine);
  await engine.shutdown();
  const requests: Request[] = log
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  return requests.filter(({ method }) => method !== "shutdown");
}

describe("models", () => {
  test("are loaded, listed and unloaded, under both names of each method", async () => {
    const engine = await compatEngine();
    expect(engine).toBeInstanceOf(Engine);
    expect(await engine.loadModel({ model: "m" })).toMatchObject(HANDLE);
    const other = await engine.load_model({ model_id: "n", local_path: "/models/n.gguf" });
    expect(other.descriptor).toMatchObject({ id: "n", source: "local", path: "/models/n.gguf" });
    expect(engine.listModels().map(({ descriptor }) => descriptor.id)).toEqual(["m", "n"]);
    expect(engine.list_models()).toEqual(engine.listModels());
    expect(engine.getModelInfo("n")).toBe(other);
    expect(engine.get_model_info("none")).toBeUndefined();
    expect(await engine.getCacheStats()).toMatchObject({
      loadedModels: 2,
      maxModels: Number.POSITIVE_INFINITY,
      cacheEnabled: true,
      models: [{ modelId: "m" }, { modelId: "n" }],
    });
    expect((await engine.get_cache_stats()).models[0]?.lastAccess).toBeGreaterThan(0);

    await engine.unloadModel("m");
    await engine.unload_model("n");
    await engine.unloadModel("never loaded");
    expect(engine.listModels()).toEqual([]);
    await engine.warmupModel("m");
    await engine.warmup_model({ model: "n" });
    expect(engine.listModels()).toHaveLength(2);
  });

  test("come as a name, a descriptor, or options in either case", async () => {
    const descriptor = { id: "m", path: "/m", source: "local", modality: "text", family: "mlx-lm" } as const;
    const requests = await requestsOf(async (engine) => {
      await engine.loadModel("m");
      expect((await engine.loadModel({ model: descriptor, quantization: "none" })).descriptor.path).toBe(
        "/m",
      );
      await engine.loadModel({ model: "m", quantization: "int4", context_length: 7, contextLength: 8 });
    });
    const loads = requests.filter(({ method }) => method === "load_model").map(({ params }) => params);
    expect(loads).toEqual([
      { model_id: "m" },
      { model_id: "m", local_path: "/m" },
      { model_id: "m", quantization: "int4", context_length: 8 },
    ]);
  });

  test("have defaults for their generations, those beside `parameters` first", async () => {
    const requests = await requestsOf(async (engine) => {
      const parameters = { maxTokens: 1, temperature: 0.5, stop_token_ids: [1] };
      await engine.loadModel({
        model: "m",
        parameters,
        temperature: 0.1,
        params: { topP: 0.5, maxTokens: 9 },
      });
      await engine.generate({ model: "m", prompt: "p", stopTokenIds: [2] });
      await engine.generate({ model: "n", prompt: "p", max_tokens: 2 });
    });
    const generated = requests.filter(({ method }) => method === "generate").map(({ params }) => params);
    expect(generated).toMatchObject([
      { max_tokens: 1, temperature: 0.1, top_p: 0.5, stop_token_ids: [2] },
      { model_id: "n", max_tokens: 2 },
    ]);
    expect(requests.find(({ method }) => method === "load_model")?.params).toEqual({ model_id: "m" });
  });
});

describe("models after a crash", () => {
  const crash = (engine: Engine) => rejection(engine.generate({ model: "m", prompt: "die" }));
  const ids = (engine: Engine) => engine.listModels().map(({ descriptor }) => descriptor.id);

  test("come back with autoReload, with their paths and the defaults of their generations", async () => {
    const engine = await compatEngine({ autoReload: true });
    const seen: [string, string | undefined][] = [];
    engine.on("model:loaded", ({ modelId, handle }) => seen.push([modelId, handle.descriptor.path]));
    engine.on("model:invalidated", ({ modelId }) => seen.push([modelId, "lost"]));
    await engine.loadModel({ model: "m", localPath: "/m", parameters: { maxTokens: 1 } });
    await crash(engine);
    expect(ids(engine)).toEqual([]);
    expect(engine.getModelInfo("m")).toBeUndefined();
    expect((await engine.getCacheStats()).loadedModels).toBe(0);
    expect(await engine.generate({ model: "m", prompt: "p" })).toBe("t0 ");
    expect(ids(engine)).toEqual(["m"]);
    expect(seen).toEqual([
      ["m", "/m"],
      ["m", "lost"],
      ["m", "/m"],
    ]);
    expect(await engine.healthCheck()).toMatchObject({ stateConsistent: true, stateErrors: [] });
    expect(await engine.generate({ model: "m", prompt: "p" })).toBe("t0 ");
  });

  test("can be unloaded, also those that cannot be loaded again", async () => {
    const file = join(tmpdir(), `mlx-worker-compat-model-${process.pid}`);
    writeFileSync(file, "");
    onTestFinished(() => rmSync(file, { force: true }));
    const engine = await compatEngine({ autoReload: true });
    await engine.loadModel("m");
    await engine.loadModel({ model: "file", localPath: file });
    rmSync(file);
    await crash(engine);
    await engine.unloadModel("file");
    await engine.unloadModel("m");
    await engine.getRuntimeInfo();
    expect(ids(engine)).toEqual([]);
    expect(await engine.healthCheck()).toMatchObject({ stateErrors: [], loadedModels: 0 });
  });
});

describe("generations", () => {
  test("are chunks or text, under both names", async () => {
    const engine = await compatEngine();
    const params: GeneratorParams = { model: "m", prompt: "p", maxTokens: 2 };
    expect(await collect(engine.createGenerator(params))).toEqual(CHUNKS);
    expect(await collect(engine.create_generator({ model_id: "m", prompt: "p", max_tokens: 2 }))).toEqual(
      CHUNKS,
    );
    expect(await engine.generate(params)).toBe("t0 t1 ");
  });

  test("take templates, tokens, a schema and options; hints have no effect", async () => {
    const requests = await requestsOf(async (engine) => {
      const variables = { name: "Ada", n: "2" };
      await engine.generate({
        model: "m",
        prompt: { template: "{{name}} {{ n }}{{x}}!", variables },
        hints: {},
      });
      await engine.generate(
        {
          model: "m",
          prompt: { tokens: [1, 2] },
          structured: { schema: { type: "object" }, format: "json" },
        },
        { streamId: "mine", priority: "urgent", timeoutMs: 5000 },
      );
      await engine.generate({ model: "m", prompt: "ignored", promptTokens: [3] });
    });
    const generated = requests.filter(({ method }) => method === "generate").map(({ params }) => params);
    expect(generated[0]).toMatchObject({ prompt: "Ada 2!" });
    expect(generated[1]).toEqual({
      model_id: "m",
      prompt_tokens: [1, 2],
      guidance: { mode: "json_schema", schema: { type: "object" } },
      stream_id: "mine",
      priority: "urgent",
      timeout_ms: 5000,
    });
    expect(generated[2]).toMatchObject({ prompt_tokens: [3] });
    expect(generated[2]).not.toHaveProperty("prompt");
  });

  test("have the defaults of their model under every name, and what they say themselves comes first", async () => {
    const requests = await requestsOf(async (engine) => {
      const structured = { schema: {}, format: "json" } as const;
      const parameters = { streaming: false, structured, hints: {} };
      await engine.loadModel({ model: "m", parameters });
      await engine.generate({ model: "m", prompt: "p" });
      await engine.generate({ model_id: "m", prompt: "p", streaming: true });
      await engine.loadModel({ model: "n", parameters: { stream: false }, streaming: true });
      await engine.generate({ model: "n", prompt: "p" });
      await engine.generate({ model: "m", prompt: "p", guidance: { mode: "regex", pattern: "a+" } });
      await engine.loadModel({ model: "o", parameters: { guidance: { mode: "regex", pattern: "b" } } });
      await engine.generate({ model: "o", prompt: "p", structured });
    });
    const generated = requests.filter(({ method }) => method === "generate").map(({ params }) => params);
    const guidance = { mode: "json_schema", schema: {} };
    expect(generated).toMatchObject([
      { model_id: "m", stream: false, guidance },
      { model_id: "m", stream: true, guidance },
      { model_id: "n", stream: true },
      { model_id: "m", guidance: { mode: "regex", pattern: "a+" } },
      { model_id: "o", guidance },
    ]);
  });

  test("that fail after they have started are an error chunk; generate() rejects", async () => {
    const engine = await compatEngine();
    const chunks = await collect(engine.createGenerator({ model: "m", prompt: "fail" }));
    expect(chunks[1]).toEqual({
      type: "error",
      error: {
        code: "GenerationError",
        message: "the step failed",
        details: { kind: "GenerationError", cause: "NaN logits" },
      },
    });
    expect(await rejection(engine.generate({ model: "m", prompt: "fail" }))).toMatchObject({
      name: "EngineError",
      code: "GenerationError",
    });
  });

  test("that are refused, aborted or too slow throw from next()", async () => {
    const engine = await compatEngine();
    const first = (params: object, options = {}) =>
      rejection(collect(engine.createGenerator(params as GeneratorParams, options)));
    expect(await first({ model: "m", prompt: "refuse" })).toMatchObject({
      code: "RuntimeError",
      details: { kind: "QueueFull", limit: 8 },
    });
    expect(await first({ model: "m" })).toMatchObject({ code: "InvalidParams" });
    expect(await first({ model: "m", prompt: "timeout" }, { timeoutMs: 50, streamId: "s" })).toMatchObject({
      name: "TimeoutError",
      code: "Timeout",
      message: "Request timed out after 50ms: generate (id: s)",
    });
    const controller = new AbortController();
    const aborted = first({ model: "m", prompt: "hang" }, { signal: controller.signal });
    controller.abort();
    expect(await aborted).toMatchObject({ code: "Cancelled" });
    const signal = AbortSignal.abort("no reason");
    expect(await first({ model: "m", prompt: "p" }, { signal })).toMatchObject({ code: "Cancelled" });
  });

  test("that are left early are cancelled; one that is not iterated does nothing", async () => {
    const requests = await requestsOf(async (engine) => {
      engine.createGenerator({ model: "m", prompt: "p" });
      for await (const _ of engine.createGenerator({ model: "m", prompt: "hang" })) break;
      const pending = engine.createGenerator({ model: "m", prompt: "silent" });
      const next = pending.next();
      expect(await pending.return()).toEqual({ done: true, value: undefined });
      expect(await next).toMatchObject({ done: false, value: { type: "metadata" } });
      expect(await pending.next()).toEqual({ done: true, value: undefined });
      await using thrown = engine.createGenerator({ model: "m", prompt: "hang" });
      await thrown.next();
      expect(await rejection(thrown.throw("mine"))).toBe("mine");
    });
    expect(requests.map(({ method }) => method)).toEqual([
      "generate",
      "cancel",
      "generate",
      "cancel",
      "generate",
      "cancel",
    ]);
  });
});

test("tokenize has the vocabulary's entries; addBos adds special tokens", async () => {
  const requests = await requestsOf(async (engine) => {
    await engine.loadModel("m");
    expect(await engine.tokenize({ model: "m", text: "hi", addBos: false })).toEqual({ tokens: [104, 105] });
    expect((await engine.tokenize({ model_id: "m", text: "h", add_bos: true })).tokens).toEqual([104]);
  });
  const tokenized = requests.filter(({ method }) => method === "tokenize").map(({ params }) => params);
  expect(tokenized).toEqual([
    { model_id: "m", text: "hi", add_special_tokens: false, strings: true },
    { model_id: "m", text: "h", add_special_tokens: true, strings: true },
  ]);
});

test("what the worker tells of itself, under both names", async () => {
  const engine = await compatEngine();
  expect(await engine.health_check()).toMatchObject({ status: "unhealthy", runtime: { status: "stopped" } });
  const info = await engine.getRuntimeInfo();
  expect(info).toEqual({
    version: "0.0.0-fake",
    mlxVersion: "0",
    protocol: "json-rpc-2.0",
    capabilities: [],
    mlxSupported: true,
    memory: { rss: 1 },
  });
  expect(await engine.get_runtime_info()).toEqual(info);
  await engine.loadModel("stays");
  const health = await engine.healthCheck();
  expect(health).toMatchObject({
    status: "healthy",
    activeStreams: 0,
    loadedModels: 1,
    runtime: { status: "running" },
    stateConsistent: true,
    stateErrors: [],
  });
  await engine.unloadModel("stays");
  expect(await engine.healthCheck()).toMatchObject({
    stateConsistent: false,
    stateErrors: ["model stays is only in the worker"],
  });
  expect(engine.getBatchStats()).toBeUndefined();
  engine.resetBatchStats();
  await engine.flushBatches();
});

test("healthCheck asks the worker once", async () => {
  const requests = await requestsOf(async (engine) => {
    await engine.loadModel("m");
    await engine.healthCheck();
  });
  expect(requests.map(({ method }) => method)).toEqual(["load_model", "runtime/state"]);
});

test("what the worker does not offer is refused by the typed error, and is an event", async () => {
  const engine = await compatEngine();
  const contexts: (string | undefined)[] = [];
  engine.on("error", ({ context }) => contexts.push(context));
  const image = { model: "v", prompt: "p", image: { source: "a.png" } };
  const params = { model: "m", prompt: "p" };
  const refused: [call: Promise<unknown>, what: string][] = [
    [engine.isDraftModelCompatible("m", "d"), "draft models"],
    [engine.is_draft_model_compatible("m", "d"), "draft models"],
    [engine.loadVisionModel({ model: "v" }), "vision models"],
    [engine.load_vision_model({ model: "v" }), "vision models"],
    [engine.createVisionGenerator(image).next(), "vision models"],
    [engine.create_vision_generator(image).next(), "vision models"],
    [engine.generate({ ...params, multimodal: { images: ["a.png"] } }), "multimodal"],
    [engine.generate({ ...params, structured: { schema: {}, format: "yaml" } }), 'structured.format "yaml"'],
  ];
  for (const [call, what] of refused) {
    const error = await rejection(call);
    expect(error).toBeInstanceOf(EngineClientError);
    expect(error).toMatchObject({ code: "InvalidParams", details: { kind: "Unsupported", what } });
    expect((error as Error).cause).toMatchObject({ name: "UnsupportedError", what });
  }
  expect(contexts).toHaveLength(refused.length);
  const structured = { schema: {}, format: "json" } as const;
  expect(await rejection(engine.generate({ ...params, structured, guidance: {} }))).toMatchObject({
    code: "InvalidParams",
    message: "structured and guidance exclude each other",
  });
});

test("draft models are loaded and unloaded as such, under both names", async () => {
  const requests = await requestsOf(async (engine) => {
    expect((await engine.loadDraftModel("d")).draft).toBe(true);
    await engine.load_draft_model({ model: "e" });
    await engine.loadModel("m");
    await engine.unloadDraftModel("d");
    await engine.unload_draft_model();
    expect(engine.listModels().map(({ descriptor }) => descriptor.id)).toEqual(["m"]);
    await engine.generate({ model: "m", prompt: "p", draft_model: "e" });
  });
  expect(
    requests.map(({ method, params }) => [method, params.model_id, params.draft ?? params.draft_model]),
  ).toEqual([
    ["load_model", "d", true],
    ["load_model", "e", true],
    ["load_model", "m", undefined],
    ["unload_model", "d", undefined],
    ["unload_model", "e", undefined],
    ["generate", "m", "e"],
  ]);
});

test("events have mlx-serving's names and payloads", async () => {
  const engine = await compatEngine();
  const seen: [EngineEventName, object][] = [];
  const names: EngineEventName[] = [
    "model:loaded",
    "model:unloaded",
    "model:invalidated",
    "generation:started",
    "generation:token",
    "generation:completed",
    "error",
    "runtime:status",
  ];
  for (const name of names) engine.on(name, (event: object) => seen.push([name, event]));
  const handle = await engine.loadModel("m");
  await engine.generate({ model: "m", prompt: "p", maxTokens: 1 }, { streamId: "s" });
  await engine.unloadModel("m");
  await engine.loadModel("m");
  await rejection(engine.loadModel("missing"));
  await rejection(engine.generate({ model: "m", prompt: "die" }));
  await engine.shutdown();
  expect(engine.listModels()).toEqual([]);

  expect(seen.map(([name, event]) => [name, { ...event, timestamp: undefined }])).toMatchObject([
    ["runtime:status", { previousStatus: "stopped", status: "starting" }],
    ["runtime:status", { previousStatus: "starting", status: "ready" }],
    ["model:loaded", { modelId: "m", handle }],
    ["generation:started", { streamId: "s", modelId: "m", prompt: "p" }],
    ["generation:token", { streamId: "s", token: "t0 " }],
    ["generation:completed", { streamId: "s", stats: { tokensGenerated: 1 } }],
    ["model:unloaded", { modelId: "m" }],
    ["model:loaded", { modelId: "m" }],
    ["error", { error: { code: "ModelLoadError", message: "no such model: missing" }, context: "loadModel" }],
    ["generation:started", { modelId: "m", prompt: "die" }],
    ["generation:token", { token: "t0 " }],
    ["runtime:status", { previousStatus: "ready", status: "error" }],
    ["model:invalidated", { modelId: "m", reason: "python_restart" }],
    ["error", { error: { code: "TransportError" }, context: "createGenerator" }],
  ]);
  for (const [, event] of seen) expect(event).toHaveProperty("timestamp", expect.any(Number));
});

test("telemetry hooks, and listeners that throw", async () => {
  const seen: unknown[] = [];
  const hooks = {
    onModelLoaded: ({ descriptor }: { descriptor: { id: string } }) => seen.push(descriptor.id),
    onTokenGenerated: (token: string, stats: { tokensGenerated: number }) =>
      seen.push([token, stats.tokensGenerated]),
    onGenerationCompleted: (stats: { tokensGenerated: number }) => seen.push(stats.tokensGenerated),
    onError: ({ code }: { code?: string }) => seen.push(code),
  };
  const warned = new Promise<Error>((resolve) => process.once("warning", resolve));
  const engine = await compatEngine({ telemetry: { enabled: true, hooks } });
  engine.on("model:loaded", () => {
    throw new Error("a listener failed");
  });
  await engine.loadModel("m");
  await engine.generate({ model: "m", prompt: "p", maxTokens: 1 });
  await rejection(engine.loadModel("missing"));
  expect(seen).toEqual(["m", ["t0 ", 1], 1, "ModelLoadError"]);
  expect((await warned).message).toBe("a listener failed");

  const silent = await compatEngine({ telemetry: { enabled: false, hooks } });
  await silent.loadModel("m");
  expect(seen).toHaveLength(4);
});

test("options of before have no effect but a warning; unknown ones are refused", async () => {
  const warnings: string[] = [];
  const onWarning = ({ message }: Error) => warnings.push(message);
  process.on("warning", onWarning);
  const engine = await createEngine({
    workerPath: FAKE_WORKER,
    pythonPath: "python3",
    runtimePath: "runtime.py",
    cacheDir: "/cache",
    cache: {},
  });
  await engine.getRuntimeInfo();
  await engine.dispose();
  process.off("warning", onWarning);
  expect(warnings).toEqual(
    ["pythonPath", "runtimePath", "cacheDir", "cache"].map(
      (name) => `createEngine: option ${name} has no effect`,
    ),
  );
  expect(await rejection(createEngine({ pythnPath: "" } as object))).toMatchObject({ code: "InvalidParams" });
  const misspelt = engine.loadModel({ model: "m", lazy_load: true } as LoadModelOptions);
  expect(await rejection(misspelt)).toMatchObject({ code: "InvalidParams", details: { param: "lazyLoad" } });
});

test("the interface has a version", () => {
  expect(ENGINE_API_SNAPSHOT_VERSION).toBe("phase-0");
});
