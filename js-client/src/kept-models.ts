import { camelKeys } from "./casing.js";
import type { Connection } from "./connection.js";
import { MlxWorkerError } from "./errors.js";
import type { EventHub } from "./event-hub.js";
import { debug } from "./notices.js";
import type { ModelHandle } from "./types/engine.js";
import type { WireObject } from "./wire.js";

interface KeptModel {
  /** Parameters of the `load_model` that loaded it. */
  readonly params: WireObject;
  /** Whether the current worker has it. */
  live: boolean;
}

/** The models that an engine has loaded, so that the loss of their worker can be told and, if wanted, made good. */
export class KeptModels {
  readonly #hub: EventHub;
  readonly #reload: boolean;
  /** By id, in the order in which they were loaded. */
  readonly #models = new Map<string, KeptModel>();
  /** Reloads under way, by model id. */
  readonly #reloads = new Map<string, Promise<unknown>>();

  /** @param reload whether lost models are loaded again by {@link restore} */
  constructor(hub: EventHub, reload: boolean) {
    this.#hub = hub;
    this.#reload = reload;
  }

  /** Loads a model through a connection and keeps it. */
  async load(
    connection: Connection,
    params: WireObject,
    signal?: AbortSignal,
    reloaded = false,
  ): Promise<ModelHandle> {
    const model = camelKeys(await connection.request("load_model", params, { signal })) as ModelHandle;
    // Whoever loaded it first said where it is; a later call may only name it.
    const first = model.cached ? this.#models.get(model.modelId)?.params : undefined;
    this.#models.set(model.modelId, { params: first ?? params, live: true });
    if (!model.cached) this.#hub.emit("model:loaded", { modelId: model.modelId, model, reloaded });
    return model;
  }

  /** Forgets a model that was unloaded. */
  unloaded(modelId: string): void {
    this.#models.delete(modelId);
    this.#hub.emit("model:unloaded", { modelId });
  }

  /** The worker is gone, and the models with it. */
  invalidate(error: MlxWorkerError): void {
    for (const [modelId, model] of [...this.#models]) {
      if (!this.#reload) this.#models.delete(modelId);
      if (model.live) this.#hub.emit("model:invalidated", { modelId, error });
      model.live = false;
    }
  }

  /** Loads the lost models into a new worker. */
  restore(connection: Connection): void {
    for (const [modelId, { params, live }] of this.#models) {
      if (live) continue;
      const reload = this.load(connection, params, undefined, true)
        .catch((error: unknown) => {
          debug("model %s was not loaded again: %o", modelId, error);
          // What the worker refused is not tried again; what a crash interrupted is.
          if (error instanceof MlxWorkerError && error.code !== undefined) this.#models.delete(modelId);
          throw error;
        })
        .finally(() => {
          if (this.#reloads.get(modelId) === reload) this.#reloads.delete(modelId);
        });
      // The calls that wait for it reject; without one there is nobody to tell.
      reload.catch(() => {});
      this.#reloads.set(modelId, reload);
    }
  }

  /** The reload that a call which names this model has to wait for. */
  reloadOf(modelId: string): Promise<unknown> | undefined {
    return this.#reloads.get(modelId);
  }

  /** The end, good or bad, of the reloads of these models. */
  reloadsOf(modelIds: readonly string[]): Promise<unknown> | undefined {
    const reloads = [...new Set(modelIds)].flatMap((id) => this.#reloads.get(id) ?? []);
    return reloads.length === 0 ? undefined : Promise.allSettled(reloads);
  }
}
