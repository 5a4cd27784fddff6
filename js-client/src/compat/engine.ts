import { randomUUID } from "node:crypto";
import { EventEmitter } from "node:events";
import { createEngine as createWorkerEngine } from "../create-engine.js";
import { MlxWorkerError } from "../errors.js";
import { notify } from "../notices.js";
import type { Engine as WorkerEngine, ModelHandle as WorkerModel } from "../types/engine.js";
import type { WorkerStatus } from "../types/events.js";
import type { ModelState } from "../types/runtime.js";
import { type ChunkObserver, ChunkStream, textOf } from "./chunk-stream.js";
import { type EngineClientError, toEngineError, unsupported } from "./errors.js";
import type { EngineEventMap, RuntimeStatusEvent } from "./events.js";
import { camelParams, type LoadRequest, readGeneratorParams, readLoadOptions } from "./params.js";
import { GenerationStatsCollector } from "./stats-collector.js";
import type {
  BatchStats,
  CompatibilityReport,
  CreateGeneratorOptions,
  EngineOptions,
  GeneratorChunk,
  GeneratorParams,
  HealthStatus,
  LoadModelOptions,
  LoadVisionModelOptions,
  ModelCacheStats,
  ModelHandle,
  ModelIdentifier,
  RuntimeInfo,
  SnakeCaseGeneratorParams,
  SnakeCaseLoadModelOptions,
  SnakeCaseTokenizeRequest,
  TelemetryHooks,
  TokenizeRequest,
  TokenizeResponse,
  VisionGeneratorChunk,
  VisionGeneratorParams,
  VisionModelHandle,
} from "./types.js";

/** Options of mlx-serving that have no effect. */
const OBSOLETE_OPTIONS = ["pythonPath", "runtimePath", "cacheDir", "cache"] as const;

const STATUS: Readonly<Record<WorkerStatus, RuntimeStatusEvent["status"]>> = {
  stopped: "stopped",
  starting: "starting",
  ready: "ready",
  failed: "error",
};

interface KnownModel {
  readonly handle: ModelHandle;
  /** What loaded it. */
  readonly request: LoadRequest;
  lastAccess: number;
  /** Whether the current worker has it: with `autoReload` one that was lost comes back. */
  live: boolean;
}

/**
 * The engine of mlx-serving on the worker: its methods under both their names, its results, errors and events. What
 * the worker cannot do rejects with an `EngineClientError` whose `details.kind` is "Unsupported".
 */
export class Engine extends EventEmitter<EngineEventMap> {
  readonly #worker: WorkerEngine;
  readonly #hooks: TelemetryHooks;
  /** The models by id, in the order in which they were loaded. */
  readonly #models = new Map<string, KnownModel>();

  /** @throws EngineClientError for an option that is refused */
  constructor(options: EngineOptions = {}) {
    super();
    const { telemetry, ...given } = options;
    this.#hooks = telemetry?.enabled === true ? (telemetry.hooks ?? {}) : {};
    for (const name of OBSOLETE_OPTIONS) {
      if (given[name] !== undefined)
        process.emitWarning(`createEngine: option ${name} has no effect`, "DeprecationWarning");
      delete given[name];
    }
    try {
      this.#worker = createWorkerEngine(given);
    } catch (error) {
      throw toEngineError(error);
    }
    const reload = camelParams(given).autoReload === true;
    this.#worker.on("worker:status", ({ status, previousStatus, timestamp }) =>
      this.#tell("runtime:status", {
        status: STATUS[status],
        previousStatus: STATUS[previousStatus],
        timestamp,
      }),
    );
    this.#worker.on("model:loaded", ({ modelId, model, reloaded }) => {
      const lost = reloaded ? this.#models.get(modelId) : undefined;
      if (lost !== undefined) this.#keep(model, lost.request, lost.lastAccess);
    });
    this.#worker.on("model:invalidated", ({ modelId, timestamp }) => {
      const lost = reload ? this.#models.get(modelId) : undefined;
      if (lost === undefined) this.#models.delete(modelId);
      else lost.live = false;
      this.#tell("model:invalidated", { modelId, reason: "python_restart", timestamp });
    });
  }

  /**
   * Loads a model, or returns the handle of one that is loaded.
   *
   * @throws EngineClientError with code ModelLoadError, or what else keeps the worker from loading
   */
  loadModel(options: LoadModelOptions | SnakeCaseLoadModelOptions | string): Promise<ModelHandle> {
    return this.#try("loadModel", async () => {
      const request = readLoadOptions(options);
      const model = await this.#worker.loadModel(request.params);
      return this.#keep(model, request, Date.now());
    });
  }

  /** Loads a model as a draft for speculative decoding. */
  async loadDraftModel(options: LoadModelOptions | SnakeCaseLoadModelOptions | string): Promise<ModelHandle> {
    const given = typeof options === "string" ? { model: options } : options;
    return this.loadModel({ ...given, draft: true });
  }

  /** Unloads a model and cancels its generations; does nothing for one that is not loaded. */
  unloadModel(id: ModelIdentifier): Promise<void> {
    return this.#try("unloadModel", async () => {
      const known = this.#models.get(id);
      if (known === undefined) return;
      try {
        await this.#worker.unloadModel(id, { force: true });
      } catch (error) {
        // A model that was lost and that the worker refused to load again is gone already.
        if (known.live || !(error instanceof MlxWorkerError && error.code !== undefined)) throw error;
      }
      this.#models.delete(id);
      this.#tell("model:unloaded", { modelId: id, timestamp: Date.now() });
    });
  }

  /** Unloads a draft model; without an id all of them. */
  async unloadDraftModel(id?: ModelIdentifier): Promise<void> {
    const drafts = [...this.#models].filter(([, { handle }]) => handle.draft === true).map(([name]) => name);
    for (const name of id === undefined ? drafts : [id]) await this.unloadModel(name);
  }

  /**
   * Whether a model can draft for another.
   *
   * @throws EngineClientError of kind "Unsupported": the worker does not compare models
   */
  isDraftModelCompatible(_primary: ModelIdentifier, _draft: ModelIdentifier): Promise<CompatibilityReport> {
    return this.#try("isDraftModelCompatible", () => {
      throw unsupported("draft models");
    });
  }

  /**
   * Generates, once the first chunk is asked for. A failure before the generation has started is thrown, a later one is
   * an error chunk.
   */
  createGenerator(
    params: GeneratorParams | SnakeCaseGeneratorParams,
    options: CreateGeneratorOptions = {},
  ): AsyncGenerator<GeneratorChunk, void, undefined> {
    const { signal, timeoutMs, streamId = randomUUID() } = options;
    return new ChunkStream({
      open: () => {
        const request = readGeneratorParams(params, (id) => this.#models.get(id)?.request.defaults);
        return this.#worker.createGenerator(request, { ...options, streamId });
      },
      observer: this.#observe(params, streamId),
      streamId,
      timeoutMs,
      signal,
    });
  }

  /**
   * The whole text that is generated.
   *
   * @throws EngineClientError when the generation fails, also after it has started
   */
  generate(
    params: GeneratorParams | SnakeCaseGeneratorParams,
    options: CreateGeneratorOptions = {},
  ): Promise<string> {
    return textOf(this.createGenerator(params, options));
  }

  /**
   * The tokens of a text and their vocabulary entries.
   *
   * @throws EngineClientError with code ModelNotLoaded or TokenizerError
   */
  tokenize(request: TokenizeRequest | SnakeCaseTokenizeRequest): Promise<TokenizeResponse> {
    return this.#try("tokenize", async () => {
      const { addBos, modelId, ...rest } = camelParams(request);
      const { model = modelId } = rest;
      const known = this.#models.get(String(model));
      if (known !== undefined) known.lastAccess = Date.now();
      const { tokens, tokenStrings } = await this.#worker.tokenize({
        ...rest,
        model: model as string,
        text: rest.text as string,
        ...(addBos === undefined ? {} : { addSpecialTokens: addBos as boolean }),
        strings: true,
      });
      return {
        tokens: [...tokens],
        ...(tokenStrings === undefined ? {} : { tokenStrings: [...tokenStrings] }),
      };
    });
  }

  /** The models that this engine has loaded. */
  listModels(): ModelHandle[] {
    return this.#live().map(({ handle }) => handle);
  }

  /** The handle of a model that this engine has loaded; undefined for others. */
  getModelInfo(id: ModelIdentifier): ModelHandle | undefined {
    const known = this.#models.get(id);
    return known?.live === true ? known.handle : undefined;
  }

  /**
   * Versions and memory of the worker, which is started if there is none.
   *
   * @throws EngineClientError when it does not start
   */
  getRuntimeInfo(): Promise<RuntimeInfo> {
    return this.#try("getRuntimeInfo", async () => {
      const { version, mlxVersion, capabilities, memory } = await this.#worker.runtimeInfo();
      return {
        version,
        mlxVersion,
        protocol: "json-rpc-2.0",
        capabilities: [...capabilities],
        mlxSupported: true,
        memory: { rss: memory.rssBytes },
      };
    });
  }

  /** Whether the worker runs and knows the same models. Never rejects. */
  async healthCheck(): Promise<HealthStatus> {
    const health = await this.#worker.healthCheck();
    const { status, worker, pid, uptimeMs, activeStreams, loadedModels, models } = health;
    const crashed = worker === "crash-loop" || worker === "unresponsive";
    const running = worker === "running" || worker === "starting";
    const stateErrors = models === undefined ? [] : this.#stateErrors(models);
    return {
      status: worker === "stopped" ? "unhealthy" : status,
      uptime: uptimeMs,
      activeStreams,
      loadedModels,
      runtime: {
        ...(pid === undefined ? {} : { pid }),
        status: running ? "running" : crashed ? "crashed" : "stopped",
      },
      // What a worker that does not answer knows cannot be said.
      ...(worker === "unresponsive" ? {} : { stateConsistent: stateErrors.length === 0, stateErrors }),
    };
  }

  /** Ends the worker, after what runs. */
  shutdown(): Promise<void> {
    return this.#try("shutdown", async () => {
      await this.#worker.close();
      this.#models.clear();
    });
  }

  /** The same as {@link shutdown}. */
  dispose(): Promise<void> {
    return this.shutdown();
  }

  /** Undefined, as before without batching: requests are batched in the worker (see `getRuntimeInfo`). */
  getBatchStats(): BatchStats | undefined {
    return undefined;
  }

  /** Does nothing: there is no batch queue. */
  resetBatchStats(): void {}

  /** Resolves at once: calls are sent when they are made. */
  async flushBatches(): Promise<void> {}

  /** Loads a model, so that later loads of it return at once. */
  async warmupModel(options: LoadModelOptions | string): Promise<void> {
    await this.loadModel(options);
  }

  /** The models that this engine has loaded, and when each was used last. */
  async getCacheStats(): Promise<ModelCacheStats> {
    const models = this.#live().map(({ handle, lastAccess }) => ({
      modelId: handle.descriptor.id,
      lastAccess,
    }));
    return {
      loadedModels: models.length,
      maxModels: Number.POSITIVE_INFINITY,
      cacheEnabled: true,
      models,
    };
  }

  /** @throws EngineClientError of kind "Unsupported": the worker has no vision models */
  loadVisionModel(_options: LoadVisionModelOptions): Promise<VisionModelHandle> {
    return this.#try("loadVisionModel", () => {
      throw unsupported("vision models");
    });
  }

  /** @throws EngineClientError of kind "Unsupported", with the first chunk: the worker has no vision models */
  createVisionGenerator(
    _params: VisionGeneratorParams,
    _options: CreateGeneratorOptions = {},
  ): AsyncGenerator<VisionGeneratorChunk, void, undefined> {
    const refuse = (): Promise<never> =>
      this.#try("createVisionGenerator", () => {
        throw unsupported("vision models");
      });
    return (async function* (): AsyncGenerator<VisionGeneratorChunk, void, undefined> {
      yield await refuse();
    })();
  }

  /** The same as {@link loadModel}. */
  load_model(options: LoadModelOptions | SnakeCaseLoadModelOptions | string): Promise<ModelHandle> {
    return this.loadModel(options);
  }

  /** The same as {@link loadDraftModel}. */
  load_draft_model(options: LoadModelOptions | SnakeCaseLoadModelOptions | string): Promise<ModelHandle> {
    return this.loadDraftModel(options);
  }

  /** The same as {@link unloadModel}. */
  unload_model(id: ModelIdentifier): Promise<void> {
    return this.unloadModel(id);
  }

  /** The same as {@link unloadDraftModel}. */
  unload_draft_model(id?: ModelIdentifier): Promise<void> {
    return this.unloadDraftModel(id);
  }

  /** The same as {@link isDraftModelCompatible}. */
  is_draft_model_compatible(primary: ModelIdentifier, draft: ModelIdentifier): Promise<CompatibilityReport> {
    return this.isDraftModelCompatible(primary, draft);
  }

  /** The same as {@link createGenerator}. */
  create_generator(
    params: GeneratorParams | SnakeCaseGeneratorParams,
    options: CreateGeneratorOptions = {},
  ): AsyncGenerator<GeneratorChunk, void, undefined> {
    return this.createGenerator(params, options);
  }

  /** The same as {@link listModels}. */
  list_models(): ModelHandle[] {
    return this.listModels();
  }

  /** The same as {@link getModelInfo}. */
  get_model_info(id: ModelIdentifier): ModelHandle | undefined {
    return this.getModelInfo(id);
  }

  /** The same as {@link getRuntimeInfo}. */
  get_runtime_info(): Promise<RuntimeInfo> {
    return this.getRuntimeInfo();
  }

  /** The same as {@link healthCheck}. */
  health_check(): Promise<HealthStatus> {
    return this.healthCheck();
  }

  /** The same as {@link warmupModel}. */
  warmup_model(options: LoadModelOptions | string): Promise<void> {
    return this.warmupModel(options);
  }

  /** The same as {@link getCacheStats}. */
  get_cache_stats(): Promise<ModelCacheStats> {
    return this.getCacheStats();
  }

  /** The same as {@link loadVisionModel}. */
  load_vision_model(options: LoadVisionModelOptions): Promise<VisionModelHandle> {
    return this.loadVisionModel(options);
  }

  /** The same as {@link createVisionGenerator}. */
  create_vision_generator(
    params: VisionGeneratorParams,
    options: CreateGeneratorOptions = {},
  ): AsyncGenerator<VisionGeneratorChunk, void, undefined> {
    return this.createVisionGenerator(params, options);
  }

  /** Runs a call; what it throws becomes an error of this entry and an event. */
  async #try<T>(context: string, call: () => T | Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (reason) {
      const error = toEngineError(reason);
      this.#tellError(error, context);
      throw error;
    }
  }

  /** Turns a generation into events and calls of the hooks. */
  #observe(params: GeneratorParams | SnakeCaseGeneratorParams, streamId: string): ChunkObserver {
    const { model, modelId: alias, prompt } = camelParams(params);
    const modelId = String(model ?? alias);
    const collector = new GenerationStatsCollector();
    return {
      onStart: () => {
        collector.start();
        const known = this.#models.get(modelId);
        if (known !== undefined) known.lastAccess = Date.now();
        const text = typeof prompt === "string" ? prompt : "";
        this.#tell("generation:started", { streamId, modelId, prompt: text, timestamp: Date.now() });
      },
      onChunk: (chunk) => {
        if (chunk.type === "token") this.#onToken(streamId, chunk, collector);
        else if (chunk.type === "metadata") {
          notify(this.#hooks.onGenerationCompleted, chunk.stats);
          this.#tell("generation:completed", { streamId, stats: chunk.stats, timestamp: Date.now() });
        }
      },
      onError: (error) => this.#tellError(error, "createGenerator"),
    };
  }

  #onToken(
    streamId: string,
    { token, logprob }: Extract<GeneratorChunk, { type: "token" }>,
    collector: GenerationStatsCollector,
  ): void {
    const { onTokenGenerated } = this.#hooks;
    if (onTokenGenerated !== undefined) {
      collector.update(token);
      notify(() => onTokenGenerated(token, collector.getStats()), undefined);
    }
    if (this.listenerCount("generation:token") === 0) return;
    const event = { streamId, token, ...(logprob === undefined ? {} : { logprob }), timestamp: Date.now() };
    this.#tell("generation:token", event);
  }

  /** Remembers a model that the worker has, and tells of it. */
  #keep(model: WorkerModel, request: LoadRequest, lastAccess: number): ModelHandle {
    const handle = handleOf(model, request);
    this.#models.set(model.modelId, { handle, request, lastAccess, live: true });
    notify(this.#hooks.onModelLoaded, handle);
    this.#tell("model:loaded", { modelId: model.modelId, handle, timestamp: Date.now() });
    return handle;
  }

  #live(): KnownModel[] {
    return [...this.#models.values()].filter(({ live }) => live);
  }

  /** Models that only one of the two sides knows. */
  #stateErrors(inWorker: readonly ModelState[]): string[] {
    const own = this.#live().map(({ handle }) => handle.descriptor.id);
    const lost = own.filter((id) => !inWorker.some(({ modelId }) => modelId === id));
    // One that is being loaded or unloaded is not a difference.
    const unknown = inWorker.filter(({ modelId, state }) => state === "ready" && !own.includes(modelId));
    return [
      ...lost.map((id) => `model ${id} is not in the worker`),
      ...unknown.map(({ modelId }) => `model ${modelId} is only in the worker`),
    ];
  }

  #tellError(error: EngineClientError, context: string): void {
    notify(this.#hooks.onError, error.toObject());
    // Node's emitter throws an "error" that nobody listens to.
    if (this.listenerCount("error") === 0) return;
    this.#tell("error", { error: error.toObject(), context, timestamp: Date.now() });
  }

  /** Emits an event. A listener that throws becomes a process warning and disturbs no call. */
  #tell<Name extends keyof EngineEventMap>(name: Name, event: EngineEventMap[Name][0]): void {
    notify(() => (this as EventEmitter).emit(name, event), undefined);
  }
}

/** Creates an engine. No process is started before its first call. */
export async function createEngine(options: EngineOptions = {}): Promise<Engine> {
  return new Engine(options);
}

function handleOf(model: WorkerModel, { params, descriptor }: LoadRequest): ModelHandle {
  const path = params.localPath;
  return {
    descriptor: {
      ...descriptor,
      id: model.modelId,
      source: path === undefined ? "huggingface" : "local",
      ...(path === undefined ? {} : { path }),
      tokenizer: { type: model.architecture, vocabSize: model.vocabSize },
      modality: "text",
      family: "mlx-lm",
    },
    state: "ready",
    contextLength: model.contextLength,
    metadata: { ...model },
    draft: params.draft === true,
  };
}
