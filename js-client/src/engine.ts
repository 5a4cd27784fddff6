import { randomUUID } from "node:crypto";
import { resolve as resolvePath } from "node:path";
import { onAbort } from "./abort.js";
import {
  BATCH_TOKENIZE_PARAMS,
  CALL_OPTIONS,
  CHAT_TEMPLATE_PARAMS,
  CLOSE_OPTIONS,
  COUNT_TOKENS_PARAMS,
  DETOKENIZE_PARAMS,
  ENGINE_OPTIONS,
  HEALTH_OPTIONS,
  LOAD_OPTIONS,
  LOAD_PARAMS,
  TOKENIZE_PARAMS,
  UNLOAD_PARAMS,
} from "./call-params.js";
import { camelKeys, snakeCase } from "./casing.js";
import type { Connection } from "./connection.js";
import { ProtocolError } from "./errors.js";
import { EventHub } from "./event-hub.js";
import { BATCH_GENERATE_OPTIONS, GENERATE_OPTIONS, readGenerateParams } from "./generate-params.js";
import { GenerationStream } from "./generation.js";
import { ChunkGenerator } from "./generator.js";
import { checkHealth } from "./health.js";
import { notify } from "./notices.js";
import { modelIdOf, type Params, type ParamTypes, readParams, toWire } from "./params.js";
import { WorkerSupervisor } from "./supervisor.js";
import type {
  BatchTokenizeParams,
  CallOptions,
  ChatTemplateParams,
  CloseOptions,
  CountTokensParams,
  DetokenizeParams,
  Engine,
  EngineOptions,
  HealthCheckOptions,
  LoadModelCallOptions,
  LoadModelOptions,
  LoadProgress,
  ModelHandle,
  TokenizeParams,
  TokenizeResult,
  UnloadModelOptions,
  UnloadResult,
} from "./types/engine.js";
import type { EngineEventName, EngineListener } from "./types/events.js";
import type {
  ChatMessage,
  ChatParams,
  GenerateOptions,
  GenerateParams,
  Generation,
  ModelRef,
} from "./types/generate.js";
import type { GeneratorChunk, GeneratorParams } from "./types/generator.js";
import type { HealthStatus, ModelState, RuntimeInfo, RuntimeState, RuntimeStats } from "./types/runtime.js";
import { DEFAULT_MAX_FRAME_BYTES, isWireObject, type WireBatchItem, type WireObject } from "./wire.js";
import { errorFromWire, invalidParam } from "./wire-errors.js";

const DEFAULT_START_TIMEOUT_MS = 60_000;
const DEFAULT_DRAIN_MS = 5000;
const DEFAULT_HEALTH_TIMEOUT_MS = 5000;

/** {@link Engine} over at most one worker process at a time. */
export class WorkerEngine implements Engine {
  readonly #cwd: string | undefined;
  readonly #hub = new EventHub();
  readonly #supervisor: WorkerSupervisor;

  constructor(options: EngineOptions) {
    const given = readParams("createEngine", options, ENGINE_OPTIONS);
    this.#cwd = given.cwd;
    const env = this.#environment(given);
    this.#supervisor = new WorkerSupervisor({
      workerPath: given.workerPath,
      env,
      cwd: given.cwd,
      maxFrameBytes: Number(env.MLX_MAX_FRAME_BYTES) || DEFAULT_MAX_FRAME_BYTES,
      startTimeoutMs: given.startTimeoutMs ?? DEFAULT_START_TIMEOUT_MS,
      autoReload: given.autoReload,
      maxCrashes: given.maxCrashes,
      onStderr: given.onStderr,
      hub: this.#hub,
    });
  }

  get closed(): boolean {
    return this.#supervisor.closed;
  }

  async loadModel(
    model: string | LoadModelOptions,
    options: LoadModelCallOptions = {},
  ): Promise<ModelHandle> {
    const { signal, onProgress } = readParams("loadModel", options, LOAD_OPTIONS);
    const input = typeof model === "string" ? { model } : model;
    const {
      model: ref,
      modelId: alias,
      localPath,
      quantization,
      ...rest
    } = readParams("loadModel", input, LOAD_PARAMS);
    const modelId = modelIdOf("loadModel", ref ?? alias);
    const params = {
      model_id: modelId,
      local_path: typeof localPath === "string" ? this.#resolve(localPath) : undefined,
      quantization: typeof quantization === "object" ? toWire(quantization) : quantization,
      ...toWire(rest),
    };
    const connection = this.#supervisor.connect(signal);
    const onNotification = (progress: WireObject): void => {
      if (progress.model_id === modelId) notify(onProgress, camelKeys(progress) as LoadProgress);
    };
    if (onProgress !== undefined) connection.addProgressListener(onNotification);
    try {
      return await this.#supervisor.models.load(connection, params, signal);
    } finally {
      connection.removeProgressListener(onNotification);
    }
  }

  async unloadModel(model: ModelRef, options: UnloadModelOptions = {}): Promise<UnloadResult> {
    const { force, ...callOptions } = options;
    const result = await this.#call("unloadModel", { model, force }, UNLOAD_PARAMS, callOptions);
    this.#supervisor.models.unloaded(modelIdOf("unloadModel", model));
    return camelKeys(result) as UnloadResult;
  }

  generate(params: GenerateParams, options: GenerateOptions = {}): Generation {
    return this.#generate("generate", params, options).generation;
  }

  chat(messages: readonly ChatMessage[], params: ChatParams, options: GenerateOptions = {}): Generation {
    return this.#generate("chat", { ...params, messages }, options).generation;
  }

  batchGenerate(
    requests: readonly GenerateParams[],
    options: Omit<GenerateOptions, "streamId"> = {},
  ): Generation[] {
    if (!Array.isArray(requests))
      throw invalidParam("requests", "batchGenerate: the requests have to be an array");
    const streams = requests.map(() => this.#newStream(randomUUID()));
    if (streams.length === 0) return streams;
    try {
      const { signal, ...shared } = readParams("batchGenerate", options, BATCH_GENERATE_OPTIONS);
      const checked = requests.map((request, i) =>
        readGenerateParams(`batchGenerate: request ${i}`, request),
      );
      const items = checked.map(({ params }, i) => ({
        ...params,
        ...toWire(shared),
        stream_id: streams[i]?.streamId,
      }));
      const modelIds = checked.map(({ modelId }) => modelId);
      const connection = this.#supervisor.connect(signal);
      const reloads = this.#supervisor.models.reloadsOf(modelIds);
      connection.startStreams(streams, { requests: items }, reloads, (result) => {
        for (const [i, error] of batchErrors("batch_generate", result, streams.length).entries()) {
          const stream = streams[i];
          if (error !== undefined && stream !== undefined) connection.refuseStream(stream.streamId, error);
        }
      });
      for (const [i, stream] of streams.entries()) {
        abortOn(signal, stream, connection);
        this.#announce(stream, modelIds[i] ?? "");
      }
    } catch (error) {
      for (const stream of streams) stream.onFailure(error);
    }
    return streams;
  }

  createGenerator(
    params: GeneratorParams,
    options: GenerateOptions = {},
  ): AsyncGenerator<GeneratorChunk, void, undefined> {
    return new ChunkGenerator(() => this.#generate("createGenerator", params, options));
  }

  async tokenize(params: TokenizeParams, options: CallOptions = {}): Promise<TokenizeResult> {
    return camelKeys(await this.#call("tokenize", params, TOKENIZE_PARAMS, options)) as TokenizeResult;
  }

  async batchTokenize(params: BatchTokenizeParams, options: CallOptions = {}): Promise<TokenizeResult[]> {
    const { model, texts, ...rest } = readParams("batchTokenize", params, BATCH_TOKENIZE_PARAMS);
    const modelId = modelIdOf("batchTokenize", model);
    const shared = { model_id: modelId, ...toWire(rest) };
    const requests = texts?.map((text) => ({ ...shared, text }));
    if (requests === undefined) throw invalidParam("texts", "batchTokenize: parameter texts is missing");
    if (requests.length === 0) return [];
    const { signal } = readParams("batchTokenize", options, CALL_OPTIONS);
    const result = await this.#request("batch_tokenize", { requests }, signal, modelId);
    for (const error of batchErrors("batch_tokenize", result, requests.length))
      if (error !== undefined) throw error;
    return (result as { results: WireBatchItem[] }).results.map(
      (item) => camelKeys(item.result) as TokenizeResult,
    );
  }

  async countTokens(params: CountTokensParams, options: CallOptions = {}): Promise<number> {
    const { messages, text, ...rest } = readParams("countTokens", params, COUNT_TOKENS_PARAMS);
    if ((messages === undefined) === (text === undefined))
      throw invalidParam("text", "countTokens: exactly one of text and messages is needed");
    const result =
      messages === undefined
        ? await this.#call("countTokens", { ...rest, text }, TOKENIZE_PARAMS, options, "tokenize")
        : await this.#call(
            "countTokens",
            { ...rest, messages, tokenize: true },
            CHAT_TEMPLATE_PARAMS,
            options,
            "apply_chat_template",
          );
    return (result as { tokens: number[] }).tokens.length;
  }

  async detokenize(params: DetokenizeParams, options: CallOptions = {}): Promise<string> {
    const result = await this.#call("detokenize", params, DETOKENIZE_PARAMS, options);
    return (result as { text: string }).text;
  }

  applyChatTemplate(
    params: ChatTemplateParams & { readonly tokenize: true },
    options?: CallOptions,
  ): Promise<number[]>;
  applyChatTemplate(
    params: ChatTemplateParams & { readonly tokenize?: false | undefined },
    options?: CallOptions,
  ): Promise<string>;
  async applyChatTemplate(params: ChatTemplateParams, options: CallOptions = {}): Promise<string | number[]> {
    const result = await this.#call("applyChatTemplate", params, CHAT_TEMPLATE_PARAMS, options);
    const { text, tokens } = result as { text: string; tokens: number[] };
    return params.tokenize === true ? tokens : text;
  }

  async ping(options: CallOptions = {}): Promise<void> {
    await this.#call("ping", {}, {}, options);
  }

  async runtimeInfo(options: CallOptions = {}): Promise<RuntimeInfo> {
    return camelKeys(await this.#call("runtimeInfo", {}, {}, options, "runtime/info")) as RuntimeInfo;
  }

  async runtimeState(options: CallOptions = {}): Promise<RuntimeState> {
    const state = camelKeys(
      await this.#call("runtimeState", {}, {}, options, "runtime/state"),
    ) as RuntimeState;
    return { ...state, restartCount: this.#supervisor.restartCount };
  }

  async stats(options: CallOptions = {}): Promise<RuntimeStats> {
    return camelKeys(await this.#call("stats", {}, {}, options, "runtime/stats")) as RuntimeStats;
  }

  async listModels(options: CallOptions = {}): Promise<readonly ModelState[]> {
    const { signal } = readParams("listModels", options, CALL_OPTIONS);
    if (this.#supervisor.connection === undefined && !this.closed) return [];
    return (await this.runtimeState({ signal })).loadedModels;
  }

  async healthCheck(options: HealthCheckOptions = {}): Promise<HealthStatus> {
    const { signal, timeoutMs } = readParams("healthCheck", options, HEALTH_OPTIONS);
    if (signal?.aborted) throw signal.reason;
    return checkHealth(this.#supervisor, timeoutMs ?? DEFAULT_HEALTH_TIMEOUT_MS, signal);
  }

  on<Name extends EngineEventName>(event: Name, listener: EngineListener<Name>): this {
    this.#hub.add(event, listener, false);
    return this;
  }

  once<Name extends EngineEventName>(event: Name, listener: EngineListener<Name>): this {
    this.#hub.add(event, listener, true);
    return this;
  }

  off<Name extends EngineEventName>(event: Name, listener: EngineListener<Name>): this {
    this.#hub.remove(event, listener);
    return this;
  }

  close(options: CloseOptions = {}): Promise<void> {
    try {
      const { drainMs = DEFAULT_DRAIN_MS } = readParams("close", options, CLOSE_OPTIONS);
      return this.#supervisor.close(drainMs);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** A call whose parameters go to the wire as they are, the model apart. */
  async #call(
    call: string,
    input: unknown,
    types: ParamTypes,
    callOptions: CallOptions,
    method: string = snakeCase(call),
  ): Promise<WireObject> {
    const { signal } = readParams(call, callOptions, CALL_OPTIONS);
    const { model, ...rest }: { model?: ModelRef } = readParams(call, input, types);
    if (!("model" in types)) return this.#request(method, toWire(rest), signal);
    const modelId = modelIdOf(call, model);
    return this.#request(method, { model_id: modelId, ...toWire(rest) }, signal, modelId);
  }

  /** Sends a request, after the reload of its model if there is one, and checks that its result is a map. */
  async #request(
    method: string,
    params: WireObject,
    signal: AbortSignal | undefined,
    modelId?: string,
  ): Promise<WireObject> {
    const connection = this.#supervisor.connect(signal);
    const after = modelId === undefined ? undefined : this.#supervisor.models.reloadOf(modelId);
    const result = await connection.request(method, params, { signal, after });
    if (!isWireObject(result)) throw new ProtocolError(`the worker's result of ${method} is not a map`);
    return result;
  }

  #generate(
    call: string,
    params: unknown,
    options: unknown,
  ): { generation: GenerationStream; modelId: string } {
    let stream: GenerationStream | undefined;
    let modelId = "";
    try {
      const { signal, streamId, ...shared } = readParams(call, options, GENERATE_OPTIONS);
      stream = this.#newStream(streamId ?? randomUUID());
      const request = readGenerateParams(call, params);
      modelId = request.modelId;
      const connection = this.#supervisor.connect(signal);
      const wire = { ...request.params, ...toWire(shared), stream_id: stream.streamId };
      connection.startStream(stream, wire, this.#supervisor.models.reloadOf(modelId));
      abortOn(signal, stream, connection);
      this.#announce(stream, modelId);
    } catch (error) {
      stream ??= this.#newStream(randomUUID());
      stream.onFailure(error);
    }
    return { generation: stream, modelId };
  }

  #newStream(streamId: string): GenerationStream {
    return new GenerationStream(streamId, () => this.#supervisor.connection?.cancelStream(streamId));
  }

  /** Emits the events of a generation that has been sent. */
  #announce(stream: GenerationStream, modelId: string): void {
    const { streamId } = stream;
    this.#hub.emit("generation:started", { streamId, modelId });
    stream.then(
      (result) => this.#hub.emit("generation:ended", { streamId, modelId, result }),
      (error: unknown) => this.#hub.emit("generation:ended", { streamId, modelId, error }),
    );
  }

  /** The worker's environment: this process's, then the option `env`, then options of their own. */
  #environment(options: Params<typeof ENGINE_OPTIONS>): Readonly<Record<string, string | undefined>> {
    const { env, modelsDir, logLevel, maxFrameBytes } = options;
    const settings = {
      MLX_MODELS_DIR: modelsDir === undefined ? undefined : this.#resolve(modelsDir),
      MLX_LOG_LEVEL: logLevel,
      MLX_MAX_FRAME_BYTES: maxFrameBytes?.toString(),
    };
    const given = Object.entries(settings).filter(([, value]) => value !== undefined);
    return { ...process.env, ...env, ...Object.fromEntries(given) };
  }

  #resolve(path: string): string {
    return resolvePath(this.#cwd ?? "", path);
  }
}

/** Ends a stream when the signal fires, for as long as the stream runs. */
function abortOn(signal: AbortSignal | undefined, stream: GenerationStream, connection: Connection): void {
  if (signal === undefined) return;
  const stopListening = onAbort(signal, () => {
    stream.abort(signal.reason);
    connection.abandonStream(stream.streamId);
  });
  stream.then(stopListening, stopListening);
}

/** The error of every item of a batch, in order; undefined for those that succeeded. */
function batchErrors(method: string, result: unknown, count: number): (Error | undefined)[] {
  const results = isWireObject(result) ? result.results : undefined;
  if (!Array.isArray(results) || results.length !== count) {
    throw new ProtocolError(
      `the worker's result of ${method} does not have one entry for each of ${count} requests`,
    );
  }
  return (results as WireBatchItem[]).map((item) => {
    if (item.success) return undefined;
    return item.error
      ? errorFromWire(item.error)
      : new ProtocolError(`${method}: an entry failed without an error`);
  });
}
