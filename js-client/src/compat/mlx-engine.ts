import { textOf } from "./chunk-stream.js";
import { createEngine, type Engine } from "./engine.js";
import { EngineClientError } from "./errors.js";
import type { GenerationSettings } from "./params.js";
import type { GeneratorChunk, LoadModelOptions, ModelHandle } from "./types.js";

/** An engine with one model. */
export class MLXEngine {
  readonly #options: LoadModelOptions | string;
  #ready: { readonly engine: Engine; readonly model: ModelHandle } | null = null;

  /** @param modelPath id of a model, or options of `loadModel` */
  constructor(modelPath: string | LoadModelOptions) {
    this.#options = modelPath;
  }

  /** Starts an engine and loads the model; needed before anything else. */
  async init(): Promise<this> {
    if (this.isInitialized()) return this;
    const engine = await createEngine();
    try {
      this.#ready = { engine, model: await engine.loadModel(this.#options) };
    } catch (error) {
      await engine.dispose();
      throw error;
    }
    return this;
  }

  async generate(prompt: string, params?: GenerationSettings): Promise<string> {
    return textOf(this.generateStream(prompt, params));
  }

  async *generateStream(
    prompt: string,
    params?: GenerationSettings,
  ): AsyncGenerator<GeneratorChunk, void, undefined> {
    const { engine, model } = this.#initialized();
    yield* engine.createGenerator({ streaming: true, ...params, model: model.descriptor.id, prompt });
  }

  async tokenize(text: string): Promise<number[]> {
    const { engine, model } = this.#initialized();
    return (await engine.tokenize({ model: model.descriptor.id, text })).tokens;
  }

  getModelHandle(): ModelHandle | null {
    return this.#ready?.model ?? null;
  }

  getEngine(): Engine | null {
    return this.#ready?.engine ?? null;
  }

  isInitialized(): boolean {
    return this.#ready !== null;
  }

  /** Unloads the model and ends the engine. */
  async dispose(): Promise<void> {
    const ready = this.#ready;
    this.#ready = null;
    try {
      await ready?.engine.unloadModel(ready.model.descriptor.id);
    } finally {
      await ready?.engine.shutdown();
    }
  }

  #initialized(): { engine: Engine; model: ModelHandle } {
    if (this.#ready === null) {
      throw new EngineClientError("InvalidRequest", "MLXEngine not initialized. Call init() first.");
    }
    return this.#ready;
  }
}

/** An {@link MLXEngine} that is ready. */
export async function createMLXEngine(modelPath: string | LoadModelOptions): Promise<MLXEngine> {
  return new MLXEngine(modelPath).init();
}
