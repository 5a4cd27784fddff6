import { describe, expect, test } from "vitest";
import { camelCase, camelKeys, snakeCase } from "../../src/casing.js";
import { InvalidParamsError } from "../../src/errors.js";
import { readGenerateParams } from "../../src/generate-params.js";
import { readParams } from "../../src/params.js";

const defined = (value: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined));

const read = (params: unknown) => defined(readGenerateParams("generate", params).params);

function refused(run: () => unknown): InvalidParamsError {
  try {
    run();
  } catch (error) {
    if (error instanceof InvalidParamsError) return error;
    throw error;
  }
  throw new Error("the parameters were accepted");
}

describe("readGenerateParams", () => {
  test("gives every parameter its wire name", () => {
    const sampling = {
      maxTokens: 5,
      temperature: 0,
      topP: 0.9,
      topK: 40,
      minP: 0.1,
      xtcProbability: 0.5,
      xtcThreshold: 0.2,
      repetitionPenalty: 1.1,
      repetitionContextSize: 10,
      presencePenalty: 0.1,
      frequencyPenalty: 0.2,
      logitBias: { 7: -100 },
      seed: 42,
      stopSequences: ["\n"],
      stopTokenIds: [2],
      ignoreEos: true,
      logprobs: true,
      topLogprobs: 3,
      guidance: { mode: "json" },
      draftModel: "d",
      numDraftTokens: 4,
      cachePrompt: false,
      stream: false,
    };
    expect(read({ model: "m", prompt: "p", ...sampling })).toEqual({
      model_id: "m",
      prompt: "p",
      max_tokens: 5,
      temperature: 0,
      top_p: 0.9,
      top_k: 40,
      min_p: 0.1,
      xtc_probability: 0.5,
      xtc_threshold: 0.2,
      repetition_penalty: 1.1,
      repetition_context_size: 10,
      presence_penalty: 0.1,
      frequency_penalty: 0.2,
      logit_bias: { 7: -100 },
      seed: 42,
      stop_sequences: ["\n"],
      stop_token_ids: [2],
      ignore_eos: true,
      logprobs: true,
      top_logprobs: 3,
      guidance: { mode: "json" },
      draft_model: "d",
      num_draft_tokens: 4,
      cache_prompt: false,
      stream: false,
    });
  });

  test("takes text, token ids or messages", () => {
    expect(read({ model: "m", prompt: "" })).toEqual({ model_id: "m", prompt: "" });
    expect(read({ model: "m", prompt: { tokens: [1, 2] } })).toEqual({
      model_id: "m",
      prompt_tokens: [1, 2],
    });
    expect(read({ model: "m", promptTokens: [1] })).toEqual({ model_id: "m", prompt_tokens: [1] });
    const messages = [{ role: "user", content: "hi", tool_call_id: "x" }];
    expect(read({ model: "m", messages, tools: [{}], chatTemplateKwargs: { camelKey: 1 } })).toEqual({
      model_id: "m",
      messages,
      tools: [{}],
      chat_template_kwargs: { camelKey: 1 },
    });
  });

  test("takes snake_case and older names; camelCase wins", () => {
    expect(read({ model_id: "m", prompt: "p", max_tokens: 5, top_p: 0.5, streaming: false })).toEqual({
      model_id: "m",
      prompt: "p",
      max_tokens: 5,
      top_p: 0.5,
      stream: false,
    });
    expect(read({ model: "m", prompt: "p", max_tokens: 5, maxTokens: 6 })).toMatchObject({ max_tokens: 6 });
    expect(read({ model: "m", prompt: "p", maxTokens: 6, max_tokens: 5 })).toMatchObject({ max_tokens: 6 });
    expect(read({ model: "m", prompt: "p", maxTokens: undefined, max_tokens: 5 })).toMatchObject({
      max_tokens: 5,
    });
    expect(read({ model: { modelId: "handle" }, prompt: "p", seed: null })).toEqual({
      model_id: "handle",
      prompt: "p",
    });
  });

  test.each([
    ["maxToken", { maxToken: 1 }],
    ["max_token", { max_token: 1 }],
    ["toString", { toString: 1 }],
    ["temperature", { temperature: "hot" }],
    ["temperature", { temperature: Number.NaN }],
    ["topP", { topP: Number.POSITIVE_INFINITY }],
    ["maxTokens", { maxTokens: 1.5 }],
    ["stopSequences", { stopSequences: "\n" }],
    ["stopTokenIds", { stopTokenIds: [1.5] }],
    ["guidance", { guidance: "json" }],
    ["prompt", { prompt: { tokens: ["1"] } }],
    ["prompt", { prompt: 5 }],
    ["prompt", { messages: [] }],
    ["model", { model: undefined }],
    ["model", { model: {} }],
  ])("refuses a wrong %s by its name", (param, extra) => {
    const error = refused(() => read({ model: "m", prompt: "p", ...extra }));
    expect(error).toMatchObject({ param, kind: "InvalidParams", code: -32602 });
    expect(error.message).toContain(param);
  });

  test("an unknown parameter's error lists the known ones", () => {
    const error = refused(() => read({ model: "m", prompt: "p", temprature: 1 }));
    expect(error.message).toMatch(/^generate: unknown parameter "temprature"; accepted: .*temperature/);
  });

  test("needs a prompt", () => {
    expect(refused(() => read({ model: "m" })).message).toContain("exactly one of prompt and messages");
  });
});

test("readParams refuses what is no object", () => {
  for (const input of [null, "m", 1, []])
    expect(refused(() => readParams("f", input, {})).param).toBe("params");
});

test("names change their case and back", () => {
  for (const [camel, snake] of [
    ["maxTokens", "max_tokens"],
    ["xtcProbability", "xtc_probability"],
    ["prompt", "prompt"],
  ] as const) {
    expect(snakeCase(camel)).toBe(snake);
    expect(camelCase(snake)).toBe(camel);
  }
  const bytes = new Uint8Array([1]);
  expect(camelKeys({ a_b: [{ c_d: null }], bin: bytes })).toEqual({ aB: [{ cD: null }], bin: bytes });
});
