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
  template: string;
  variables: Record<string, string>;
}

/** Constraint on the output. */
export interface StructuredOutputConfig {
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
  model: string;
  prompt: string | PromptTemplate | { tokens: number[] };
  maxTokens?: number;
  temperature?: number;
  topP?: number;
  presencePenalty?: number;
  frequencyPenalty?: number;
  repetitionPenalty?: number;
  stopSequences?: string[];
  stopTokenIds?: number[];
  seed?: number;
  streaming?: boolean;
  structured?: StructuredOutputConfig;
  multimodal?: VisionPromptConfig;
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
  signal?: AbortSignal;
  streamId?: string;
  /** Milliseconds; then the generator throws a {@link TimeoutError}. */
  timeoutMs?: number;
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
  model: string;
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
  id: string;
  variant?: string;
  source: "huggingface" | "local";
  path?: string;
  tokenizer?: TokenizerConfig;
  modality: "text" | "vision" | "multimodal";
  family: "mlx-lm" | "mlx-vlm";
}

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
  model: string | ModelDescriptor;
  draft?: boolean;
  revision?: string;
  quantization?: QuantizationMode;
  /** Defaults of this model's generations; generation parameters that stand beside it win. */
  parameters?: Partial<GeneratorParams>;
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

interface ComparedModel {
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
  onModelLoaded?: (model: ModelHandle) => void;
  onTokenGenerated?: (token: string, stats: GenerationStats) => void;
  onGenerationCompleted?: (stats: GenerationStats) => void;
  onError?: (error: EngineError) => void;
}

export interface TelemetryOptions {
  enabled: boolean;
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
  telemetry?: TelemetryOptions;
}

/** An image; vision models are refused. */
export interface ImageInput {
  source: string | Uint8Array;
  format?: "png" | "jpg" | "jpeg" | "webp" | "bmp";
  metadata?: { width?: number; height?: number; channels?: number };
}

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

export interface VisionModelHandle extends ModelHandle {
  descriptor: VisionModelDescriptor;
  metadata: { supportedFormats: string[]; maxBatchSize: number; [key: string]: unknown };
}

export interface LoadVisionModelOptions {
  model: string;
  revision?: string;
  quantization?: { bits: 4 | 8; groupSize?: number };
  preprocessing?: Partial<VisionModelDescriptor["imagePreprocessing"]>;
  config?: Record<string, unknown>;
}

export interface VisionGeneratorParams extends Omit<GeneratorParams, "multimodal"> {
  image: ImageInput | ImageInput[];
  visionConfig?: {
    imageResolution?: number;
    patchSize?: number;
    enableTiling?: boolean;
    numTiles?: number;
  };
}

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
