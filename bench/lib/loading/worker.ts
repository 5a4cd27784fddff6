import { resolve } from "node:path";
import { createEngine, type Engine, type RuntimeInfo } from "mlx-worker";
import { withLimit } from "../load/limit.js";
import type { Arrival } from "../load/stream.js";
import type { LoadCase } from "./modes.js";
import { storageReads } from "./process-memory.js";

/** One call of `loadModel`, from the client's side. */
export interface TimedLoad {
  /** From the call to its result. */
  readonly ms: number;
  /** What the worker says of the weights alone, without its text side. */
  readonly workerMs: number;
  /** Whether the model was loaded already. */
  readonly cached: boolean;
  /** What the weights take by the worker's own account, bytes. */
  readonly sizeBytes: number;
  /** Bytes that the worker had fetched from storage for it; null where the platform does not tell. */
  readonly storageBytes: number | null;
}

/** Longest time of a load, milliseconds. */
const LOAD_LIMIT_MS = 600_000;

/** What a stream begins with. */
const PROMPT = [1, 2, 3];

/** A worker of one measurement. */
export class LoadingWorker {
  readonly #engine: Engine;
  /** Tokens of context by model. */
  readonly #contexts = new Map<string, number>();
  readonly info: RuntimeInfo;

  private constructor(engine: Engine, info: RuntimeInfo) {
    this.#engine = engine;
    this.info = info;
  }

  /** Starts a worker without a model. `workerPath`: another executable than the usual one. */
  static async start(env: Readonly<Record<string, string>>, workerPath?: string): Promise<LoadingWorker> {
    const engine = createEngine({ env, workerPath });
    try {
      return new LoadingWorker(engine, await engine.runtimeInfo());
    } catch (error) {
      await engine.close();
      throw error;
    }
  }

  get pid(): number {
    return this.info.pid;
  }

  async load({ checkpoint, mode }: LoadCase): Promise<TimedLoad> {
    const before = await storageReads(this.pid);
    const began = performance.now();
    const handle = await withLimit(`the load of ${checkpoint.name}`, LOAD_LIMIT_MS, (signal) =>
      this.#engine.loadModel(
        { model: checkpoint.name, localPath: resolve(checkpoint.path), dtype: mode.dtype },
        { signal },
      ),
    );
    const ms = performance.now() - began;
    const after = await storageReads(this.pid);
    this.#contexts.set(checkpoint.name, handle.contextLength);
    return {
      ms,
      workerMs: handle.loadMs,
      cached: handle.cached,
      sizeBytes: handle.sizeBytes,
      storageBytes: before === null || after === null ? null : after - before,
    };
  }

  /** Unloads the model and returns the milliseconds that took. */
  async unload({ checkpoint }: LoadCase): Promise<number> {
    const began = performance.now();
    await this.#engine.unloadModel(checkpoint.name);
    return performance.now() - began;
  }

  /**
   * Runs one answer of a loaded model until the signal aborts, when it rejects; it also rejects when the model's
   * context is full.
   */
  async streamWithoutEnd(
    model: string,
    signal: AbortSignal,
    onArrival: (arrival: Arrival) => void,
  ): Promise<never> {
    const generation = this.#engine.generate(
      {
        model,
        prompt: { tokens: PROMPT },
        maxTokens: (this.#contexts.get(model) ?? 0) - PROMPT.length,
        temperature: 0,
        ignoreEos: true,
        cachePrompt: false,
      },
      { signal },
    );
    for await (const chunk of generation) {
      onArrival({ atMs: performance.now(), tokens: chunk.tokenIds.length, hasText: chunk.text !== "" });
    }
    const { finishReason } = await generation;
    throw new Error(`the stream ended before the measurement did: ${finishReason}`);
  }

  async close(): Promise<void> {
    await this.#engine.close();
  }
}

/** Starts a worker, hands it to work and closes it. */
export async function withWorker<Result>(
  env: Readonly<Record<string, string>>,
  work: (worker: LoadingWorker) => Promise<Result>,
): Promise<Result> {
  const worker = await LoadingWorker.start(env);
  try {
    return await work(worker);
  } finally {
    await worker.close();
  }
}
