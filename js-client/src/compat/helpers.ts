import { setTimeout as sleep } from "node:timers/promises";
import { errorOfChunk, textOf } from "./chunk-stream.js";
import { createEngine, type Engine } from "./engine.js";
import { EngineClientError } from "./errors.js";
import type {
  EngineOptions,
  GeneratorChunk,
  GeneratorParams,
  LoadModelOptions,
  ModelHandle,
} from "./types.js";

/** The text that is generated. */
export function generateText(engine: Engine, params: GeneratorParams): Promise<string> {
  return textOf(engine.createGenerator(params));
}

/** The text that is generated, which `onToken` gets token by token as well. */
export function generateTextStreaming(
  engine: Engine,
  params: GeneratorParams,
  onToken: (token: string) => void,
): Promise<string> {
  return textOf(engine.createGenerator(params), onToken);
}

/** The handle of a model, which is loaded if it is not yet. */
export async function ensureModelLoaded(engine: Engine, options: LoadModelOptions): Promise<ModelHandle> {
  const { model } = options;
  const known = engine.getModelInfo(typeof model === "string" ? model : model.id);
  return known?.state === "ready" ? known : engine.loadModel(options);
}

/** The tokens of several texts. */
export async function batchTokenize(engine: Engine, model: string, texts: string[]): Promise<number[][]> {
  const results = await Promise.all(texts.map((text) => engine.tokenize({ model, text })));
  return results.map(({ tokens }) => tokens);
}

/**
 * All chunks of a generation.
 *
 * @throws EngineClientError for an error chunk
 */
export async function collectChunks(engine: Engine, params: GeneratorParams): Promise<GeneratorChunk[]> {
  const chunks: GeneratorChunk[] = [];
  for await (const chunk of engine.createGenerator(params)) {
    if (chunk.type === "error") throw errorOfChunk(chunk.error);
    chunks.push(chunk);
  }
  return chunks;
}

/**
 * The handle of a model once it is ready. A handle exists only for a model that is: so there is nothing to wait for,
 * and the times, in milliseconds, are for those who pass them.
 *
 * @throws EngineClientError with code ModelNotLoaded when nobody has loaded the model
 */
export async function waitForModelReady(
  engine: Engine,
  modelId: string,
  _timeoutMs = 30_000,
  _pollIntervalMs = 100,
): Promise<ModelHandle> {
  const handle = engine.getModelInfo(modelId);
  if (handle === undefined) throw new EngineClientError("ModelNotLoaded", `Model ${modelId} not found`);
  return handle;
}

/** Whether `healthCheck` says "healthy". */
export async function isEngineHealthy(engine: Engine): Promise<boolean> {
  return (await engine.healthCheck()).status === "healthy";
}

/** The number of tokens of several texts together. */
export async function getTotalTokenCount(engine: Engine, model: string, texts: string[]): Promise<number> {
  const tokens = await batchTokenize(engine, model, texts);
  return tokens.reduce((sum, { length }) => sum + length, 0);
}

/**
 * Loads a model, again after a failure.
 *
 * @param maxRetries loads after the first one
 * @param initialDelayMs wait before the second load, in milliseconds; doubled for each one after it
 * @throws EngineClientError of the last load
 */
export async function retryLoadModel(
  engine: Engine,
  options: LoadModelOptions,
  maxRetries = 3,
  initialDelayMs = 1000,
): Promise<ModelHandle> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await engine.loadModel(options);
    } catch (error) {
      if (attempt >= maxRetries) throw error;
      await sleep(initialDelayMs * 2 ** attempt);
    }
  }
}

/** Runs a function with an engine, which is ended afterwards. */
export async function withEngine<T>(
  callback: (engine: Engine) => Promise<T>,
  options?: EngineOptions,
): Promise<T> {
  const engine = await createEngine(options);
  try {
    return await callback(engine);
  } finally {
    await engine.dispose();
  }
}
