import { textOf } from "./chunk-stream.js";
import { Engine } from "./engine.js";
import type { GenerationSettings } from "./params.js";
import type { GeneratorChunk, LoadModelOptions, ModelHandle, TokenizeResponse } from "./types.js";

/** The engine of this module's functions. */
let shared: Engine | null = null;

function sharedEngine(): Engine {
  shared ??= new Engine();
  return shared;
}

/**
 * Loads a model into the engine that these functions share.
 *
 * @param model id of a model, or options of `Engine.loadModel`
 * @param options of a load by id
 * @throws EngineClientError when the worker does not start or the model cannot be loaded
 */
export async function load_model(
  model: string | LoadModelOptions,
  options?: Partial<Omit<LoadModelOptions, "model">>,
): Promise<ModelHandle> {
  const given = typeof model === "string" ? { ...options, model } : model;
  return sharedEngine().loadModel(given);
}

/**
 * Generates from text or token ids, once the first chunk is asked for; see `Engine.createGenerator`.
 *
 * @throws EngineClientError with the first chunk when the generation does not start
 */
export async function* create_generator(
  model_kit: ModelHandle,
  prompt: string | number[],
  params?: GenerationSettings,
): AsyncGenerator<GeneratorChunk, void, undefined> {
  const given = typeof prompt === "string" ? prompt : { tokens: prompt };
  const chunks = sharedEngine().createGenerator({
    ...params,
    model: model_kit.descriptor.id,
    prompt: given,
  });
  yield* chunks;
}

/**
 * The tokens of a text.
 *
 * @param options `add_bos` adds the model's special tokens, which is the default
 * @throws EngineClientError when the model is not loaded
 */
export async function tokenize(
  model_kit: ModelHandle,
  text: string,
  options?: { add_bos?: boolean },
): Promise<TokenizeResponse> {
  return sharedEngine().tokenize({ ...options, model: model_kit.descriptor.id, text });
}

/**
 * The whole text that is generated from text or token ids.
 *
 * @throws EngineClientError when the generation fails
 */
export function generate(
  model_kit: ModelHandle,
  prompt: string | number[],
  params?: GenerationSettings,
): Promise<string> {
  return textOf(create_generator(model_kit, prompt, params));
}

/** Unloads a model and cancels its generations; does nothing for one that is not loaded. */
export async function unload_model(model_kit: ModelHandle): Promise<void> {
  await sharedEngine().unloadModel(model_kit.descriptor.id);
}

/** Ends the shared engine; the next call of these functions starts another one. */
export async function shutdown(): Promise<void> {
  const ending = shared;
  shared = null;
  await ending?.shutdown();
}

/** The shared engine; null until a function has needed it, and after {@link shutdown}. */
export function getEngine(): Engine | null {
  return shared;
}
