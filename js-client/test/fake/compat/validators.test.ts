import { expect, test } from "vitest";
import {
  assertValidGeneratorParams,
  assertValidLoadModelOptions,
  assertValidTokenizeRequest,
  clamp,
  EngineClientError,
  GenerationStatsCollector,
  type GeneratorParams,
  isValidModelIdFormat,
  type LoadModelOptions,
  normalizeTemperature,
  normalizeTopP,
  sanitizeModelId,
  type TokenizeRequest,
  validateGeneratorParams,
  validateLoadModelOptions,
  validateTokenizeRequest,
} from "../../../src/compat/index.js";

test.each<[unknown, string[]]>([
  [{ model: "m", quantization: "int4" }, []],
  [{ model: { id: "m" } }, []],
  [{}, ["model is required"]],
  [{ model: " " }, ["model identifier cannot be empty"]],
  [{ model: { id: "" } }, ["model descriptor must have a valid id"]],
  [{ model: "m", quantization: "int3" }, ["quantization must be one of: none, int8, int4"]],
])("validateLoadModelOptions(%j)", (options, errors) => {
  const given = options as LoadModelOptions;
  expect(validateLoadModelOptions(given)).toEqual({ valid: errors.length === 0, errors });
  expectAssertion(() => assertValidLoadModelOptions(given), "LoadModelOptions", errors);
});

const SETTINGS = { model: "m", prompt: "p" };

test.each<[unknown, string[]]>([
  [SETTINGS, []],
  [
    { ...SETTINGS, maxTokens: 5, temperature: 2, topP: 0, seed: 0, stopSequences: ["a"], stopTokenIds: [1] },
    [],
  ],
  [{ ...SETTINGS, structured: { schema: {}, format: "yaml" } }, []],
  [{}, ["model is required", "prompt is required"]],
  [{ model: " ", prompt: " " }, ["model identifier cannot be empty", "prompt cannot be empty"]],
  [{ ...SETTINGS, maxTokens: 0 }, ["maxTokens must be a positive integer"]],
  [{ ...SETTINGS, maxTokens: 100_001 }, ["maxTokens cannot exceed 100000"]],
  [{ ...SETTINGS, temperature: Number.NaN }, ["temperature must be a number between 0 and 2"]],
  [{ ...SETTINGS, topP: 1.1 }, ["topP must be a number between 0 and 1"]],
  [{ ...SETTINGS, presencePenalty: -3 }, ["presencePenalty must be a number between -2 and 2"]],
  [{ ...SETTINGS, frequencyPenalty: "1" }, ["frequencyPenalty must be a number between -2 and 2"]],
  [{ ...SETTINGS, repetitionPenalty: -1 }, ["repetitionPenalty must be a non-negative number"]],
  [{ ...SETTINGS, seed: 1.5 }, ["seed must be a non-negative integer"]],
  [{ ...SETTINGS, stopSequences: "a" }, ["stopSequences must be an array"]],
  [{ ...SETTINGS, stopSequences: [1] }, ["all stopSequences must be strings"]],
  [{ ...SETTINGS, stopTokenIds: [-1] }, ["all stopTokenIds must be non-negative integers"]],
  [
    { ...SETTINGS, structured: {} },
    [
      "structured.schema is required when using structured output",
      "structured.format is required when using structured output",
    ],
  ],
  [
    { ...SETTINGS, structured: { schema: {}, format: "xml" } },
    ['structured.format must be "json" or "yaml"'],
  ],
])("validateGeneratorParams(%j)", (params, errors) => {
  const given = params as GeneratorParams;
  expect(validateGeneratorParams(given)).toEqual({ valid: errors.length === 0, errors });
  expectAssertion(() => assertValidGeneratorParams(given), "GeneratorParams", errors);
});

test.each<[unknown, string[]]>([
  [{ model: "m", text: "t" }, []],
  [{}, ["model is required", "text is required"]],
  [{ model: " ", text: 1 }, ["model identifier cannot be empty", "text must be a string"]],
])("validateTokenizeRequest(%j)", (request, errors) => {
  const given = request as TokenizeRequest;
  expect(validateTokenizeRequest(given)).toEqual({ valid: errors.length === 0, errors });
  expectAssertion(() => assertValidTokenizeRequest(given), "TokenizeRequest", errors);
});

function expectAssertion(assertion: () => void, what: string, errors: string[]): void {
  let thrown: unknown;
  try {
    assertion();
  } catch (error) {
    thrown = error;
  }
  if (errors.length === 0) {
    expect(thrown).toBeUndefined();
    return;
  }
  expect(thrown).toBeInstanceOf(EngineClientError);
  expect(thrown).toMatchObject({
    code: "InvalidParams",
    message: `Invalid ${what}: ${errors.join(", ")}`,
    details: { errors },
  });
}

test("sanitizeModelId and isValidModelIdFormat", () => {
  expect(sanitizeModelId(" llama-3.2_3b ")).toBe("llama-3.2_3b");
  for (const id of ["", " ", "a/b", "a\\b", "..", "a..b"]) {
    expect(() => sanitizeModelId(id)).toThrow(EngineClientError);
  }
  expect(isValidModelIdFormat("llama-3.2_3b")).toBe(true);
  expect(isValidModelIdFormat("org/llama")).toBe(false);
});

test("clamp, normalizeTemperature and normalizeTopP", () => {
  expect([clamp(-1, 0, 2), clamp(1, 0, 2), clamp(3, 0, 2)]).toEqual([0, 1, 2]);
  expect([normalizeTemperature(3), normalizeTemperature(undefined)]).toEqual([2, undefined]);
  expect([normalizeTopP(-1), normalizeTopP(0.5), normalizeTopP(undefined)]).toEqual([0, 0.5, undefined]);
});

test("GenerationStatsCollector counts tokens from the first one, or from start()", () => {
  const collector = new GenerationStatsCollector();
  expect(collector.getStats()).toEqual({
    tokensGenerated: 0,
    tokensPerSecond: 0,
    timeToFirstToken: 0,
    totalTime: 0,
  });
  expect([collector.isStarted, collector.hasTokens]).toEqual([false, false]);
  collector.update("a");
  collector.update({ token: "b" });
  expect([collector.isStarted, collector.hasTokens, collector.tokensGenerated]).toEqual([true, true, 2]);
  expect(collector.timeToFirstToken).toBeGreaterThanOrEqual(0);
  expect(collector.totalTime).toBeGreaterThan(0);
  expect(collector.tokensPerSecond).toBeCloseTo(2 / collector.totalTime);
  collector.reset();
  expect(collector.hasTokens).toBe(false);

  const manual = new GenerationStatsCollector({ autoStart: false });
  manual.update("a");
  expect([manual.isStarted, manual.totalTime]).toEqual([false, 0]);
  manual.start();
  manual.stop();
  expect(manual.isStarted).toBe(true);
  expect(manual.totalTime).toBeGreaterThan(0);
});
