/**
 * Runs language models on MLX from Node.js: a client of the `mlx-worker` process.
 *
 * @example
 * ```ts
 * import { createEngine } from "mlx-worker";
 *
 * await using engine = createEngine();
 * const model = await engine.loadModel({ model: "smollm2", localPath: "./SmolLM2-135M-Instruct.Q4_1.gguf" });
 * const answer = await engine.generate({ model, messages: [{ role: "user", content: "Hello!" }] });
 * console.log(answer.text);
 * ```
 *
 * @packageDocumentation
 */
import { WorkerEngine } from "./engine.js";
import type { Engine, EngineOptions } from "./types/engine.js";

/**
 * Creates an engine. No process is started before its first call.
 *
 * @throws InvalidParamsError for an unknown option or one of the wrong type
 */
export function createEngine(options: EngineOptions = {}): Engine {
  return new WorkerEngine(options);
}

export * from "./errors.js";
export { ERROR_CODES, type ErrorKind } from "./generated/protocol.js";
export type * from "./types/engine.js";
export type * from "./types/generate.js";
export type * from "./types/generator.js";
export type * from "./types/runtime.js";
