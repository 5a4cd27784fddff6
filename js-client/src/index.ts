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
export { ChatSession, type ChatSessionParams } from "./chat-session.js";
export { createEngine, getSharedEngine } from "./create-engine.js";
export * from "./errors.js";
export { type EnvironmentVariable, ERROR_CODES, type ErrorKind } from "./generated/protocol.js";
export type * from "./types/engine.js";
export type * from "./types/events.js";
export type * from "./types/generate.js";
export type * from "./types/generator.js";
export type * from "./types/runtime.js";
