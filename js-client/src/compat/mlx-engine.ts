import { textOf } from "./chunk-stream.js";
import { createEngine, type Engine } from "./engine.js";
import { EngineClientError } from "./errors.js";
import type { GeneratorChunk, GeneratorParams, LoadModelOptions, ModelHandle } from "./types.js";

/** Parameters of a generation, apart from what is generated from. */
type Settings = Omit<Partial<GeneratorParams>, "model" | "prompt">;

/** An engine with one model. */
export class MLXEngine {
  readonly #options: LoadModelOptions | string;
  #engine: Engine | null = null;
  #model: ModelHandle | null = null;

  /** @param modelPath id of a model, or options of `loadModel` */
  constructor(modelPath: string | LoadModelOptions) {
    this.#options = modelPath;
  }

  /** Starts an engine and loads the model; needed before anything else. */
  async init(): Promise<this> {
    if (this.isInitialized()) return this;
    const engine = await createEngine();
    try {
      this.#model = await engine.loadModel(this.#options);
      this.#engine = engine;
    } catch (error) {
      await engine.dispose();
      throw error;
    }
    return this;
  }

  async generate(prompt: string, params?: Settings): Promise<string> {
    return textOf(this.generateStream(prompt, params));
  }

  async *generateStream(prompt: string, params?: Settings): AsyncGenerator<GeneratorChunk, void, undefined> {
    const { engine, model } = this.#initialized();
    yield* engine.createGenerator({ streaming: true, ...params, model: model.descriptor.id, prompt });
  }

  async tokenize(text: string): Promise<number[]> {
    const { engine, model } = this.#initialized();
    return (await engine.tokenize({ model: model.descriptor.id, text })).tokens;
  }

  getModelHandle(): ModelHandle | null {
    return this.#model;
  }

  getEngine(): Engine | null {
    return this.#engine;
  }

  isInitialized(): boolean {
    return this.#engine !== null;
  }

  /** Unloads the model and ends the engine. */
  async dispose(): Promise<void> {
    const [engine, model] = [this.#engine, this.#model];
    this.#engine = null;
    this.#model = null;
    try {
      if (engine !== null && model !== null) await engine.unloadModel(model.descriptor.id);
    } finally {
      await engine?.shutdown();
    }
  }

  #initialized(): { engine: Engine; model: ModelHandle } {
    if (this.#engine === null || this.#model === null) {
      throw new EngineClientError("InvalidRequest", "MLXEngine not initialized. Call init() first.");
    }
    return { engine: this.#engine, model: this.#model };
  }
}

/** An {@link MLXEngine} that is ready. */
export async function createMLXEngine(modelPath: string | LoadModelOptions): Promise<MLXEngine> {
  return new MLXEngine(modelPath).init();
}
