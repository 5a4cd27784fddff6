import { expect } from "vitest";
import { createEngine, type Engine, type EngineOptions, type ModelHandle } from "../../src/index.js";
import { MODEL_FILE, WORKER } from "./paths.js";

/** An engine over the built worker of this checkout. */
export function realEngine(options: EngineOptions = {}): Engine {
  return createEngine({ workerPath: WORKER, logLevel: "warn", ...options });
}

/** Loads the test model. */
export function loadTestModel(engine: Engine): Promise<ModelHandle> {
  return engine.loadModel({ model: "smollm2", localPath: MODEL_FILE });
}

/** Shows that the worker still answers with the test model loaded. */
export async function expectServes(engine: Engine): Promise<void> {
  const result = await engine.generate({ model: "smollm2", prompt: "Once", maxTokens: 1, temperature: 0 });
  expect(result.tokens).toHaveLength(1);
}
