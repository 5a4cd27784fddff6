import { isDeepStrictEqual } from "node:util";
import { WorkerEngine } from "./engine.js";
import type { Engine, EngineOptions } from "./types/engine.js";
import { invalidParam } from "./wire-errors.js";

/**
 * Creates an engine. No process is started before its first call.
 *
 * @throws InvalidParamsError for an unknown option or one of the wrong type
 */
export function createEngine(options: EngineOptions = {}): Engine {
  return new WorkerEngine(options);
}

interface SharedEngine {
  readonly engine: Engine;
  readonly options: EngineOptions;
}

/** Where the shared engines of a process are, whichever copy of this module made them. */
const REGISTRY: unique symbol = Symbol.for("mlx-worker.shared-engines");

/** What this module keeps on `globalThis`. */
interface GlobalRegistry {
  [REGISTRY]?: Map<string, SharedEngine>;
}

/**
 * The engine of this name that the whole process shares; created by the first call, and again by the first one after it
 * was closed. For servers that load their modules again while they run (Next.js, Vite, `tsx watch`): each `createEngine`
 * of a reloaded module would leave a worker behind.
 *
 * @param options as of `createEngine`; those of later calls have to be the same, functions aside
 * @param name sets engines with different options apart
 * @throws InvalidParamsError for an option that is refused, or that differs from the running engine's
 *
 * @example
 * ```ts
 * export const engine = getSharedEngine({ modelsDir: "./models" });
 * ```
 */
export function getSharedEngine(options: EngineOptions = {}, name = "default"): Engine {
  const holder = globalThis as GlobalRegistry;
  holder[REGISTRY] ??= new Map();
  const registry = holder[REGISTRY];
  const shared = registry.get(name);
  if (shared === undefined || shared.engine.closed) {
    const engine = createEngine(options);
    registry.set(name, { engine, options });
    return engine;
  }
  if (!isDeepStrictEqual(comparable(options), comparable(shared.options))) {
    throw invalidParam(
      "options",
      `getSharedEngine: the engine ${JSON.stringify(name)} exists with other options`,
      "the same options, another name, or a call after close()",
    );
  }
  return shared.engine;
}

/** The options that are set and can be compared: a reloaded module's functions are new ones. */
function comparable(options: EngineOptions): Record<string, unknown> {
  const given = Object.entries(options).filter(
    ([, value]) => value !== undefined && typeof value !== "function",
  );
  return Object.fromEntries(given);
}
