import { EngineClientError } from "./errors.js";
import type { GeneratorParams, LoadModelOptions, TokenizeRequest } from "./types.js";

/** What is wrong with some parameters. */
export interface ValidationResult {
  valid: boolean;
  errors: string[];
}

/** A message and whether it applies. */
type Finding = readonly [message: string, wrong: boolean];

const result = (findings: readonly Finding[]): ValidationResult => {
  const errors = findings.filter(([, wrong]) => wrong).map(([message]) => message);
  return { valid: errors.length === 0, errors };
};

const isBlank = (value: unknown): boolean => typeof value === "string" && value.trim() === "";
const isOutside = (value: unknown, min: number, max: number): boolean =>
  value !== undefined && (typeof value !== "number" || !(value >= min && value <= max));
const isCount = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= 0;

function arrayFindings(
  name: string,
  value: unknown,
  what: string,
  check: (item: unknown) => boolean,
): Finding[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) return [[`${name} must be an array`, true]];
  return [[`all ${name} must be ${what}`, !value.every(check)]];
}

/** What is wrong with the options of a load; see {@link assertValidLoadModelOptions}. */
export function validateLoadModelOptions(options: LoadModelOptions): ValidationResult {
  const { model, quantization } = options;
  const id = typeof model === "object" && model !== null ? model.id : undefined;
  return result([
    ["model is required", !model],
    ["model identifier cannot be empty", isBlank(model) && model !== ""],
    ["model descriptor must have a valid id", typeof model === "object" && (!id || isBlank(id))],
    [
      "quantization must be one of: none, int8, int4",
      quantization !== undefined && !["none", "int8", "int4"].includes(quantization),
    ],
  ]);
}

/** What is wrong with the parameters of a generation, as far as mlx-serving checked them; the worker checks more. */
export function validateGeneratorParams(params: GeneratorParams): ValidationResult {
  const { model, prompt, maxTokens, seed, repetitionPenalty, structured } = params;
  return result([
    ["model is required", !model],
    ["model identifier cannot be empty", isBlank(model) && model !== ""],
    ["prompt is required", !prompt],
    ["prompt cannot be empty", isBlank(prompt) && prompt !== ""],
    [
      "maxTokens must be a positive integer",
      maxTokens !== undefined && !(isCount(maxTokens) && maxTokens > 0),
    ],
    ["maxTokens cannot exceed 100000", maxTokens !== undefined && maxTokens > 100_000],
    ["temperature must be a number between 0 and 2", isOutside(params.temperature, 0, 2)],
    ["topP must be a number between 0 and 1", isOutside(params.topP, 0, 1)],
    ["presencePenalty must be a number between -2 and 2", isOutside(params.presencePenalty, -2, 2)],
    ["frequencyPenalty must be a number between -2 and 2", isOutside(params.frequencyPenalty, -2, 2)],
    [
      "repetitionPenalty must be a non-negative number",
      isOutside(repetitionPenalty, 0, Number.POSITIVE_INFINITY),
    ],
    ["seed must be a non-negative integer", seed !== undefined && !isCount(seed)],
    ...arrayFindings("stopSequences", params.stopSequences, "strings", (item) => typeof item === "string"),
    ...arrayFindings("stopTokenIds", params.stopTokenIds, "non-negative integers", isCount),
    [
      "structured.schema is required when using structured output",
      structured !== undefined && !structured.schema,
    ],
    [
      "structured.format is required when using structured output",
      structured !== undefined && !structured.format,
    ],
    [
      'structured.format must be "json" or "yaml"',
      Boolean(structured?.format) && !["json", "yaml"].includes(String(structured?.format)),
    ],
  ]);
}

/** What is wrong with a text to tokenize. */
export function validateTokenizeRequest(request: TokenizeRequest): ValidationResult {
  const { model, text } = request;
  return result([
    ["model is required", !model],
    ["model identifier cannot be empty", isBlank(model) && model !== ""],
    ["text is required", !text],
    ["text must be a string", Boolean(text) && typeof text !== "string"],
  ]);
}

/**
 * Refuses options of a load that {@link validateLoadModelOptions} finds fault with.
 *
 * @throws EngineClientError with code InvalidParams
 */
export function assertValidLoadModelOptions(options: LoadModelOptions): void {
  assertValid("LoadModelOptions", validateLoadModelOptions(options));
}

/**
 * Refuses parameters that {@link validateGeneratorParams} finds fault with.
 *
 * @throws EngineClientError with code InvalidParams
 */
export function assertValidGeneratorParams(params: GeneratorParams): void {
  assertValid("GeneratorParams", validateGeneratorParams(params));
}

/**
 * Refuses a request that {@link validateTokenizeRequest} finds fault with.
 *
 * @throws EngineClientError with code InvalidParams
 */
export function assertValidTokenizeRequest(request: TokenizeRequest): void {
  assertValid("TokenizeRequest", validateTokenizeRequest(request));
}

function assertValid(what: string, { valid, errors }: ValidationResult): void {
  if (!valid)
    throw new EngineClientError("InvalidParams", `Invalid ${what}: ${errors.join(", ")}`, { errors });
}

/**
 * A model id without white space around it.
 *
 * @throws EngineClientError with code InvalidParams when it is empty or could be a path
 */
export function sanitizeModelId(modelId: string): string {
  const id = modelId?.trim();
  if (!id) throw new EngineClientError("InvalidParams", "Model identifier cannot be empty");
  if (/\.\.|[/\\]/.test(id)) {
    throw new EngineClientError(
      "InvalidParams",
      "Model identifier cannot contain path separators or traversal sequences",
      { modelId },
    );
  }
  return id;
}

/** Whether an id consists of letters, digits, dots, underscores and hyphens. */
export function isValidModelIdFormat(modelId: string): boolean {
  return /^[a-zA-Z0-9._-]+$/.test(modelId);
}

/** The number of a range that is closest to a value. */
export function clamp(value: number, min: number, max: number): number {
  return Math.max(min, Math.min(max, value));
}

/** A temperature that the worker takes: between 0 and 2; undefined stays. */
export function normalizeTemperature(temperature: number | undefined): number | undefined {
  return temperature === undefined ? undefined : clamp(temperature, 0, 2);
}

/** A `topP` that the worker takes: between 0 and 1; undefined stays. */
export function normalizeTopP(topP: number | undefined): number | undefined {
  return topP === undefined ? undefined : clamp(topP, 0, 1);
}
