import { camelCase } from "../casing.js";
import { isObject } from "../params.js";
import type { LoadModelOptions as WorkerLoadOptions } from "../types/engine.js";
import type { GenerateParams as WorkerGenerateParams } from "../types/generate.js";
import { EngineClientError, unsupported } from "./errors.js";
import type {
  GeneratorParams,
  LoadModelOptions,
  ModelDescriptor,
  PromptTemplate,
  SnakeCaseGeneratorParams,
  SnakeCaseLoadModelOptions,
} from "./types.js";

/** Parameters of a generation, apart from what is generated from. */
export type GenerationSettings = Omit<Partial<GeneratorParams>, "model" | "prompt">;

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
  const beside: Values = {};
  for (const name of GENERATION_DEFAULTS) {
    if (name in rest) beside[name] = rest[name];
    delete rest[name];
  }
  const defaults = {
    ...generationParams(params),
    ...generationParams(parameters),
    ...generationParams(beside),
  };
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
  const own = generationParams(input);
  const defaults = typeof own.model === "string" ? defaultsOf(own.model) : undefined;
  if (own.structured !== undefined && own.guidance !== undefined) {
    throw new EngineClientError("InvalidParams", "structured and guidance exclude each other");
  }
  const { hints: _, structured: asked, multimodal, prompt, ...given } = { ...defaults, ...own };
  if (multimodal !== undefined) throw unsupported("multimodal");
  // Both say what the text has to look like: a default gives way to the call's own, whichever it is.
  const structured = own.guidance === undefined ? asked : undefined;
  return {
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

/** Fields of a generation by one name each: a default under another name would outlive what a call says. */
function generationParams(input: unknown): Values {
  const { modelId, streaming, ...values } = camelParams(input);
  return {
    ...(modelId === undefined ? {} : { model: modelId }),
    ...(streaming === undefined ? {} : { stream: streaming }),
    ...values,
  };
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
