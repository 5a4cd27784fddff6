/**
 * Names and types of what the calls accept; `generate-params.ts` has those of generate. A type test holds
 * these tables against the public types.
 */

export const ENGINE_OPTIONS = {
  workerPath: "string",
  env: "environment",
  cwd: "string",
  modelsDir: "string",
  logLevel: "string",
  startTimeoutMs: "integer",
  maxFrameBytes: "integer",
  autoReload: "boolean",
  maxCrashes: "integer",
  onStderr: "function",
} as const;

export const CALL_OPTIONS = { signal: "signal" } as const;

export const LOAD_PARAMS = {
  model: "model",
  modelId: "model",
  localPath: "string",
  revision: "string",
  adapterPath: "string",
  contextLength: "integer",
  dtype: "string",
  quantization: "quantization",
  draft: "boolean",
  trustRemoteCode: "boolean",
} as const;

export const TOKENIZE_PARAMS = {
  model: "model",
  text: "string",
  addSpecialTokens: "boolean",
  strings: "boolean",
} as const;

export const BATCH_TOKENIZE_PARAMS = {
  model: "model",
  texts: "strings",
  addSpecialTokens: "boolean",
  strings: "boolean",
} as const;

export const DETOKENIZE_PARAMS = {
  model: "model",
  tokens: "integers",
  skipSpecialTokens: "boolean",
} as const;

export const CHAT_TEMPLATE_PARAMS = {
  model: "model",
  messages: "array",
  tools: "array",
  chatTemplateKwargs: "object",
  addGenerationPrompt: "boolean",
  tokenize: "boolean",
} as const;

/** Of both forms; which parameters go together is for the calls that it becomes. */
export const COUNT_TOKENS_PARAMS = {
  model: "model",
  text: "string",
  addSpecialTokens: "boolean",
  messages: "array",
  tools: "array",
  chatTemplateKwargs: "object",
  addGenerationPrompt: "boolean",
} as const;

export const LOAD_OPTIONS = {
  signal: "signal",
  onProgress: "function",
} as const;

export const UNLOAD_PARAMS = { model: "model", force: "boolean" } as const;

export const HEALTH_OPTIONS = { signal: "signal", timeoutMs: "integer" } as const;

export const CLOSE_OPTIONS = { drainMs: "integer" } as const;
