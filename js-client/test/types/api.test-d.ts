import { assertType, expectTypeOf, test } from "vitest";
import type * as tables from "../../src/call-params.js";
import type { BATCH_GENERATE_OPTIONS, GENERATE_OPTIONS } from "../../src/generate-params.js";
import {
  type BatchTokenizeParams,
  type CallOptions,
  type ChatTemplateParams,
  type CloseOptions,
  createEngine,
  type DetokenizeParams,
  type Engine,
  type EngineOptions,
  type ERROR_CODES,
  type ErrorKind,
  type GenerateChunk,
  type GenerateOptions,
  type GenerateResult,
  type GeneratorChunk,
  type GeneratorParams,
  type LoadModelCallOptions,
  type LoadModelOptions,
  type MlxWorkerError,
  type MlxWorkerErrorKind,
  type ModelHandle,
  type TokenizeParams,
} from "../../src/index.js";

declare const engine: Engine;

test("createEngine takes optional options and nothing else", () => {
  expectTypeOf(createEngine).returns.toEqualTypeOf<Engine>();
  expectTypeOf(createEngine).parameters.toEqualTypeOf<[options?: EngineOptions]>();
  // @ts-expect-error unknown option
  createEngine({ pythonPath: "python3" });
});

test("the tables that are checked at run time have the keys of the public types", () => {
  expectTypeOf<keyof typeof tables.ENGINE_OPTIONS>().toEqualTypeOf<keyof EngineOptions>();
  expectTypeOf<keyof typeof tables.CALL_OPTIONS>().toEqualTypeOf<keyof CallOptions>();
  expectTypeOf<keyof typeof tables.CLOSE_OPTIONS>().toEqualTypeOf<keyof CloseOptions>();
  expectTypeOf<keyof typeof tables.LOAD_OPTIONS>().toEqualTypeOf<keyof LoadModelCallOptions>();
  expectTypeOf<keyof typeof tables.LOAD_PARAMS>().toEqualTypeOf<keyof LoadModelOptions | "modelId">();
  expectTypeOf<keyof typeof tables.TOKENIZE_PARAMS>().toEqualTypeOf<keyof TokenizeParams>();
  expectTypeOf<keyof typeof tables.BATCH_TOKENIZE_PARAMS>().toEqualTypeOf<keyof BatchTokenizeParams>();
  expectTypeOf<keyof typeof tables.DETOKENIZE_PARAMS>().toEqualTypeOf<keyof DetokenizeParams>();
  expectTypeOf<keyof typeof tables.CHAT_TEMPLATE_PARAMS>().toEqualTypeOf<keyof ChatTemplateParams>();
  expectTypeOf<keyof typeof GENERATE_OPTIONS>().toEqualTypeOf<keyof GenerateOptions>();
  expectTypeOf<keyof typeof BATCH_GENERATE_OPTIONS>().toEqualTypeOf<
    Exclude<keyof GenerateOptions, "streamId">
  >();
});

test("generate needs a model and exactly one of prompt and messages", () => {
  const messages = [{ role: "user", content: "hi" }];
  engine.generate({ model: "m", prompt: "p" });
  engine.generate({ model: {} as ModelHandle, prompt: { tokens: [1] } });
  engine.generate({ model: "m", messages, tools: [], maxTokens: undefined }, { signal: undefined });
  // @ts-expect-error no prompt
  engine.generate({ model: "m" });
  // @ts-expect-error both
  engine.generate({ model: "m", prompt: "p", messages });
  // @ts-expect-error no model
  engine.generate({ prompt: "p" });
  // @ts-expect-error unknown parameter
  engine.generate({ model: "m", prompt: "p", maxToken: 5 });
  // @ts-expect-error unknown priority
  engine.generate({ model: "m", prompt: "p" }, { priority: "high" });
});

test("a generation is awaitable and iterable", () => {
  const generation = engine.generate({ model: "m", prompt: "p" });
  expectTypeOf<Awaited<typeof generation>>().toEqualTypeOf<GenerateResult>();
  expectTypeOf(generation).toExtend<AsyncIterable<GenerateChunk>>();
  expectTypeOf(generation).toExtend<Promise<GenerateResult>>();
});

test("createGenerator takes both spellings and yields a discriminated union", async () => {
  assertType<GeneratorParams>({ model: "m", prompt: "p", maxTokens: 1, stopTokenIds: [1] });
  assertType<GeneratorParams>({ model_id: "m", prompt: "p", max_tokens: 1, stop_token_ids: [1], top_p: 0.5 });
  assertType<GeneratorParams>({ model: "m", prompt_tokens: [1], chat_template_kwargs: {}, streaming: true });
  // @ts-expect-error wrong type under the snake_case name
  assertType<GeneratorParams>({ model: "m", prompt: "p", max_tokens: "1" });
  // @ts-expect-error unknown name
  assertType<GeneratorParams>({ model: "m", prompt: "p", max_token: 1 });
  const chunks = engine.createGenerator({ model: "m", prompt: "p" });
  expectTypeOf(chunks).toEqualTypeOf<AsyncGenerator<GeneratorChunk, void, undefined>>();
  for await (const chunk of chunks) {
    if (chunk.type === "token") expectTypeOf(chunk.token).toBeString();
    else if (chunk.type === "metadata") expectTypeOf(chunk.stats.timeToFirstToken).toBeNumber();
    else expectTypeOf(chunk.error.code).toBeString();
  }
});

test("applyChatTemplate's result depends on tokenize", () => {
  expectTypeOf(engine.applyChatTemplate({ model: "m", messages: [] })).toEqualTypeOf<Promise<string>>();
  expectTypeOf(engine.applyChatTemplate({ model: "m", messages: [], tokenize: true })).toEqualTypeOf<
    Promise<number[]>
  >();
});

test("error kinds are a closed union that includes the worker's", () => {
  expectTypeOf<MlxWorkerError["kind"]>().toEqualTypeOf<MlxWorkerErrorKind>();
  expectTypeOf<ErrorKind>().toEqualTypeOf<keyof typeof ERROR_CODES>();
  expectTypeOf<ErrorKind>().toExtend<MlxWorkerErrorKind>();
  expectTypeOf<MlxWorkerErrorKind>().not.toBeAny();
  expectTypeOf<string>().not.toExtend<MlxWorkerErrorKind>();
});

test("an engine can be used with await using", () => {
  expectTypeOf(engine).toExtend<AsyncDisposable>();
});
