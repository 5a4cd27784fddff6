import { textOf } from "./chunk-stream.js";
import { createEngine, type Engine } from "./engine.js";
import { EngineClientError } from "./errors.js";
import type { GenerationSettings } from "./params.js";
import type { GeneratorChunk, LoadModelOptions, ModelHandle } from "./types.js";

/** An engine with one model, in a worker of its own. */
export class MLXEngine {
  readonly #options: LoadModelOptions | string;
  #ready: { readonly engine: Engine; readonly model: ModelHandle } | null = null;
  /** The start that runs, for all calls of `init` that come meanwhile. */
  #starting: Promise<void> | undefined;

  /** @param modelPath id of a model, or options of `loadModel` */
  constructor(modelPath: string | LoadModelOptions) {
    this.#options = modelPath;
  }

  /**
   * Starts an engine and loads the model; needed before anything else. Calls that come meanwhile or later share that
   * engine; after a failure the next call tries again.
   *
   * @throws EngineClientError when the worker does not start or the model cannot be loaded
   */
  async init(): Promise<this> {
    if (!this.isInitialized()) {
      this.#starting ??= this.#start().finally(() => {
        this.#starting = undefined;
      });
      await this.#starting;
    }
    return this;
  }

  /**
   * Generates to the end.
   *
   * @returns the whole text
   * @throws EngineClientError when the generation fails, or before {@link init}
   */
  async generate(prompt: string, params?: GenerationSettings): Promise<string> {
    return textOf(this.generateStream(prompt, params));
  }

  /**
   * Generates once the first chunk is asked for; see `Engine.createGenerator`.
   *
   * @throws EngineClientError with the first chunk when the generation does not start, or before {@link init}
   */
  async *generateStream(
    prompt: string,
    params?: GenerationSettings,
  ): AsyncGenerator<GeneratorChunk, void, undefined> {
    const { engine, model } = this.#initialized();
    yield* engine.createGenerator({ streaming: true, ...params, model: model.descriptor.id, prompt });
  }

  /**
   * The token ids of a text, with the model's special tokens around it.
   *
   * @throws EngineClientError before {@link init}
   */
  async tokenize(text: string): Promise<number[]> {
    const { engine, model } = this.#initialized();
    return (await engine.tokenize({ model: model.descriptor.id, text })).tokens;
  }

  /** The model; null before {@link init} and after {@link dispose}. */
  getModelHandle(): ModelHandle | null {
    return this.#ready?.model ?? null;
  }

  /** The engine behind it; null before {@link init} and after {@link dispose}. */
  getEngine(): Engine | null {
    return this.#ready?.engine ?? null;
  }

  /** Whether {@link init} has finished, and {@link dispose} was not called since. */
  isInitialized(): boolean {
    return this.#ready !== null;
  }

  /** Unloads the model and ends the engine, after an {@link init} that still runs; does nothing without one. */
  async dispose(): Promise<void> {
    // Why it failed is told by `init`.
    await this.#starting?.catch(() => {});
    const ready = this.#ready;
    this.#ready = null;
    try {
      await ready?.engine.unloadModel(ready.model.descriptor.id);
    } finally {
      await ready?.engine.shutdown();
    }
  }

  async #start(): Promise<void> {
    const engine = await createEngine();
    try {
      this.#ready = { engine, model: await engine.loadModel(this.#options) };
    } catch (error) {
      await engine.dispose();
      throw error;
    }
  }

  #initialized(): { engine: Engine; model: ModelHandle } {
    if (this.#ready === null) {
      throw new EngineClientError("InvalidRequest", "MLXEngine not initialized. Call init() first.");
    }
    return this.#ready;
  }
}

/**
 * Makes an {@link MLXEngine} and waits for {@link MLXEngine.init}.
 *
 * @param modelPath id of a model, or options of `loadModel`
 * @throws EngineClientError when the worker does not start or the model cannot be loaded
 */
export async function createMLXEngine(modelPath: string | LoadModelOptions): Promise<MLXEngine> {
  return new MLXEngine(modelPath).init();
}
