import { modelIdOf, type ParamTypes, readParams, toWire } from "./params.js";
import type { SamplingParams } from "./types/generate.js";
import { invalidParam } from "./wire-errors.js";

const SAMPLING = {
  maxTokens: "integer",
  temperature: "number",
  topP: "number",
  topK: "integer",
  minP: "number",
  xtcProbability: "number",
  xtcThreshold: "number",
  repetitionPenalty: "number",
  repetitionContextSize: "integer",
  presencePenalty: "number",
  frequencyPenalty: "number",
  logitBias: "object",
  seed: "integer",
  stopSequences: "strings",
  stopTokenIds: "integers",
  ignoreEos: "boolean",
  logprobs: "boolean",
  topLogprobs: "integer",
  guidance: "object",
  draftModel: "string",
  numDraftTokens: "integer",
  cachePrompt: "boolean",
  stream: "boolean",
} as const satisfies ParamTypes<keyof SamplingParams>;

const PARAMS = {
  model: "model",
  prompt: "prompt",
  messages: "array",
  tools: "array",
  chatTemplateKwargs: "object",
  ...SAMPLING,
  // Other spellings of model, prompt: { tokens } and stream.
  modelId: "model",
  promptTokens: "integers",
  streaming: "boolean",
} as const satisfies ParamTypes;

/** Options of `batchGenerate`. */
export const BATCH_GENERATE_OPTIONS = {
  signal: "signal",
  timeoutMs: "integer",
  priority: "string",
} as const;

/** Options of `generate` and `createGenerator`. */
export const GENERATE_OPTIONS = {
  signal: "signal",
  streamId: "string",
  timeoutMs: "integer",
  priority: "string",
} as const;

/** A checked request for a generation. */
export interface GenerateRequest {
  readonly modelId: string;
  /** Parameters of the wire's `generate`, without `stream_id`. */
  readonly params: Record<string, unknown>;
}

/** The wire form of what `generate` was given. */
export function readGenerateParams(call: string, input: unknown): GenerateRequest {
  const { model, modelId, prompt, promptTokens, messages, stream, streaming, ...rest } = readParams(
    call,
    input,
    PARAMS,
  );
  const id = modelIdOf(call, model ?? modelId);
  const given = Object.entries({ prompt, promptTokens, messages }).filter(([, value]) => value !== undefined);
  if (given.length !== 1) {
    const names = given.map(([name]) => name).join(" and ") || "neither";
    throw invalidParam("prompt", `${call}: exactly one of prompt and messages is needed, given: ${names}`);
  }
  const tokens = typeof prompt === "object" ? prompt.tokens : promptTokens;
  const params = toWire({ ...rest, messages, stream: stream ?? streaming });
  return {
    modelId: id,
    params: {
      model_id: id,
      prompt: typeof prompt === "string" ? prompt : undefined,
      prompt_tokens: tokens,
      ...params,
    },
  };
}
