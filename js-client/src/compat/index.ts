/**
 * The public interface of mlx-serving (formerly kr-serve-mlx), which mlx-worker replaces: its applications change the
 * name of the package that they import. New code should use `mlx-worker` itself.
 *
 * @example
 * ```ts
 * import { createEngine } from "mlx-worker/compat";
 *
 * const engine = await createEngine();
 * await engine.load_model({ model: "smollm2", local_path: "./SmolLM2-135M-Instruct.Q4_1.gguf" });
 * for await (const chunk of engine.create_generator({ model: "smollm2", prompt: "Hello", max_tokens: 16 }))
 *   if (chunk.type === "token") process.stdout.write(chunk.token);
 * await engine.shutdown();
 * ```
 *
 * @packageDocumentation
 */
import type { Engine } from "./engine.js";

/** Version of the interface that {@link EnginePublicAPI} describes. */
export const ENGINE_API_SNAPSHOT_VERSION = "phase-0";

/** The methods and events of an engine. */
export type EnginePublicAPI = Pick<Engine, keyof Engine>;

export { createEngine, Engine } from "./engine.js";
export { EngineClientError, type EngineErrorCode, TimeoutError } from "./errors.js";
export type * from "./events.js";
export * from "./helpers.js";
export { createMLXEngine, MLXEngine } from "./mlx-engine.js";
export * from "./module-helpers.js";
export type { GenerationSettings } from "./params.js";
export { GenerationStatsCollector, type StatsCollectorOptions } from "./stats-collector.js";
export type * from "./types.js";
export * from "./validators.js";
