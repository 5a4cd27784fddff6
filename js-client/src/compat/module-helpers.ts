import { textOf } from "./chunk-stream.js";
import { createEngine, type Engine } from "./engine.js";
import type {
  GeneratorChunk,
  GeneratorParams,
  LoadModelOptions,
  ModelHandle,
  TokenizeResponse,
} from "./types.js";

/** Parameters of a generation, apart from what is generated from. */
type Settings = Omit<Partial<GeneratorParams>, "model" | "prompt">;

/** The engine of this module's functions. */
let shared: Promise<Engine> | null = null;
let engine: Engine | null = null;

async function sharedEngine(): Promise<Engine> {
  shared ??= createEngine();
  engine = await shared;
  return engine;
}

/** Loads a model into the engine that these functions share. */
export async function load_model(
  model: string | LoadModelOptions,
  options?: Partial<Omit<LoadModelOptions, "model">>,
): Promise<ModelHandle> {
  const given = typeof model === "string" ? { ...options, model } : model;
  return (await sharedEngine()).loadModel(given);
}

/** Generates from text or token ids. */
export async function* create_generator(
  model_kit: ModelHandle,
  prompt: string | number[],
  params?: Settings,
): AsyncGenerator<GeneratorChunk, void, undefined> {
  const given = typeof prompt === "string" ? prompt : { tokens: prompt };
  const chunks = (await sharedEngine()).createGenerator({
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
  return (await sharedEngine()).tokenize({ ...options, model: model_kit.descriptor.id, text });
}

/** The text that is generated from text or token ids. */
export function generate(
  model_kit: ModelHandle,
  prompt: string | number[],
  params?: Settings,
): Promise<string> {
  return textOf(create_generator(model_kit, prompt, params));
}

export async function unload_model(model_kit: ModelHandle): Promise<void> {
  await (await sharedEngine()).unloadModel(model_kit.descriptor.id);
}

/** Ends the shared engine; the next call of these functions starts another one. */
export async function shutdown(): Promise<void> {
  const ending = await shared;
  shared = null;
  engine = null;
  await ending?.shutdown();
}

/** The shared engine, once a function has needed it. */
export function getEngine(): Engine | null {
  return engine;
}
