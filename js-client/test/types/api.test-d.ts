import { assertType, expectTypeOf, test } from "vitest";
import type * as tables from "../../src/call-params.js";
import type { BATCH_GENERATE_OPTIONS, GENERATE_OPTIONS } from "../../src/generate-params.js";
import type { MethodParams } from "../../src/generated/protocol.js";
import {
  type BatchTokenizeParams,
  type CallOptions,
  type ChatParams,
  ChatSession,
  type ChatTemplateParams,
  type CloseOptions,
  type CountTokensParams,
  createEngine,
  type DetokenizeParams,
  type Engine,
  type EngineOptions,
  type EnvironmentVariable,
  type ERROR_CODES,
  type ErrorKind,
  type GenerateChunk,
  type GenerateOptions,
  type GenerateResult,
  type GeneratorChunk,
  type GeneratorParams,
  getSharedEngine,
  type HealthCheckOptions,
  type LoadModelCallOptions,
  type LoadModelOptions,
  type MlxWorkerError,
  type MlxWorkerErrorKind,
  type ModelHandle,
  type RuntimeStats,
  type SamplingParams,
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
  expectTypeOf<keyof typeof tables.HEALTH_OPTIONS>().toEqualTypeOf<keyof HealthCheckOptions>();
  expectTypeOf<keyof typeof tables.COUNT_TOKENS_PARAMS>().toEqualTypeOf<
    CountTokensParams extends infer One ? (One extends unknown ? keyof One : never) : never
  >();
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

type SnakeCase<S> = S extends `${infer Head}${infer Tail}`
  ? Head extends Lowercase<Head>
    ? `${Head}${SnakeCase<Tail>}`
    : `_${Lowercase<Head>}${SnakeCase<Tail>}`
  : S;

/** The wire names of a call's parameters; `model` is `model_id` there. */
type WireNames<T> = SnakeCase<keyof { [K in keyof T as K extends "model" ? "modelId" : K]: T[K] }>;

test("the public types have the parameters of the worker's tables, by their names in camelCase", () => {
  type Prompts = "model_id" | "prompt" | "prompt_tokens" | "messages" | "tools" | "chat_template_kwargs";
  expectTypeOf<
    WireNames<SamplingParams> | WireNames<Omit<GenerateOptions, "signal">> | Prompts
  >().toEqualTypeOf<keyof MethodParams["generate"]>();
  expectTypeOf<WireNames<ChatParams>>().toExtend<keyof MethodParams["generate"]>();
  expectTypeOf<WireNames<LoadModelOptions>>().toEqualTypeOf<keyof MethodParams["load_model"]>();
  expectTypeOf<WireNames<TokenizeParams>>().toEqualTypeOf<keyof MethodParams["tokenize"]>();
  expectTypeOf<WireNames<DetokenizeParams>>().toEqualTypeOf<keyof MethodParams["detokenize"]>();
  expectTypeOf<WireNames<ChatTemplateParams>>().toEqualTypeOf<keyof MethodParams["apply_chat_template"]>();
  expectTypeOf<WireNames<CloseOptions>>().toEqualTypeOf<keyof MethodParams["shutdown"]>();
  expectTypeOf<NonNullable<GenerateOptions["priority"]>>().toEqualTypeOf<
    NonNullable<MethodParams["generate"]["priority"]>
  >();
  expectTypeOf<NonNullable<LoadModelOptions["dtype"]>>().toEqualTypeOf<
    NonNullable<MethodParams["load_model"]["dtype"]>
  >();
});

test("the worker's environment variables are known by name, others are let through", () => {
  createEngine({ env: { MLX_FAST_PATH: "off", OTHER: undefined } });
  expectTypeOf<EnvironmentVariable>().toExtend<keyof NonNullable<EngineOptions["env"]>>();
  // @ts-expect-error not a string
  createEngine({ env: { MLX_FAST_PATH: false } });
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

test("a generation is a web stream of chunks or bytes", () => {
  const generation = engine.generate({ model: "m", prompt: "p" });
  expectTypeOf(generation.toReadableStream()).toEqualTypeOf<ReadableStream<GenerateChunk>>();
  const bytes = generation.toReadableStream({ format: "bytes" });
  expectTypeOf(bytes).toEqualTypeOf<ReadableStream<Uint8Array>>();
  expectTypeOf(Response).toBeConstructibleWith(bytes);
});

test("a conversation", () => {
  const messages = [{ role: "user", content: "hi" }];
  expectTypeOf(engine.chat(messages, { model: "m" }).then).toBeFunction();
  // @ts-expect-error no model
  engine.chat(messages, {});
  // @ts-expect-error a prompt beside the conversation
  engine.chat(messages, { model: "m", prompt: "p" });
  const chat = new ChatSession(engine, { model: "m", system: "s", maxTokens: 1 });
  expectTypeOf<Awaited<ReturnType<typeof chat.send>>>().toEqualTypeOf<GenerateResult>();
});

test("countTokens takes a text or a conversation", () => {
  assertType<CountTokensParams>({ model: "m", text: "t", addSpecialTokens: false });
  assertType<CountTokensParams>({ model: "m", messages: [], tools: [] });
  // @ts-expect-error both
  assertType<CountTokensParams>({ model: "m", text: "t", messages: [] });
  // @ts-expect-error neither
  assertType<CountTokensParams>({ model: "m" });
});

test("events have their payloads", () => {
  engine.on("worker:status", ({ status }) => {
    expectTypeOf(status).toEqualTypeOf<"stopped" | "starting" | "ready" | "failed">();
  });
  engine.once("generation:ended", ({ result }) => {
    expectTypeOf(result).toEqualTypeOf<GenerateResult | undefined>();
  });
  // @ts-expect-error unknown event
  engine.on("model:load", () => {});
});

test("figures of the tuner, of memory and of what went wrong", () => {
  expectTypeOf<RuntimeStats["tuner"]["rowLimit"]>().toBeNumber();
  expectTypeOf<RuntimeStats["memory"]["reservedBytes"]>().toBeNumber();
  expectTypeOf<RuntimeStats["requests"]["preempted"]>().toBeNumber();
  expectTypeOf<RuntimeStats["recoveriesTotal"]>().toBeNumber();
});

test("the shared engine is an engine", () => {
  expectTypeOf(getSharedEngine).parameters.toEqualTypeOf<[options?: EngineOptions, name?: string]>();
  expectTypeOf(getSharedEngine).returns.toEqualTypeOf<Engine>();
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
