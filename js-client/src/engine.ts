import { randomUUID } from "node:crypto";
import { resolve as resolvePath } from "node:path";
import { onAbort } from "./abort.js";
import {
  BATCH_TOKENIZE_PARAMS,
  CALL_OPTIONS,
  CHAT_TEMPLATE_PARAMS,
  CLOSE_OPTIONS,
  DETOKENIZE_PARAMS,
  ENGINE_OPTIONS,
  LOAD_OPTIONS,
  LOAD_PARAMS,
  TOKENIZE_PARAMS,
  UNLOAD_PARAMS,
} from "./call-params.js";
import { camelKeys, snakeCase } from "./casing.js";
import { Connection } from "./connection.js";
import { EngineClosedError, ProtocolError } from "./errors.js";
import { BATCH_GENERATE_OPTIONS, GENERATE_OPTIONS, readGenerateParams } from "./generate-params.js";
import { GenerationStream } from "./generation.js";
import { ChunkGenerator } from "./generator.js";
import { notify } from "./notices.js";
import { modelIdOf, type Params, type ParamTypes, readParams, toWire } from "./params.js";
import { resolveWorker } from "./resolve-worker.js";
import type {
  BatchTokenizeParams,
  CallOptions,
  ChatTemplateParams,
  CloseOptions,
  DetokenizeParams,
  Engine,
  EngineOptions,
  LoadModelCallOptions,
  LoadModelOptions,
  LoadProgress,
  ModelHandle,
  TokenizeParams,
  TokenizeResult,
  UnloadModelOptions,
  UnloadResult,
} from "./types/engine.js";
import type { GenerateOptions, GenerateParams, Generation, ModelRef } from "./types/generate.js";
import type { GeneratorChunk, GeneratorParams } from "./types/generator.js";
import type { RuntimeInfo, RuntimeState, RuntimeStats } from "./types/runtime.js";
import { DEFAULT_MAX_FRAME_BYTES, isWireObject, type WireBatchItem, type WireObject } from "./wire.js";
import { errorFromWire, invalidParam } from "./wire-errors.js";

const DEFAULT_START_TIMEOUT_MS = 60_000;
const DEFAULT_DRAIN_MS = 5000;

/** {@link Engine} over at most one worker process at a time. */
export class WorkerEngine implements Engine {
  readonly #options: Params<typeof ENGINE_OPTIONS>;
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly #maxFrameBytes: number;
  #connection: Connection | undefined;
  #starts = 0;
  #closed: Promise<void> | undefined;

  constructor(options: EngineOptions) {
    this.#options = readParams("createEngine", options, ENGINE_OPTIONS);
    const { env, modelsDir, logLevel, maxFrameBytes } = this.#options;
    const settings = {
      MLX_MODELS_DIR: modelsDir === undefined ? undefined : this.#resolve(modelsDir),
      MLX_LOG_LEVEL: logLevel,
      MLX_MAX_FRAME_BYTES: maxFrameBytes?.toString(),
    };
    const given = Object.entries(settings).filter(([, value]) => value !== undefined);
    this.#env = { ...process.env, ...env, ...Object.fromEntries(given) };
    this.#maxFrameBytes = Number(this.#env.MLX_MAX_FRAME_BYTES) || DEFAULT_MAX_FRAME_BYTES;
  }

  async loadModel(
    model: string | LoadModelOptions,
    options: LoadModelCallOptions = {},
  ): Promise<ModelHandle> {
    const { signal, onProgress } = readParams("loadModel", options, LOAD_OPTIONS);
    const input = typeof model === "string" ? { model } : model;
    const { model: ref, modelId: alias, localPath, ...rest } = readParams("loadModel", input, LOAD_PARAMS);
    const modelId = modelIdOf("loadModel", ref ?? alias);
    const params = {
      model_id: modelId,
      local_path: typeof localPath === "string" ? this.#resolve(localPath) : undefined,
      ...toWire(rest),
    };
    const connection = this.#connect(signal);
    const onNotification = (progress: WireObject): void => {
      if (progress.model_id === modelId) notify(onProgress, camelKeys(progress) as LoadProgress);
    };
    if (onProgress !== undefined) connection.addProgressListener(onNotification);
    try {
      return camelKeys(await connection.request("load_model", params, signal)) as ModelHandle;
    } finally {
      connection.removeProgressListener(onNotification);
    }
  }

  async unloadModel(model: ModelRef, options: UnloadModelOptions = {}): Promise<UnloadResult> {
    const { force, ...callOptions } = options;
    return camelKeys(
      await this.#call("unloadModel", { model, force }, UNLOAD_PARAMS, callOptions),
    ) as UnloadResult;
  }

  generate(params: GenerateParams, options: GenerateOptions = {}): Generation {
    return this.#generate("generate", params, options).generation;
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
      const items = requests.map((request, i) => ({
        ...readGenerateParams(`batchGenerate: request ${i}`, request).params,
        ...toWire(shared),
        stream_id: streams[i]?.streamId,
      }));
      const connection = this.#connect(signal);
      connection.startStreams(streams, { requests: items }, (result) => {
        for (const [i, error] of batchErrors("batch_generate", result, streams.length).entries()) {
          const stream = streams[i];
          if (error !== undefined && stream !== undefined) connection.refuseStream(stream.streamId, error);
        }
      });
      for (const stream of streams) abortOn(signal, stream, connection);
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
    const shared = { model_id: modelIdOf("batchTokenize", model), ...toWire(rest) };
    const requests = texts?.map((text) => ({ ...shared, text }));
    if (requests === undefined) throw invalidParam("texts", "batchTokenize: parameter texts is missing");
    if (requests.length === 0) return [];
    const result = await this.#call(
      "batchTokenize",
      { requests },
      { requests: "array" },
      options,
      "batch_tokenize",
    );
    for (const error of batchErrors("batch_tokenize", result, requests.length))
      if (error !== undefined) throw error;
    return (result as { results: WireBatchItem[] }).results.map(
      (item) => camelKeys(item.result) as TokenizeResult,
    );
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
    return { ...state, restartCount: Math.max(0, this.#starts - 1) };
  }

  async stats(options: CallOptions = {}): Promise<RuntimeStats> {
    return camelKeys(await this.#call("stats", {}, {}, options, "runtime/stats")) as RuntimeStats;
  }

  close(options: CloseOptions = {}): Promise<void> {
    if (this.#closed !== undefined) return this.#closed;
    try {
      const { drainMs = DEFAULT_DRAIN_MS } = readParams("close", options, CLOSE_OPTIONS);
      this.#closed = this.#connection?.shutdown(drainMs) ?? Promise.resolve();
      return this.#closed;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The connection to the worker, which the first call after a start or a crash spawns. */
  #connect(signal: AbortSignal | undefined): Connection {
    if (signal?.aborted) throw signal.reason;
    if (this.#closed !== undefined) throw new EngineClosedError();
    if (this.#connection !== undefined) return this.#connection;
    const { workerPath, cwd, startTimeoutMs, onStderr } = this.#options;
    const connection = new Connection({
      command: resolveWorker({ workerPath, env: this.#env }),
      env: this.#env,
      cwd,
      maxFrameBytes: this.#maxFrameBytes,
      startTimeoutMs: startTimeoutMs ?? DEFAULT_START_TIMEOUT_MS,
      onStderr,
      onClose: () => {
        if (this.#connection === connection) this.#connection = undefined;
      },
    });
    this.#connection = connection;
    this.#starts += 1;
    return connection;
  }

  /** A call whose parameters go to the wire as they are, the model apart. */
  async #call(
    call: string,
    input: unknown,
    types: ParamTypes,
    callOptions: CallOptions,
    method: string = snakeCase(call),
  ): Promise<unknown> {
    const { signal } = readParams(call, callOptions, CALL_OPTIONS);
    const { model, ...rest }: { model?: ModelRef } = readParams(call, input, types);
    const params = "model" in types ? { model_id: modelIdOf(call, model), ...toWire(rest) } : toWire(rest);
    const result = await this.#connect(signal).request(method, params, signal);
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
      const connection = this.#connect(signal);
      connection.startStream(stream, { ...request.params, ...toWire(shared), stream_id: stream.streamId });
      abortOn(signal, stream, connection);
    } catch (error) {
      stream ??= this.#newStream(randomUUID());
      stream.onFailure(error);
    }
    return { generation: stream, modelId };
  }

  #newStream(streamId: string): GenerationStream {
    return new GenerationStream(streamId, () => this.#connection?.cancelStream(streamId));
  }

  #resolve(path: string): string {
    return resolvePath(this.#options.cwd ?? "", path);
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
