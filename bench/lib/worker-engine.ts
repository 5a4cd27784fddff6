import { existsSync } from "node:fs";
import { basename, extname, resolve } from "node:path";
import { createEngine, type Engine, type LoadModelOptions, type ModelHandle } from "mlx-worker";
import type { Answer, ColdTimes, EngineInfo, EngineUnderTest, Question } from "./engine.js";
import type { Arrival, LoadRequest, StreamClient, StreamOptions, StreamRecord } from "./load/stream.js";

/** How `--model` is given to the client: an existing path is loaded from there, anything else is an id. */
export function modelToLoad(model: string): LoadModelOptions {
  if (!existsSync(model)) return { model };
  return { model: basename(model, extname(model)), localPath: resolve(model) };
}

/** What {@link WorkerEngine} is started with besides the model. */
export interface WorkerSettings {
  /** Variables of the worker's environment, on top of this process's. */
  readonly env?: Readonly<Record<string, string>>;
}

/** mlx-worker, driven through its client as an application would. Times are taken on the client's side. */
export class WorkerEngine implements EngineUnderTest, StreamClient {
  readonly name = "mlx-worker";
  readonly #model: LoadModelOptions;
  readonly #settings: WorkerSettings;
  #engine: Engine | undefined;
  #handle: ModelHandle | undefined;

  /** @param model path or id, as given on the command line */
  constructor(model: string, settings: WorkerSettings = {}) {
    this.#model = modelToLoad(model);
    this.#settings = settings;
  }

  /** Tokens of a text. */
  async countTokens(text: string): Promise<number> {
    return (await this.tokenize(text)).length;
  }

  /** Token ids of a text. */
  async tokenize(text: string): Promise<readonly number[]> {
    const { engine, handle } = this.#started();
    return (await engine.tokenize({ model: handle, text })).tokens;
  }

  /** Number of token ids of the loaded model. */
  get vocabularySize(): number {
    return this.#started().handle.vocabSize;
  }

  async start(): Promise<ColdTimes> {
    const began = performance.now();
    this.#engine = createEngine({ env: this.#settings.env });
    await this.#engine.ping();
    const ready = performance.now();
    this.#handle = await this.#engine.loadModel(this.#model);
    return { processMs: ready - began, loadMs: performance.now() - ready };
  }

  async answer(question: Question): Promise<Answer> {
    const { engine, handle } = this.#started();
    const sampling = {
      model: handle,
      maxTokens: question.maxTokens,
      temperature: question.temperature,
      ...(question.temperature > 0 && { seed: question.seed }),
      // The baseline starts every prompt from nothing; so does this engine.
      cachePrompt: false,
    };
    const began = performance.now();
    const generation = engine.generate(
      handle.chatTemplate
        ? { ...sampling, messages: [{ role: "user", content: question.text }] }
        : { ...sampling, prompt: question.text },
    );
    let firstToken: number | undefined;
    for await (const chunk of generation) {
      if (firstToken === undefined && chunk.tokenIds.length > 0) firstToken = performance.now();
    }
    const result = await generation;
    const ended = performance.now();
    return {
      text: result.text,
      tokens: result.tokens,
      promptTokens: result.usage.promptTokens,
      cachedTokens: result.usage.cachedTokens,
      ttftMs: (firstToken ?? ended) - began,
      totalMs: ended - began,
      finishReason: result.finishReason,
    };
  }

  async stream(request: LoadRequest, { signal, onArrival }: StreamOptions): Promise<StreamRecord> {
    const { engine, handle } = this.#started();
    const { prompt, maxTokens } = request;
    const arrivals: Arrival[] = [];
    const sentMs = performance.now();
    const generation = engine.generate(
      {
        model: handle,
        prompt: typeof prompt === "string" ? prompt : { tokens: prompt },
        maxTokens,
        temperature: 0,
        ignoreEos: true,
        cachePrompt: false,
      },
      { signal },
    );
    for await (const chunk of generation) {
      const arrival = { atMs: performance.now(), tokens: chunk.tokenIds.length, hasText: chunk.text !== "" };
      arrivals.push(arrival);
      onArrival?.(arrival);
    }
    const result = await generation;
    const endedMs = performance.now();
    if (result.finishReason !== "length") throw new Error(`the answer ended early: ${result.finishReason}`);
    return {
      sentMs,
      endedMs,
      arrivals,
      tokens: result.tokens,
      promptTokens: result.usage.promptTokens,
      completionTokens: result.usage.completionTokens,
      queueMs: result.timings.queueMs,
    };
  }

  async info(): Promise<EngineInfo> {
    const { engine, handle } = this.#started();
    const runtime = await engine.runtimeInfo();
    return {
      device: runtime.backend,
      dtype: handle.dtype,
      versions: { "mlx-worker": runtime.version, mlx: runtime.mlxVersion, "mlx-c": runtime.mlxCVersion },
      eosTokenIds: handle.eosTokenIds,
      chatTemplate: handle.chatTemplate,
      pid: runtime.pid,
      settings: {
        device: runtime.device.name,
        quantization: handle.quantization
          ? `${handle.quantization.mode}, ${handle.quantization.bits} bits, groups of ${handle.quantization.groupSize}`
          : "none",
      },
    };
  }

  async stop(): Promise<void> {
    const engine = this.#engine;
    this.#engine = undefined;
    this.#handle = undefined;
    await engine?.close();
  }

  #started(): { engine: Engine; handle: ModelHandle } {
    if (!this.#engine || !this.#handle) throw new Error("mlx-worker has not been started");
    return { engine: this.#engine, handle: this.#handle };
  }
}
