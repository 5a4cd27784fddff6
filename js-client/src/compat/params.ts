import { camelCase } from "../casing.js";
import type { LoadModelOptions as WorkerLoadOptions } from "../types/engine.js";
import type { GenerateParams as WorkerGenerateParams } from "../types/generate.js";
import { unsupported } from "./errors.js";
import type {
  GeneratorParams,
  LoadModelOptions,
  ModelDescriptor,
  PromptTemplate,
  SnakeCaseGeneratorParams,
  SnakeCaseLoadModelOptions,
} from "./types.js";

type Values = Record<string, unknown>;

/** Generation parameters that may stand among those of a load. */
const GENERATION_DEFAULTS: ReadonlySet<string> = new Set([
  "maxTokens",
  "temperature",
  "topP",
  "presencePenalty",
  "frequencyPenalty",
  "repetitionPenalty",
  "stopSequences",
  "stopTokenIds",
  "seed",
  "streaming",
  "stream",
]);

/** What a load was asked for. */
export interface LoadRequest {
  readonly params: WorkerLoadOptions;
  readonly descriptor: ModelDescriptor | undefined;
  /** Defaults of the model's generations, in camelCase. */
  readonly defaults: Values;
}

/** Reads the options of `loadModel`. */
export function readLoadOptions(options: LoadModelOptions | SnakeCaseLoadModelOptions | string): LoadRequest {
  const given = typeof options === "string" ? { model: options } : camelParams(options);
  const { model, modelId, parameters, params, ...rest } = given;
  const defaults: Values = { ...camelParams(params), ...camelParams(parameters) };
  for (const name of GENERATION_DEFAULTS) {
    if (name in rest) defaults[name] = rest[name];
    delete rest[name];
  }
  if (rest.quantization === "none") delete rest.quantization;
  const ref = model ?? modelId;
  const descriptor = isObject(ref) && "id" in ref ? (ref as unknown as ModelDescriptor) : undefined;
  const named =
    descriptor === undefined ? { model: ref } : { model: descriptor.id, localPath: descriptor.path };
  return {
    // Whatever is wrong with them, `loadModel` itself says it.
    params: { ...named, ...rest } as unknown as WorkerLoadOptions,
    descriptor,
    defaults,
  };
}

/**
 * Reads the parameters of a generation.
 *
 * @param defaultsOf the defaults of a model's generations, by its id
 * @throws EngineClientError for what the worker does not offer
 */
export function readGeneratorParams(
  input: GeneratorParams | SnakeCaseGeneratorParams,
  defaultsOf: (modelId: string) => Values | undefined,
): WorkerGenerateParams {
  const { hints: _, structured, multimodal, prompt, ...given } = camelParams(input);
  if (multimodal !== undefined) throw unsupported("multimodal");
  const modelId = given.model ?? given.modelId;
  return {
    ...(typeof modelId === "string" ? defaultsOf(modelId) : undefined),
    ...given,
    ...(given.promptTokens === undefined ? { prompt: renderPrompt(prompt) } : {}),
    ...(structured === undefined ? {} : { guidance: guidanceOf(structured as Values) }),
  } as unknown as WorkerGenerateParams;
}

/** An object's fields by their camelCase names, without those that are undefined; camelCase spelling wins. */
export function camelParams(input: unknown): Values {
  const values: Values = {};
  if (!isObject(input)) return values;
  for (const [key, value] of Object.entries(input)) {
    const name = camelCase(key);
    if (value !== undefined && (key === name || !Object.hasOwn(values, name))) values[name] = value;
  }
  return values;
}

function renderPrompt(prompt: unknown): unknown {
  if (!isObject(prompt) || !("template" in prompt)) return prompt;
  const { template, variables } = prompt as unknown as PromptTemplate;
  return String(template).replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name: string) =>
    String(variables?.[name] ?? ""),
  );
}

function guidanceOf({ schema, format }: Values): Values {
  if (format !== "json") throw unsupported(`structured.format ${JSON.stringify(format)}`);
  return { mode: "json_schema", schema };
}

function isObject(value: unknown): value is Values {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
