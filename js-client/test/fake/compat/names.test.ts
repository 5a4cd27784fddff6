import { expect, test } from "vitest";
import * as compat from "../../../src/compat/index.js";

/** What mlx-serving exports of its engine, by the test file that has its behaviour. */
const NAMES = {
  "engine.test.ts": ["Engine", "createEngine", "ENGINE_API_SNAPSHOT_VERSION"],
  "errors.test.ts": ["EngineClientError", "TimeoutError"],
  "helpers.test.ts": [
    "MLXEngine",
    "batchTokenize",
    "collectChunks",
    "createMLXEngine",
    "create_generator",
    "ensureModelLoaded",
    "generate",
    "generateText",
    "generateTextStreaming",
    "getEngine",
    "getTotalTokenCount",
    "isEngineHealthy",
    "load_model",
    "retryLoadModel",
    "shutdown",
    "tokenize",
    "unload_model",
    "waitForModelReady",
    "withEngine",
  ],
  "validators.test.ts": [
    "GenerationStatsCollector",
    "assertValidGeneratorParams",
    "assertValidLoadModelOptions",
    "assertValidTokenizeRequest",
    "clamp",
    "isValidModelIdFormat",
    "normalizeTemperature",
    "normalizeTopP",
    "sanitizeModelId",
    "validateGeneratorParams",
    "validateLoadModelOptions",
    "validateTokenizeRequest",
  ],
};

test("the entry has the names of mlx-serving's engine and no others", () => {
  expect(Object.keys(compat).sort()).toEqual(Object.values(NAMES).flat().sort());
});
