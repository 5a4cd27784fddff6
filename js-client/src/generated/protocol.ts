// Written by `make generate` from the tables in rpc/ and envcfg/. Do not edit.

/** JSON-RPC error code of every error kind that the worker sends. */
export const ERROR_CODES = {
  /** A frame is empty or is not exactly one MessagePack map. The id is null. */
  ParseError: -32700,
  /** A message is no JSON-RPC 2.0 request, or its id is neither a string nor an integer from 0 to 2^53-1. */
  InvalidRequest: -32600,
  /** A frame is longer than `MLX_MAX_FRAME_BYTES`. A request that is gets id null; its body is skipped. */
  FrameTooLarge: -32600,
  /** There is no such method. */
  MethodNotFound: -32601,
  /** A parameter is unknown, missing, of the wrong type or out of range. */
  InvalidParams: -32602,
  /** A fault of the worker. The log on stderr tells more. */
  InternalError: -32603,
  /** A model cannot be loaded: file missing, bad config, unknown architecture, corrupt weights. */
  ModelLoadError: -32001,
  /** A step failed. */
  GenerationError: -32002,
  /** A tokenizer or chat template cannot be loaded or fails on an input. */
  TokenizerError: -32003,
  /** A schema or grammar cannot be compiled. Generation never falls back to free text. */
  GuidanceError: -32004,
  /** No model is loaded under the id. */
  ModelNotLoaded: -32005,
  /** Too many generations wait (`MLX_MAX_QUEUE`), or 1024 requests of any kind are being worked on. */
  QueueFull: -32006,
  /** The request was cancelled before it started, or its model was unloaded by force while the stream ran. */
  Cancelled: -32007,
  /** The worker takes no more work, or ends before a running stream has finished. */
  ShuttingDown: -32007,
  /** The prompt does not leave room for one token in the model's context. */
  ContextLengthExceeded: -32008,
  /**
   * Refused for lack of memory: a generation at admission, or a load whose quantised matrices have to become
   * dense.
   */
  InsufficientMemory: -32009,
  /** A known method, option or model feature that this build does not offer. */
  Unsupported: -32010,
  /**
   * What the request would change is in use: a model by streams, by a load or an unload, an id by another
   * model.
   */
  Busy: -32011,
  /** Anything else. The log on stderr tells more. */
  RuntimeError: -32099,
} as const;

/** Class of a failure reported by the worker, as in `error.data.kind` on the wire. */
export type ErrorKind = keyof typeof ERROR_CODES;

/**
 * Parameters of `load_model`. Makes a model ready. Calls for one id at the same time are one load, whose
 * failure reaches all. Progress comes as `model.progress`.
 */
export interface LoadModelParams {
  /** Id of the model. Accepted: a string of 1 to 512 bytes. */
  readonly model_id: string;
  /**
   * A folder with config.json, or a .gguf file. Without it model_id is looked up in MLX_MODELS_DIR, then in
   * the Hugging Face cache; never over a network. Accepted: a string of 1 to 4096 bytes.
   */
  readonly local_path?: string | null | undefined;
  /** Revision to take from the Hugging Face cache. Accepted: a string of 1 to 4096 bytes. */
  readonly revision?: string | null | undefined;
  /** Tokens of context to offer; default: the model's own. Accepted: an integer from 1 to 10000000. */
  readonly context_length?: number | null | undefined;
  /**
   * Type of the activations; default: the model's own, or the backend's policy. Accepted: one of "float32",
   * "float16", "bfloat16".
   */
  readonly dtype?: "float32" | "float16" | "bfloat16" | null | undefined;
  /** Folder of a LoRA adapter. Accepted: a string of 1 to 4096 bytes. Not offered by this build. */
  readonly adapter_path?: string | null | undefined;
  /**
   * Quantise the matrices of a dense checkpoint while loading, as mlx_lm.convert does. Accepted: "none",
   * "int4", "int8" (affine, groups of 64), or an object of mode ("affine", "mxfp4", "mxfp8", "nvfp4"), bits
   * and group_size, which are mlx-lm's where they are left out.
   */
  readonly quantization?: string | Readonly<Record<string, unknown>> | null | undefined;
  /**
   * Load as a draft for speculative decoding. Default: false. Accepted: true or false. Not offered by this
   * build.
   */
  readonly draft?: boolean | null | undefined;
  /**
   * Code from model repositories is never run: true is refused. Default: false. Accepted: true or false. Not
   * offered by this build.
   */
  readonly trust_remote_code?: boolean | null | undefined;
}

/** Parameters of `unload_model`. Frees a model. */
export interface UnloadModelParams {
  /** Id of the model. Accepted: a string of 1 to 512 bytes. */
  readonly model_id: string;
  /**
   * Cancel the model's streams; without it a model with streams is Busy. Default: false. Accepted: true or
   * false.
   */
  readonly force?: boolean | null | undefined;
}

/**
 * Parameters of `generate`. Starts to generate from exactly one of prompt, prompt_tokens and messages. What
 * goes wrong before the start is the response; the rest comes by notifications.
 */
export interface GenerateParams {
  /** Id of the model. Accepted: a string of 1 to 512 bytes. */
  readonly model_id: string;
  /**
   * The client's name for the stream, unique among the active ones; default: a random one. Accepted: a string
   * of 1 to 128 bytes.
   */
  readonly stream_id?: string | null | undefined;
  /**
   * Text, encoded as it is; the model's special tokens are added unless it starts with them. Accepted: a
   * string that is not empty.
   */
  readonly prompt?: string | null | undefined;
  /** Token ids, used as they are. Accepted: an array of token ids that is not empty. */
  readonly prompt_tokens?: readonly number[] | null | undefined;
  /**
   * The conversation: objects with role and content (a string, null or an array of text parts), and what else
   * the chat template knows. Accepted: an array of objects that is not empty.
   */
  readonly messages?: readonly Readonly<Record<string, unknown>>[] | null | undefined;
  /** Functions that the model may call, as its chat template expects them. Accepted: an array of objects. */
  readonly tools?: readonly Readonly<Record<string, unknown>>[] | null | undefined;
  /** Further variables of the chat template, such as enable_thinking. Accepted: an object. */
  readonly chat_template_kwargs?: Readonly<Record<string, unknown>> | null | undefined;
  /**
   * Most tokens to generate, up to the model's context length. Where prompt and completion fill the context
   * the stream ends with "length". Default: 512. Accepted: an integer from 1 to 10000000.
   */
  readonly max_tokens?: number | null | undefined;
  /** 0 is greedy decoding. Default: 0.7. Accepted: a number from 0 to 2. */
  readonly temperature?: number | null | undefined;
  /** Probability mass to sample from. Default: 1. Accepted: a number above 0, up to 1. */
  readonly top_p?: number | null | undefined;
  /**
   * Number of likeliest tokens to sample from; 0, or the size of the vocabulary and above: all. Default: 0.
   * Accepted: an integer from 0 to 1000000.
   */
  readonly top_k?: number | null | undefined;
  /** Least probability relative to the likeliest token. Default: 0. Accepted: a number from 0, below 1. */
  readonly min_p?: number | null | undefined;
  /**
   * Probability, at each token, of excluding the top choices but the least likely of them. End of text and
   * line feed are never excluded. Default: 0. Accepted: a number from 0 to 1.
   */
  readonly xtc_probability?: number | null | undefined;
  /**
   * Probability above which a token is a top choice; for xtc_probability. Default: 0.1. Accepted: a number
   * from 0 to 0.5.
   */
  readonly xtc_threshold?: number | null | undefined;
  /**
   * Divides the logits, or multiplies those below 0, of tokens that occurred; 1: none. Default: 1. Accepted:
   * a number above 0, up to 10.
   */
  readonly repetition_penalty?: number | null | undefined;
  /**
   * Last tokens, of prompt and completion, that the three penalties look at; 0: none, which turns them off.
   * Default: 20. Accepted: an integer from 0 to 10000000.
   */
  readonly repetition_context_size?: number | null | undefined;
  /**
   * Subtracted once from the logit of each token that occurred. Default: 0. Accepted: a number from -2 to 2.
   */
  readonly presence_penalty?: number | null | undefined;
  /**
   * Subtracted from the logit of a token for each time that it occurred. Default: 0. Accepted: a number from
   * -2 to 2.
   */
  readonly frequency_penalty?: number | null | undefined;
  /**
   * Added to the logits of tokens of the vocabulary, before the penalties. Accepted: an object of at most
   * 1024 numbers from -100 to 100 by token id.
   */
  readonly logit_bias?: Readonly<Record<string, number>> | null | undefined;
  /**
   * Makes sampling repeatable; default: another one for each stream. Accepted: an integer from 0 to
   * 9007199254740991.
   */
  readonly seed?: number | null | undefined;
  /**
   * Texts that end the generation and are not part of it. Accepted: an array of at most 16 strings of 1 to
   * 1024 bytes.
   */
  readonly stop_sequences?: readonly string[] | null | undefined;
  /** Token ids that end the generation, beside the model's own. Accepted: an array of 0 to 128 token ids. */
  readonly stop_token_ids?: readonly number[] | null | undefined;
  /** Go on after an end-of-text token; stop_token_ids still end. Default: false. Accepted: true or false. */
  readonly ignore_eos?: boolean | null | undefined;
  /** Report the log-probability of each token. Default: false. Accepted: true or false. */
  readonly logprobs?: boolean | null | undefined;
  /**
   * Alternatives to report with each token; above 0 it needs logprobs. Default: 0. Accepted: an integer from
   * 0 to 20.
   */
  readonly top_logprobs?: number | null | undefined;
  /** Place in the queue. Default: "default". Accepted: one of "default", "urgent", "background". */
  readonly priority?: "default" | "urgent" | "background" | null | undefined;
  /**
   * End with "timeout" after so long, waiting included; default: never. Accepted: an integer from 1 to
   * 2147483647.
   */
  readonly timeout_ms?: number | null | undefined;
  /**
   * Constraint on the generated text: mode ("json_schema", "json", "regex" or "lark") and schema. Accepted:
   * an object with mode and schema. Not offered by this build.
   */
  readonly guidance?: Readonly<Record<string, unknown>> | null | undefined;
  /** Id of a model that drafts tokens. Accepted: a string of 1 to 512 bytes. Not offered by this build. */
  readonly draft_model?: string | null | undefined;
  /** Tokens drafted a step; for draft_model. Default: 3. Accepted: an integer from 1 to 64. */
  readonly num_draft_tokens?: number | null | undefined;
  /**
   * Keep the prompt's KV cache for prompts that begin alike. This build keeps none: cached_tokens is 0.
   * Default: true. Accepted: true or false.
   */
  readonly cache_prompt?: boolean | null | undefined;
  /** Send a chunk a step; false: one chunk at the end. Default: true. Accepted: true or false. */
  readonly stream?: boolean | null | undefined;
}

/**
 * Parameters of `cancel`. Cancels a stream, also before its generate was answered. It leaves the batch before
 * the next step.
 */
export interface CancelParams {
  /** The stream to cancel. Accepted: a string of 1 to 128 bytes. */
  readonly stream_id: string;
}

/** Parameters of `batch_generate`. Starts several streams. An item that fails does not affect the others. */
export interface BatchGenerateParams {
  /** Parameters of generate, once for each stream. Accepted: an array of 1 to 1024 objects. */
  readonly requests: readonly GenerateParams[];
}

/** Parameters of `tokenize`. Encodes a text. */
export interface TokenizeParams {
  /** Id of the model. Accepted: a string of 1 to 512 bytes. */
  readonly model_id: string;
  /** Text to encode. Accepted: a string. */
  readonly text: string;
  /** Add the tokens that the model expects around a text. Default: true. Accepted: true or false. */
  readonly add_special_tokens?: boolean | null | undefined;
  /** Return the vocabulary entries too. Default: false. Accepted: true or false. */
  readonly strings?: boolean | null | undefined;
}

/** Parameters of `batch_tokenize`. Encodes several texts. An item that fails does not affect the others. */
export interface BatchTokenizeParams {
  /** Parameters of tokenize, once for each text. Accepted: an array of 1 to 1024 objects. */
  readonly requests: readonly TokenizeParams[];
}

/** Parameters of `detokenize`. Decodes tokens. */
export interface DetokenizeParams {
  /** Id of the model. Accepted: a string of 1 to 512 bytes. */
  readonly model_id: string;
  /** Tokens to decode. Accepted: an array of token ids. */
  readonly tokens: readonly number[];
  /** Leave special tokens out of the text. Default: false. Accepted: true or false. */
  readonly skip_special_tokens?: boolean | null | undefined;
}

/** Parameters of `apply_chat_template`. Renders a conversation by the model's chat template. */
export interface ApplyChatTemplateParams {
  /** Id of the model. Accepted: a string of 1 to 512 bytes. */
  readonly model_id: string;
  /**
   * The conversation: objects with role and content (a string, null or an array of text parts), and what else
   * the chat template knows. Accepted: an array of objects that is not empty.
   */
  readonly messages: readonly Readonly<Record<string, unknown>>[];
  /** Functions that the model may call, as its chat template expects them. Accepted: an array of objects. */
  readonly tools?: readonly Readonly<Record<string, unknown>>[] | null | undefined;
  /** Further variables of the chat template, such as enable_thinking. Accepted: an object. */
  readonly chat_template_kwargs?: Readonly<Record<string, unknown>> | null | undefined;
  /** End with the beginning of an answer. Default: true. Accepted: true or false. */
  readonly add_generation_prompt?: boolean | null | undefined;
  /** Return tokens in place of text. Default: false. Accepted: true or false. */
  readonly tokenize?: boolean | null | undefined;
}

/**
 * Parameters of `shutdown`. Refuses new work, waits for what runs, answers and ends the process with exit
 * code 0. A second call is answered with the first.
 */
export interface ShutdownParams {
  /**
   * Time for running streams to finish; the rest is cancelled. Default: 5000. Accepted: an integer from 0 to
   * 2147483647.
   */
  readonly drain_ms?: number | null | undefined;
}

/** Parameters of `embed`. Embeds texts. Refused with Unsupported: this build does not offer it. */
export interface EmbedParams {
  /** Id of the model. Accepted: a string of 1 to 512 bytes. */
  readonly model_id: string;
  /** Texts to embed. Accepted: an array of at most 1024 strings that are not empty. */
  readonly input: readonly string[];
  /** How token vectors become one; default: by model. Accepted: one of "last", "mean", "cls". */
  readonly pooling?: "last" | "mean" | "cls" | null | undefined;
  /** Scale to length 1. Default: true. Accepted: true or false. */
  readonly normalize?: boolean | null | undefined;
  /** Leading dimensions to keep; default: all. Accepted: an integer from 1 to 10000000. */
  readonly dimensions?: number | null | undefined;
}

/**
 * Parameters of `check_draft`. Tells whether a model can draft for another. Refused with Unsupported: this
 * build does not offer it.
 */
export interface CheckDraftParams {
  /** Id of the model that generates. Accepted: a string of 1 to 512 bytes. */
  readonly primary_id: string;
  /** Id of the model that drafts. Accepted: a string of 1 to 512 bytes. */
  readonly draft_id: string;
}

/**
 * Parameters of `batch_check_draft`. Checks several pairs. Refused with Unsupported: this build does not
 * offer it.
 */
export interface BatchCheckDraftParams {
  /** Parameters of check_draft, once for each pair. Accepted: an array of 1 to 1024 objects. */
  readonly requests: readonly CheckDraftParams[];
}

/**
 * Parameters of `save_prompt_cache`. Saves the KV cache of a prompt in mlx-lm's file format. Refused with
 * Unsupported: this build does not offer it.
 */
export interface SavePromptCacheParams {
  /** Id of the model. Accepted: a string of 1 to 512 bytes. */
  readonly model_id: string;
  /** File to write. Accepted: a string of 1 to 4096 bytes. */
  readonly path: string;
  /** Prompt whose KV cache is saved. Accepted: a string that is not empty. */
  readonly prompt: string;
}

/**
 * Parameters of `load_prompt_cache`. Loads a KV cache from mlx-lm's file format. Refused with Unsupported:
 * this build does not offer it.
 */
export interface LoadPromptCacheParams {
  /** File to read. Accepted: a string of 1 to 4096 bytes. */
  readonly path: string;
}

/**
 * Parameters of `load_vision_model`. Loads a vision model. Refused with Unsupported: this build does not
 * offer it.
 */
export interface LoadVisionModelParams {
  /** Id of the model. Accepted: a string of 1 to 512 bytes. */
  readonly model_id: string;
  /** Folder of the model. Accepted: a string of 1 to 4096 bytes. */
  readonly local_path?: string | null | undefined;
  /** Revision to take from the Hugging Face cache. Accepted: a string of 1 to 4096 bytes. */
  readonly revision?: string | null | undefined;
  /** Quantise while loading. Accepted: a string of 1 to 512 bytes. */
  readonly quantization?: string | null | undefined;
}

/**
 * Parameters of `generate_with_image`. Generates from a prompt and an image. Refused with Unsupported: this
 * build does not offer it.
 */
export interface GenerateWithImageParams extends GenerateParams {
  /** The image, base64 or a data URI. Accepted: a string that is not empty. */
  readonly image: string;
}

/** The parameters of every method. */
export interface MethodParams {
  readonly ping: Readonly<Record<string, never>>;
  readonly "runtime/info": Readonly<Record<string, never>>;
  readonly "runtime/state": Readonly<Record<string, never>>;
  readonly "runtime/stats": Readonly<Record<string, never>>;
  readonly "runtime/telemetry": Readonly<Record<string, never>>;
  readonly get_batcher_metrics: Readonly<Record<string, never>>;
  readonly reload_env: Readonly<Record<string, never>>;
  readonly load_model: LoadModelParams;
  readonly unload_model: UnloadModelParams;
  readonly generate: GenerateParams;
  readonly cancel: CancelParams;
  readonly batch_generate: BatchGenerateParams;
  readonly tokenize: TokenizeParams;
  readonly batch_tokenize: BatchTokenizeParams;
  readonly detokenize: DetokenizeParams;
  readonly apply_chat_template: ApplyChatTemplateParams;
  readonly shutdown: ShutdownParams;
  readonly embed: EmbedParams;
  readonly check_draft: CheckDraftParams;
  readonly batch_check_draft: BatchCheckDraftParams;
  readonly save_prompt_cache: SavePromptCacheParams;
  readonly load_prompt_cache: LoadPromptCacheParams;
  readonly load_vision_model: LoadVisionModelParams;
  readonly generate_with_image: GenerateWithImageParams;
}

/** Name of a method. */
export type MethodName = keyof MethodParams;

/** An environment variable that the worker reads. */
export type EnvironmentVariable =
  | "MLX_GPU_SCHEDULER"
  | "MLX_GPU_SCHEDULER_BATCH_SIZE"
  | "MLX_GPU_SCHEDULER_WINDOW_MS"
  | "MLX_GPU_SCHEDULER_P99_THRESHOLD_MS"
  | "MLX_FAST_PATH"
  | "MLX_ADAPTIVE_WINDOW"
  | "MLX_ADAPTIVE_WINDOW_LOW_MS"
  | "MLX_ADAPTIVE_WINDOW_MEDIUM_MS"
  | "MLX_ADAPTIVE_WINDOW_HIGH_MS"
  | "MLX_AUTO_TUNE"
  | "MLX_AUTO_TUNE_MIN_BATCH"
  | "MLX_AUTO_TUNE_MAX_BATCH"
  | "MLX_AUTO_TUNE_EMA_ALPHA"
  | "MLX_AUTO_TUNE_INTERVAL"
  | "MLX_MAX_QUEUE"
  | "MLX_PREFILL_STEP_TOKENS"
  | "MLX_METRICS_EXPORT"
  | "MLX_METRICS_PORT"
  | "MLX_MAX_FRAME_BYTES"
  | "MLX_LOG_FORMAT"
  | "MLX_LOG_LEVEL"
  | "MLX_MODELS_DIR"
  | "HF_HUB_CACHE"
  | "HF_HOME"
  | "MLX_DEVICE"
  | "MLX_MEMORY_LIMIT_BYTES"
  | "MLX_CACHE_LIMIT_BYTES"
  | "MLX_CPU_THREADS"
  | "MLX_CPU_DENSE_WEIGHTS"
  | "MLX_CPU_KERNELS";
