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

/** Loads a model into the engine that these functions share. */
export async function load_model(
  model: string | LoadModelOptions,
  options?: Partial<Omit<LoadModelOptions, "model">>,
): Promise<ModelHandle> {
  const given = typeof model === "string" ? { ...options, model } : model;
  return sharedEngine().loadModel(given);
}

/** Generates from text or token ids. */
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

export async function tokenize(
  model_kit: ModelHandle,
  text: string,
  options?: { add_bos?: boolean },
): Promise<TokenizeResponse> {
  return sharedEngine().tokenize({ ...options, model: model_kit.descriptor.id, text });
}

/** The text that is generated from text or token ids. */
export function generate(
  model_kit: ModelHandle,
  prompt: string | number[],
  params?: GenerationSettings,
): Promise<string> {
  return textOf(create_generator(model_kit, prompt, params));
}

export async function unload_model(model_kit: ModelHandle): Promise<void> {
  await sharedEngine().unloadModel(model_kit.descriptor.id);
}

/** Ends the shared engine; the next call of these functions starts another one. */
export async function shutdown(): Promise<void> {
  const ending = shared;
  shared = null;
  await ending?.shutdown();
}

/** The shared engine, once a function has needed it. */
export function getEngine(): Engine | null {
  return shared;
}
