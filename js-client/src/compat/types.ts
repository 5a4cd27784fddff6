/**
 * Public types of mlx-serving (formerly kr-serve-mlx), which mlx-worker replaces: the same names and shapes, so that
 * its applications compile as they are.
 */
import type { EngineOptions as WorkerOptions } from "../types/engine.js";

/** Id of a model. */
export type ModelIdentifier = string;

/** What to quantise to while loading. */
export type QuantizationMode = "none" | "int8" | "int4";

/** Text with `{{name}}` placeholders. */
export interface PromptTemplate {
  /** The text. A placeholder without a variable becomes empty. */
  template: string;
  /** What stands for the placeholders, by name. */
  variables: Record<string, string>;
}

/** Constraint on the output. */
export interface StructuredOutputConfig {
  /** A JSON schema. */
  schema: Record<string, unknown>;
  /** "yaml" is refused. */
  format: "json" | "yaml";
}

/** Images beside a prompt; refused: the worker has no vision models. */
export interface VisionPromptConfig {
  images: string[];
  imageFormat?: "base64" | "url" | "path";
}

/** What to generate. Other parameters of the worker's `generate` are taken too; unknown ones are refused. */
export interface GeneratorParams {
  /** Id of a loaded model. */
  model: string;
  /** Text, a template to fill in, or token ids, used as they are. */
  prompt: string | PromptTemplate | { tokens: number[] };
  /** Most tokens to generate. Default 512; at most what the context leaves. */
  maxTokens?: number;
  /** 0 (greedy) to 2. Default 0.7. */
  temperature?: number;
  /** Probability mass to sample from. Default 1. */
  topP?: number;
  /** Subtracted once from the logits of tokens that occurred, -2 to 2. Default 0. */
  presencePenalty?: number;
  /** Subtracted for each occurrence, -2 to 2. Default 0. */
  frequencyPenalty?: number;
  /** Divides positive logits of tokens that occurred, multiplies negative ones; above 0, up to 10. Default 1: none. */
  repetitionPenalty?: number;
  /** Texts that end the generation; they are not part of the result. At most 16. */
  stopSequences?: string[];
  /** Token ids that end the generation, besides the model's own. */
  stopTokenIds?: number[];
  /** Makes sampling repeatable. Default: another one for every request. */
  seed?: number;
  /** False: the text comes as one chunk at the end. Default true. */
  streaming?: boolean;
  /** Makes the text JSON of a schema; excludes the worker's own `guidance`. This build refuses both. */
  structured?: StructuredOutputConfig;
  /** Refused: the worker has no vision models. */
  multimodal?: VisionPromptConfig;
  /** Model that drafts tokens for speculative decoding. This build refuses it. */
  draftModel?: string;
  /** Has no effect, as before. */
  hints?: Record<string, unknown>;
  /** Used in place of `prompt`. */
  promptTokens?: number[];
  [key: string]: unknown;
}

/** {@link GeneratorParams} in snake_case. */
export type SnakeCaseGeneratorParams = Partial<GeneratorParams> & {
  model_id?: string;
  max_tokens?: number;
  top_p?: number;
  presence_penalty?: number;
  frequency_penalty?: number;
  repetition_penalty?: number;
  stop_sequences?: string[];
  stop_token_ids?: number[];
  draft_model?: string;
  prompt_tokens?: number[];
  stream?: boolean;
};

/** How a generation is run. */
export interface CreateGeneratorOptions {
  /** Cancels the generation; the generator then throws an error with code "Cancelled". */
  signal?: AbortSignal;
  /** Name of the stream, unique among the active ones. Default: a random one. */
  streamId?: string;
  /** Milliseconds; then the generator throws a {@link TimeoutError}. */
  timeoutMs?: number;
  /** Place in the queue: "urgent" before "default" before "background". Default "default". */
  priority?: "urgent" | "default" | "background";
}

/** Figures of a generation. */
export interface GenerationStats {
  tokensGenerated: number;
  tokensPerSecond: number;
  /** Seconds. */
  timeToFirstToken: number;
  /** Seconds. */
  totalTime?: number;
  draftTokensAccepted?: number;
  modelId?: string;
}

/** An error as plain data. */
export interface EngineError {
  code?: string;
  message: string;
  details?: Record<string, unknown>;
}

/** What a generator yields. */
export type GeneratorChunk =
  | {
      type: "token";
      token: string;
      tokenId?: number;
      logprob?: number;
      isFinal?: boolean;
      cumulativeText?: string;
    }
  | { type: "metadata"; stats: GenerationStats }
  | { type: "error"; error: EngineError };

/** Text to tokenize. */
export interface TokenizeRequest {
  /** Id of a loaded model. */
  model: string;
  /** What to tokenize. */
  text: string;
  /** Adds the model's special tokens. Default true. */
  addBos?: boolean;
}

/** {@link TokenizeRequest} in snake_case. */
export type SnakeCaseTokenizeRequest = Partial<TokenizeRequest> & { model_id?: string; add_bos?: boolean };

/** A tokenized text. */
export interface TokenizeResponse {
  tokens: number[];
  tokenStrings?: string[];
}

/** The tokenizer of a model. */
export interface TokenizerConfig {
  type: string;
  vocabSize: number;
  specialTokens?: Record<string, number>;
}

/** What a model is. */
export interface ModelDescriptor {
  /** Id that calls name the model by. */
  id: string;
  /** Not used by the worker. */
  variant?: string;
  /** "local" for a model that was loaded from `path`. */
  source: "huggingface" | "local";
  /** Folder or .gguf file to load; without one the id is looked up. */
  path?: string;
  tokenizer?: TokenizerConfig;
  modality: "text" | "vision" | "multimodal";
  family: "mlx-lm" | "mlx-vlm";
}

/** How far a model is. A handle exists only for one that is ready. */
export type ModelState = "loading" | "ready" | "failed";

/** A model that was loaded. */
export interface ModelHandle {
  descriptor: ModelDescriptor;
  state: ModelState;
  /** Tokens. */
  contextLength: number;
  /** Everything that the worker tells about the model. */
  metadata: Record<string, unknown>;
  draft?: boolean;
}

/** Which model to load. Other parameters of the worker's `load_model` are taken too; unknown ones are refused. */
export interface LoadModelOptions {
  /** Id that later calls use and that is looked up, or a descriptor, whose `path` is loaded. */
  model: string | ModelDescriptor;
  /** Loads the model as a draft for speculative decoding. This build refuses true. */
  draft?: boolean;
  /** Branch, tag or commit to take from the Hugging Face cache. Default "main". */
  revision?: string;
  /** Quantises while loading. Default: as the checkpoint is. */
  quantization?: QuantizationMode;
  /** Defaults of this model's generations; generation parameters that stand beside it win. */
  parameters?: Partial<GeneratorParams>;
  /** Code from model repositories is never run: true is refused. */
  trustRemoteCode?: boolean;
  [key: string]: unknown;
}

/** {@link LoadModelOptions} in snake_case. */
export type SnakeCaseLoadModelOptions = Partial<LoadModelOptions> & {
  model_id?: string;
  local_path?: string;
  trust_remote_code?: boolean;
};

/** Whether a model can draft for another. */
export interface CompatibilityReport {
  compatible: boolean;
  errors: string[];
  warnings: string[];
  details: {
    primaryModel: ComparedModel;
    draftModel: ComparedModel;
    performanceEstimate: { expectedSpeedup: string; sizeRatio: string; recommendation: string };
  };
}

/** One of the two models of a {@link CompatibilityReport}. */
export interface ComparedModel {
  id: string;
  vocabSize: number | null;
  parameterCount: number;
  architecture: string;
}

/** The worker. */
export interface RuntimeInfo {
  version: string;
  mlxVersion: string;
  protocol: string;
  capabilities: string[];
  mlxSupported?: boolean;
  /** Bytes. The size of the address space, `vms`, is no longer told. */
  memory?: { rss: number; vms?: number };
}

/** Whether an engine can serve. */
export interface HealthStatus {
  status: "healthy" | "degraded" | "unhealthy";
  /** Milliseconds since the worker was started. */
  uptime: number;
  activeStreams: number;
  loadedModels: number;
  runtime?: { pid?: number; status: "running" | "stopped" | "crashed" };
  /** Whether this engine and the worker know the same models. */
  stateConsistent?: boolean;
  stateErrors?: string[];
}

/** The models that are loaded. */
export interface ModelCacheStats {
  loadedModels: number;
  /** Infinity: only memory limits their number. */
  maxModels: number;
  cacheEnabled: boolean;
  /** `lastAccess` in milliseconds since the epoch. */
  models: Array<{ modelId: string; lastAccess: number }>;
}

/** Times and sizes of one kind of client-side batch. */
export interface BatchPerformance {
  avgBatchTime: number;
  p50BatchTime: number;
  p95BatchTime: number;
  p99BatchTime: number;
  avgBatchSize: number;
  avgQueueLatency: number;
  p95QueueLatency: number;
  samplesRecorded: number;
}

/** Figures of the client-side batch queue, which there is none of any more. */
export interface BatchStats {
  tokenizeBatches: number;
  tokenizeRequests: number;
  checkDraftBatches: number;
  checkDraftRequests: number;
  tokenizeQueueSize: number;
  checkDraftQueueSize: number;
  tokenizeEfficiency: number;
  checkDraftEfficiency: number;
  tokenizeFallbacks: number;
  checkDraftFallbacks: number;
  currentMaxBatchSize: number;
  initialMaxBatchSize: number;
  adaptiveSizingEnabled: boolean;
  tokenizePerformance: BatchPerformance;
  checkDraftPerformance: BatchPerformance;
}

/** Functions that are called beside the events. What they throw becomes a process warning. */
export interface TelemetryHooks {
  /** A model was loaded, or loaded again. */
  onModelLoaded?: (model: ModelHandle) => void;
  /** A token was read from a generator; with the figures so far. */
  onTokenGenerated?: (token: string, stats: GenerationStats) => void;
  /** A generation ended without an error. */
  onGenerationCompleted?: (stats: GenerationStats) => void;
  /** A call failed. */
  onError?: (error: EngineError) => void;
}

/** Option `telemetry` of `createEngine`. */
export interface TelemetryOptions {
  /** Whether the hooks are called. */
  enabled: boolean;
  /** What is called. */
  hooks?: TelemetryHooks;
}

/** Options of `createEngine`: mlx-worker's, and those of before, of which only `telemetry` still has an effect. */
export interface EngineOptions extends WorkerOptions {
  /** Has no effect but a process warning: there is no Python. See `workerPath`. */
  pythonPath?: string;
  /** Has no effect but a process warning. See `workerPath`. */
  runtimePath?: string;
  /** Has no effect but a process warning: checkpoints are read where they are. */
  cacheDir?: string;
  /** Has no effect but a process warning: checkpoints are read where they are. */
  cache?: Record<string, unknown>;
  /** Functions that are called beside the events. */
  telemetry?: TelemetryOptions;
}

/** An image; vision models are refused. */
export interface ImageInput {
  source: string | Uint8Array;
  format?: "png" | "jpg" | "jpeg" | "webp" | "bmp";
  metadata?: { width?: number; height?: number; channels?: number };
}

/** What a vision model is; vision models are refused. */
export interface VisionModelDescriptor extends ModelDescriptor {
  modality: "vision" | "multimodal";
  family: "mlx-vlm";
  imageEncoder: "clip" | "vit" | "siglip";
  maxImageSize: number;
  imagePreprocessing?: {
    resolution: number;
    patchSize: number;
    mean: [number, number, number];
    std: [number, number, number];
  };
}

/** A vision model that was loaded; vision models are refused. */
export interface VisionModelHandle extends ModelHandle {
  descriptor: VisionModelDescriptor;
  metadata: { supportedFormats: string[]; maxBatchSize: number; [key: string]: unknown };
}

/** Which vision model to load; vision models are refused. */
export interface LoadVisionModelOptions {
  model: string;
  revision?: string;
  quantization?: { bits: 4 | 8; groupSize?: number };
  preprocessing?: Partial<VisionModelDescriptor["imagePreprocessing"]>;
  config?: Record<string, unknown>;
}

/** What to generate with images; vision models are refused. */
export interface VisionGeneratorParams extends Omit<GeneratorParams, "multimodal"> {
  image: ImageInput | ImageInput[];
  visionConfig?: {
    imageResolution?: number;
    patchSize?: number;
    enableTiling?: boolean;
    numTiles?: number;
  };
}

/** What a generator with images would yield; vision models are refused. */
export interface VisionGeneratorChunk {
  type: "token" | "metadata" | "error" | "image_processed";
  token?: string;
  logprob?: number;
  stats?: {
    tokensGenerated: number;
    tokensPerSecond: number;
    timeToFirstToken: number;
    totalTime: number;
    imageProcessingTime?: number;
    imageEncodingTime?: number;
  };
  error?: { code: string; message: string; details?: Record<string, unknown> };
  imageMetadata?: {
    numImages: number;
    totalTokens: number;
    resolutions: Array<{ width: number; height: number }>;
  };
}
