import type { EnvironmentVariable } from "../generated/protocol.js";
import type { EngineEventName, EngineListener } from "./events.js";
import type {
  ChatMessage,
  ChatParams,
  GenerateOptions,
  GenerateParams,
  Generation,
  ModelRef,
  Tool,
} from "./generate.js";
import type { GeneratorChunk, GeneratorParams } from "./generator.js";
import type { HealthStatus, ModelState, RuntimeInfo, RuntimeState, RuntimeStats } from "./runtime.js";

/** Variables of the worker's environment; those that it reads itself are listed by name in `docs/reference.md`. */
export type WorkerEnvironment = { readonly [Name in EnvironmentVariable]?: string | undefined } & Readonly<
  Record<string, string | undefined>
>;

/** Options of `createEngine`. */
export interface EngineOptions {
  /** The worker's executable. Default: see `WorkerNotFoundError` for the places that are searched. */
  readonly workerPath?: string | undefined;
  /** Environment of the worker, on top of this process's; undefined removes a variable. */
  readonly env?: WorkerEnvironment | undefined;
  /** Working folder of the worker, and what a relative `localPath` is relative to. Default: this process's. */
  readonly cwd?: string | undefined;
  /** Folder that model ids are looked up in (`MLX_MODELS_DIR`). */
  readonly modelsDir?: string | undefined;
  /** What the worker logs to stderr (`MLX_LOG_LEVEL`). */
  readonly logLevel?: "debug" | "info" | "warn" | "error" | undefined;
  /** Time for the worker to become ready, in milliseconds. Default 60000; 0: no limit. */
  readonly startTimeoutMs?: number | undefined;
  /** Largest message in either direction, in bytes (`MLX_MAX_FRAME_BYTES`). Default 64 MiB. */
  readonly maxFrameBytes?: number | undefined;
  /**
   * Loads the models again, in the order in which they were loaded, when a worker has to replace one that ended
   * unexpectedly; calls that name a model wait for it. Generations are never repeated. Default false.
   */
  readonly autoReload?: boolean | undefined;
  /**
   * Crashes of workers within 60 s after which calls reject with `WorkerCrashLoopError`, until the oldest of them is 60 s
   * ago. A worker that somebody ended by SIGTERM did not crash. Default 3; 0: any number.
   */
  readonly maxCrashes?: number | undefined;
  /** Receives what the worker writes to stderr: its log. Default: only kept for error messages. */
  readonly onStderr?: ((text: string) => void) | undefined;
}

/** Options of every call. */
export interface CallOptions {
  /** Makes the call reject with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** A format to quantise the matrices of a dense checkpoint to while loading. */
export type Quantization =
  | "none"
  | "int4"
  | "int8"
  | {
      /** Default "affine". */
      readonly mode?: "affine" | "mxfp4" | "mxfp8" | "nvfp4" | undefined;
      /** Bits a weight: 2, 3, 4, 5, 6 or 8 with "affine"; the other modes have theirs. Default: the mode's own. */
      readonly bits?: number | undefined;
      /** Weights that share a scale. Default: the mode's own. */
      readonly groupSize?: number | undefined;
    };

/** Which model to load, and how. */
export interface LoadModelOptions {
  /** Id that later calls use; without `localPath` also what is looked up in `modelsDir` and the Hugging Face cache. */
  readonly model: string;
  /** A folder with a config.json, or a .gguf file. */
  readonly localPath?: string | undefined;
  /** Branch, tag or commit to take from the Hugging Face cache. Default "main". */
  readonly revision?: string | undefined;
  /** Folder of a LoRA adapter. This build refuses it (`UnsupportedError`). */
  readonly adapterPath?: string | undefined;
  /** Tokens of context to offer. Default: the model's own. */
  readonly contextLength?: number | undefined;
  /** Type of the activations. Default: the model's own, or the backend's policy. */
  readonly dtype?: "float32" | "float16" | "bfloat16" | undefined;
  /** Quantises while loading; "int4" and "int8" are affine with groups of 64. Default: as the checkpoint is. */
  readonly quantization?: Quantization | undefined;
  /** Loads the model as a draft for speculative decoding. This build refuses true (`UnsupportedError`). */
  readonly draft?: boolean | undefined;
  /** Code from model repositories is never run: true is refused. */
  readonly trustRemoteCode?: boolean | undefined;
}

/** How far loading a model has come. */
export interface LoadProgress {
  readonly modelId: string;
  readonly phase: "read" | "convert" | "warmup";
  readonly loadedBytes: number;
  readonly totalBytes: number;
}

/** Options of {@link Engine.loadModel}. */
export interface LoadModelCallOptions extends CallOptions {
  /** Hears how far the load is. What it throws becomes a process warning. */
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
}

/** A loaded model; usable wherever a model id is. */
export interface ModelHandle {
  readonly modelId: string;
  readonly state: "ready";
  readonly architecture: string;
  /** Tokens. */
  readonly contextLength: number;
  readonly parameterCount: number;
  readonly sizeBytes: number;
  readonly dtype: string;
  readonly quantization: { readonly mode: string; readonly bits: number; readonly groupSize: number } | null;
  readonly vocabSize: number;
  /** Whether the model has a chat template, that is whether `messages` can be used. */
  readonly chatTemplate: boolean;
  readonly eosTokenIds: readonly number[];
  readonly loadMs: number;
  /** Whether the model was loaded already. */
  readonly cached: boolean;
}

/** Options of {@link Engine.unloadModel}. */
export interface UnloadModelOptions extends CallOptions {
  /** True cancels the model's streams; false (the default) refuses while it has any. */
  readonly force?: boolean | undefined;
}

/** Result of {@link Engine.unloadModel}. */
export interface UnloadResult {
  readonly success: boolean;
  readonly freedBytes: number;
}

interface TokenizeSettings {
  /** A loaded model. */
  readonly model: ModelRef;
  /** Adds the tokens that the model expects around a text. Default true. */
  readonly addSpecialTokens?: boolean | undefined;
  /** Returns the vocabulary entries as well. Default false. */
  readonly strings?: boolean | undefined;
}

/** Parameters of {@link Engine.tokenize}. */
export interface TokenizeParams extends TokenizeSettings {
  /** What to tokenize. */
  readonly text: string;
}

/** Parameters of {@link Engine.batchTokenize}. */
export interface BatchTokenizeParams extends TokenizeSettings {
  /** What to tokenize, each on its own. */
  readonly texts: readonly string[];
}

/** A tokenized text. */
export interface TokenizeResult {
  readonly tokens: readonly number[];
  /** Vocabulary entries of the tokens, with `strings`. */
  readonly tokenStrings?: readonly string[];
  readonly count: number;
}

/** Parameters of {@link Engine.countTokens} for a text. */
export interface CountTextParams extends Pick<TokenizeParams, "model" | "text" | "addSpecialTokens"> {
  readonly messages?: undefined;
}

/** Parameters of {@link Engine.countTokens} for a conversation, as the chat template renders it. */
export interface CountMessagesParams extends Omit<ChatTemplateParams, "tokenize"> {
  readonly text?: undefined;
}

/** Parameters of {@link Engine.countTokens}: a text, or a conversation as the chat template renders it. */
export type CountTokensParams = CountTextParams | CountMessagesParams;

/** Parameters of {@link Engine.detokenize}. */
export interface DetokenizeParams {
  /** A loaded model. */
  readonly model: ModelRef;
  /** Ids of the model's vocabulary. */
  readonly tokens: readonly number[];
  /** Leaves special tokens out of the text. Default false. */
  readonly skipSpecialTokens?: boolean | undefined;
}

/** Parameters of {@link Engine.applyChatTemplate}. */
export interface ChatTemplateParams {
  /** A loaded model. */
  readonly model: ModelRef;
  /** The conversation. */
  readonly messages: readonly ChatMessage[];
  /** Functions that the template tells the model of. */
  readonly tools?: readonly Tool[] | undefined;
  /** Further variables of the template. */
  readonly chatTemplateKwargs?: Readonly<Record<string, unknown>> | undefined;
  /** Ends with the beginning of an answer. Default true. */
  readonly addGenerationPrompt?: boolean | undefined;
  /** True: token ids instead of text. */
  readonly tokenize?: boolean | undefined;
}

/** Options of {@link Engine.healthCheck}. */
export interface HealthCheckOptions extends CallOptions {
  /** Time for the worker to answer, in milliseconds. Default 5000. */
  readonly timeoutMs?: number | undefined;
}

/** Options of {@link Engine.close}. */
export interface CloseOptions {
  /** Time for running calls to finish, in milliseconds. Default 5000; 0 cancels them. */
  readonly drainMs?: number | undefined;
}

/**
 * One worker process and the models in it.
 *
 * The worker is started by the first call and shared by all; after a crash, by the next call (its models
 * have to be loaded again, unless `autoReload` does it). While no call is pending it does not keep the application alive.
 */
export interface Engine extends AsyncDisposable {
  /** Whether {@link close} was called. */
  readonly closed: boolean;

  /**
   * Loads a model. Concurrent loads of one id are one load. An aborted call stops waiting; the worker
   * finishes loading all the same.
   *
   * @example
   * ```ts
   * const model = await engine.loadModel({ model: "smollm2", localPath: "./SmolLM2-135M-Instruct.Q4_1.gguf" });
   * ```
   * @throws ModelLoadError when it is not there, is broken, or is of a family that the worker does not know
   * @throws BusyError when another model, or the same one with other settings, is loaded under this id
   * @throws InsufficientMemoryError when matrices have to become dense and do not fit
   */
  loadModel(model: string | LoadModelOptions, options?: LoadModelCallOptions): Promise<ModelHandle>;

  /**
   * Unloads a model and frees its memory.
   *
   * @throws BusyError while generations use the model, without `force`
   * @throws ModelNotLoadedError for an unknown model
   */
  unloadModel(model: ModelRef, options?: UnloadModelOptions): Promise<UnloadResult>;

  /**
   * Starts to generate, at once. The returned value can be awaited and iterated; all failures, those of
   * parameters included, come out there.
   *
   * @example
   * ```ts
   * const { text } = await engine.generate({ model, messages: [{ role: "user", content: "Hi" }] });
   * ```
   */
  generate(params: GenerateParams, options?: GenerateOptions): Generation;

  /**
   * Continues a conversation: {@link generate} with `messages`. A `ChatSession` keeps the conversation as well.
   *
   * @example
   * ```ts
   * const { text } = await engine.chat([{ role: "user", content: "Hi" }], { model });
   * ```
   */
  chat(messages: readonly ChatMessage[], params: ChatParams, options?: GenerateOptions): Generation;

  /** Starts several generations with one message to the worker. Each one succeeds or fails alone. */
  batchGenerate(
    requests: readonly GenerateParams[],
    options?: Omit<GenerateOptions, "streamId">,
  ): Generation[];

  /**
   * Generates as a sequence of token, metadata and error chunks; starts when the first one is asked for.
   * What fails before the generation has started is thrown, what fails later is an error chunk.
   */
  createGenerator(
    params: GeneratorParams,
    options?: GenerateOptions,
  ): AsyncGenerator<GeneratorChunk, void, undefined>;

  /**
   * The token ids of a text.
   *
   * @throws ModelNotLoadedError for an unknown model
   * @throws TokenizerError when the text cannot be encoded
   */
  tokenize(params: TokenizeParams, options?: CallOptions): Promise<TokenizeResult>;

  /** Tokenizes several texts with one message to the worker; the first one that fails rejects the call. */
  batchTokenize(params: BatchTokenizeParams, options?: CallOptions): Promise<TokenizeResult[]>;

  /** Number of tokens of a text, special tokens included, or of a conversation. */
  countTokens(params: CountTokensParams, options?: CallOptions): Promise<number>;

  /**
   * The text of token ids.
   *
   * @throws ModelNotLoadedError for an unknown model
   */
  detokenize(params: DetokenizeParams, options?: CallOptions): Promise<string>;

  /**
   * Renders a conversation by the model's chat template, to token ids.
   *
   * @throws UnsupportedError when the model has no template
   * @throws TokenizerError when the template refuses the conversation
   */
  applyChatTemplate(
    params: ChatTemplateParams & { readonly tokenize: true },
    options?: CallOptions,
  ): Promise<number[]>;
  /**
   * Renders a conversation by the model's chat template, to text.
   *
   * @throws UnsupportedError when the model has no template
   * @throws TokenizerError when the template refuses the conversation
   */
  applyChatTemplate(
    params: ChatTemplateParams & { readonly tokenize?: false | undefined },
    options?: CallOptions,
  ): Promise<string>;

  /** Resolves when the worker answers; it does so even while it loads or generates. */
  ping(options?: CallOptions): Promise<void>;

  /** Versions, backend, device and memory of the worker, which is started if there is none. */
  runtimeInfo(options?: CallOptions): Promise<RuntimeInfo>;

  /** The models, streams and queue of the worker, which is started if there is none. */
  runtimeState(options?: CallOptions): Promise<RuntimeState>;

  /** Latency, throughput, scheduler and memory figures. */
  stats(options?: CallOptions): Promise<RuntimeStats>;

  /** Models in the worker. Starts no worker: without one there are none. */
  listModels(options?: CallOptions): Promise<readonly ModelState[]>;

  /**
   * Whether the engine can serve. Starts no worker, and rejects only when its signal fires or an option is refused: what
   * is wrong is in the result.
   */
  healthCheck(options?: HealthCheckOptions): Promise<HealthStatus>;

  /**
   * Calls a listener at every event of this name, from now on; the same listener is added once.
   *
   * @example
   * ```ts
   * engine.on("worker:status", ({ status, error }) => console.error("worker:", status, error?.message));
   * ```
   * @throws InvalidParamsError for an unknown event
   */
  on<Name extends EngineEventName>(event: Name, listener: EngineListener<Name>): this;

  /** Calls a listener at the next event of this name. */
  once<Name extends EngineEventName>(event: Name, listener: EngineListener<Name>): this;

  /** Takes a listener back. */
  off<Name extends EngineEventName>(event: Name, listener: EngineListener<Name>): this;

  /**
   * Ends the worker: running calls may finish within `drainMs`, then the process is ended by increasing
   * force. Resolves when it is gone; a second call returns the same promise. Later calls reject with
   * `EngineClosedError`.
   */
  close(options?: CloseOptions): Promise<void>;
}
