import { assertType, expectTypeOf, test } from "vitest";
import {
  type CompatibilityReport,
  type CreateGeneratorOptions,
  createEngine,
  createMLXEngine,
  Engine,
  EngineClientError,
  type EngineErrorCode,
  type EngineEventHandler,
  type EngineEventName,
  type EngineEvents,
  type EngineOptions,
  type EnginePublicAPI,
  type GeneratorChunk,
  type GeneratorParams,
  generate,
  type HealthStatus,
  type LoadModelOptions,
  type LoadVisionModelOptions,
  load_model,
  MLXEngine,
  type ModelCacheStats,
  type ModelHandle,
  type RuntimeInfo,
  type SnakeCaseGeneratorParams,
  type SnakeCaseLoadModelOptions,
  type SnakeCaseTokenizeRequest,
  type TokenizeRequest,
  type TokenizeResponse,
  type VisionGeneratorChunk,
  type VisionGeneratorParams,
  type VisionModelHandle,
  waitForModelReady,
  withEngine,
} from "../../src/compat/index.js";

/** The methods as mlx-serving declares them (contract snapshot "phase-0"). */
interface Contract {
  loadModel(options: LoadModelOptions | string): Promise<ModelHandle>;
  loadDraftModel(options: LoadModelOptions | string): Promise<ModelHandle>;
  unloadModel(id: string): Promise<void>;
  unloadDraftModel(id?: string): Promise<void>;
  isDraftModelCompatible(primary: string, draft: string): Promise<CompatibilityReport>;
  createGenerator(
    params: GeneratorParams,
    options?: CreateGeneratorOptions,
  ): AsyncGenerator<GeneratorChunk, void>;
  generate(params: GeneratorParams, options?: CreateGeneratorOptions): Promise<string>;
  tokenize(request: TokenizeRequest): Promise<TokenizeResponse>;
  listModels(): ModelHandle[];
  getModelInfo(id: string): ModelHandle | undefined;
  getRuntimeInfo(): Promise<RuntimeInfo>;
  healthCheck(): Promise<HealthStatus>;
  shutdown(): Promise<void>;
  dispose(): Promise<void>;
  getBatchStats(): { tokenizeBatches: number; tokenizePerformance: { p95QueueLatency: number } } | undefined;
  resetBatchStats(): void;
  flushBatches(): Promise<void>;
  warmupModel(options: LoadModelOptions | string): Promise<void>;
  getCacheStats(): Promise<ModelCacheStats>;
  loadVisionModel(options: LoadVisionModelOptions): Promise<VisionModelHandle>;
  createVisionGenerator(
    params: VisionGeneratorParams,
    options?: CreateGeneratorOptions,
  ): AsyncGenerator<VisionGeneratorChunk, void>;
  load_model(options: LoadModelOptions | Record<string, unknown>): Promise<ModelHandle>;
  load_draft_model(options: LoadModelOptions | Record<string, unknown>): Promise<ModelHandle>;
  unload_model(id: string): Promise<void>;
  unload_draft_model(id?: string): Promise<void>;
  is_draft_model_compatible(primary: string, draft: string): Promise<CompatibilityReport>;
  create_generator(
    params: GeneratorParams | Record<string, unknown>,
    options?: CreateGeneratorOptions,
  ): AsyncGenerator<GeneratorChunk, void>;
  list_models(): ModelHandle[];
  get_model_info(id: string): ModelHandle | undefined;
  get_runtime_info(): Promise<RuntimeInfo>;
  health_check(): Promise<HealthStatus>;
  warmup_model(options: LoadModelOptions | string): Promise<void>;
  get_cache_stats(): Promise<ModelCacheStats>;
  load_vision_model(options: LoadVisionModelOptions): Promise<VisionModelHandle>;
  create_vision_generator(
    params: VisionGeneratorParams,
    options?: CreateGeneratorOptions,
  ): AsyncGenerator<VisionGeneratorChunk, void>;
}

declare const engine: Engine;

test("an engine has every method of mlx-serving's", () => {
  expectTypeOf<Engine>().toExtend<Contract>();
  expectTypeOf<EnginePublicAPI>().toExtend<Contract>();
  expectTypeOf(createEngine).returns.resolves.toEqualTypeOf<Engine>();
  expectTypeOf(Engine).toBeConstructibleWith({
    pythonPath: "python3",
    telemetry: { enabled: true, hooks: {} },
  });
});

test("parameters of before compile as they are", () => {
  assertType<EngineOptions>({ runtimePath: "r.py", cacheDir: "/c", cache: { maxSize: 1 } });
  assertType<LoadModelOptions>({
    model: "m",
    draft: false,
    quantization: "int4",
    parameters: { maxTokens: 1 },
    x: 1,
  });
  assertType<SnakeCaseLoadModelOptions>({ model_id: "m", local_path: "/m", trust_remote_code: false });
  assertType<GeneratorParams>({
    model: "m",
    prompt: { template: "{{a}}", variables: { a: "b" } },
    structured: { schema: {}, format: "json" },
    multimodal: { images: [] },
    hints: {},
    promptTokens: [1],
  });
  assertType<SnakeCaseGeneratorParams>({
    model_id: "m",
    prompt: "p",
    max_tokens: 1,
    stop_sequences: [],
    stream: true,
  });
  assertType<SnakeCaseTokenizeRequest>({ model_id: "m", text: "t", add_bos: true });
  // @ts-expect-error not a number
  assertType<GeneratorParams>({ model: "m", prompt: "p", maxTokens: "1" });
  // @ts-expect-error unknown option
  assertType<EngineOptions>({ pythnPath: "python3" });
});

test("chunks are a discriminated union", async () => {
  for await (const chunk of engine.createGenerator({ model: "m", prompt: "p" })) {
    if (chunk.type === "token") expectTypeOf(chunk.cumulativeText).toEqualTypeOf<string | undefined>();
    else if (chunk.type === "metadata") expectTypeOf(chunk.stats.tokensPerSecond).toBeNumber();
    else expectTypeOf(chunk.error.code).toEqualTypeOf<string | undefined>();
  }
});

test("events and their payloads", () => {
  engine.on("model:loaded", ({ modelId, handle, timestamp }) => {
    expectTypeOf(modelId).toBeString();
    expectTypeOf(handle).toEqualTypeOf<ModelHandle>();
    expectTypeOf(timestamp).toBeNumber();
  });
  engine.once("runtime:status", ({ status }) => {
    expectTypeOf(status).toEqualTypeOf<"starting" | "ready" | "error" | "stopped">();
  });
  expectTypeOf<EngineEventName>().toEqualTypeOf<
    | "model:loaded"
    | "model:unloaded"
    | "model:invalidated"
    | "generation:started"
    | "generation:token"
    | "generation:completed"
    | "error"
    | "runtime:status"
  >();
  expectTypeOf<EngineEventHandler<"error">>().toEqualTypeOf<EngineEvents["error"]>();
});

test("errors", () => {
  expectTypeOf(EngineClientError).toBeConstructibleWith("Timeout", "late", { a: 1 });
  expectTypeOf<EngineClientError["code"]>().toEqualTypeOf<EngineErrorCode>();
  expectTypeOf<
    | "ParseError"
    | "InvalidRequest"
    | "MethodNotFound"
    | "InvalidParams"
    | "ValidationError"
    | "InternalError"
    | "ServerError"
    | "ModelLoadError"
    | "GenerationError"
    | "TokenizerError"
    | "GuidanceError"
    | "ModelNotLoaded"
    | "RuntimeError"
    | "TransportError"
    | "Timeout"
    | "Cancelled"
    | "UnknownError"
  >().toEqualTypeOf<EngineErrorCode>();
});

test("convenience functions and the engine with one model", () => {
  expectTypeOf(createMLXEngine).returns.resolves.toEqualTypeOf<MLXEngine>();
  expectTypeOf(MLXEngine).toBeConstructibleWith({ model: "m" });
  expectTypeOf<MLXEngine["generate"]>().returns.resolves.toBeString();
  expectTypeOf<MLXEngine["tokenize"]>().returns.resolves.toEqualTypeOf<number[]>();
  expectTypeOf(load_model).parameter(0).toEqualTypeOf<string | LoadModelOptions>();
  expectTypeOf(generate).parameter(1).toEqualTypeOf<string | number[]>();
  expectTypeOf(withEngine<number>).returns.resolves.toBeNumber();
  expectTypeOf(waitForModelReady).parameters.toEqualTypeOf<
    [engine: Engine, modelId: string, timeoutMs?: number, pollIntervalMs?: number]
  >();
});
