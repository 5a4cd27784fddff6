import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  ContextLengthExceededError,
  type Engine,
  type GenerateParams,
  InvalidParamsError,
  type ModelHandle,
  ModelLoadError,
  ModelNotLoadedError,
  UnsupportedError,
} from "../../src/index.js";
import { rejection } from "../fake/fake-engine.js";
import { expectServes, loadTestModel, realEngine } from "./real-engine.js";

let engine: Engine;
let model: ModelHandle;
let folder: string;
let pid: number;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bad-input-"));
  engine = realEngine();
  model = await loadTestModel(engine);
  pid = (await engine.runtimeInfo()).pid;
});

afterAll(async () => {
  await engine.close();
  rmSync(folder, { recursive: true });
});

const LLAMA = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 8,
  intermediate_size: 16,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 2,
  vocab_size: 2,
  max_position_embeddings: 32,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  torch_dtype: "float32",
};

const TOKENIZER = {
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: null,
  model: { type: "BPE", dropout: null, unk_token: null, vocab: { a: 0, b: 1 }, merges: [] },
};

/** A model folder in the tests' temporary folder. */
function modelFolder(name: string, files: Record<string, string | Buffer | object>): string {
  const path = join(folder, name);
  mkdirSync(path);
  for (const [file, content] of Object.entries(files)) {
    const raw = typeof content === "string" || Buffer.isBuffer(content);
    writeFileSync(join(path, file), raw ? content : JSON.stringify(content));
  }
  return path;
}

/** A safetensors file whose header promises more bytes than there are. */
function truncatedSafetensors(): Buffer {
  const header = Buffer.from(
    JSON.stringify({ "model.embed_tokens.weight": { dtype: "F32", shape: [2, 8], data_offsets: [0, 64] } }),
  );
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, Buffer.alloc(10)]);
}

/** The call fails with this class and a message that names the thing, and the same worker goes on. */
async function expectRefused(
  call: PromiseLike<unknown>,
  Class: abstract new (...args: never) => Error,
  naming: RegExp,
): Promise<Error> {
  const error = await rejection(call);
  expect(error).toBeInstanceOf(Class);
  expect((error as Error).message).toMatch(naming);
  await expectServes(engine);
  expect((await engine.runtimeInfo()).pid).toBe(pid);
  return error as Error;
}

describe("load_model", () => {
  const load = (localPath: string) => engine.loadModel({ model: "bad", localPath });

  test("a path that does not exist", async () => {
    const path = join(folder, "no-such-model");
    await expectRefused(load(path), ModelLoadError, /no-such-model/);
  });

  test("an id that is nowhere", async () => {
    await expectRefused(
      engine.loadModel("nobody/knows-this-model"),
      ModelLoadError,
      /nobody\/knows-this-model/,
    );
  });

  test("a folder without config.json", async () => {
    await expectRefused(load(modelFolder("empty", {})), ModelLoadError, /config\.json/);
  });

  test("a config.json that is no JSON", async () => {
    await expectRefused(load(modelFolder("half", { "config.json": "{" })), ModelLoadError, /config\.json/);
  });

  test("truncated safetensors", async () => {
    const path = modelFolder("truncated", {
      "config.json": LLAMA,
      "tokenizer.json": TOKENIZER,
      "model.safetensors": truncatedSafetensors(),
    });
    await expectRefused(load(path), ModelLoadError, /model\.safetensors/);
  });

  test("a GGUF file with a wrong magic", async () => {
    const path = join(folder, "wrong.gguf");
    writeFileSync(path, Buffer.concat([Buffer.from("NOPE"), Buffer.alloc(64)]));
    await expectRefused(load(path), ModelLoadError, /magic/i);
  });

  test("an architecture that is not known", async () => {
    const path = modelFolder("unknown-architecture", {
      "config.json": { ...LLAMA, model_type: "mystery", architectures: ["MysteryForCausalLM"] },
      "tokenizer.json": TOKENIZER,
    });
    await expectRefused(load(path), ModelLoadError, /mystery/i);
  });

  test("trust_remote_code", async () => {
    await expectRefused(
      engine.loadModel({ model: "bad", trustRemoteCode: true }),
      UnsupportedError,
      /trust_remote_code/,
    );
  });
});

describe("generate", () => {
  const generate = (params: object) =>
    engine.generate({ model: "smollm2", prompt: "p", ...params } as GenerateParams);

  test("an unknown parameter", async () => {
    await expectRefused(generate({ temprature: 0 }), InvalidParamsError, /temprature/);
  });

  test.each<[param: string, params: object, options?: object]>([
    ["temperature", { temperature: -1 }],
    ["top_p", { topP: 1.5 }],
    ["max_tokens", { maxTokens: 0 }],
    ["priority", {}, { priority: "high" }],
    ["top_logprobs", { logprobs: true, topLogprobs: 21 }],
    ["stop_sequences", { stopSequences: Array(17).fill("x") }],
  ])("a %s that is out of range", async (param, params, options = {}) => {
    const call = engine.generate({ model: "smollm2", prompt: "p", ...params }, options);
    const error = await expectRefused(call, InvalidParamsError, new RegExp(param));
    expect(error).toMatchObject({ param, code: -32602, data: { accepted: expect.any(String) } });
  });

  test("an empty prompt", async () => {
    await expectRefused(generate({ prompt: "" }), InvalidParamsError, /prompt/);
    await expectRefused(generate({ prompt: { tokens: [] } }), InvalidParamsError, /prompt_tokens/);
    await expectRefused(generate({ prompt: undefined, messages: [] }), InvalidParamsError, /messages/);
  });

  test("a prompt that is longer than the context", async () => {
    const tokens = Array<number>(model.contextLength + 1).fill(100);
    const error = await expectRefused(
      generate({ prompt: { tokens } }),
      ContextLengthExceededError,
      /context/,
    );
    expect(error).toMatchObject({ limit: model.contextLength, promptTokens: tokens.length, code: -32008 });
  });

  test("a token id outside the vocabulary", async () => {
    await expectRefused(
      generate({ prompt: { tokens: [model.vocabSize] } }),
      InvalidParamsError,
      new RegExp(`${model.vocabSize}`),
    );
  });

  test("a model that is not loaded", async () => {
    await expectRefused(generate({ model: "nobody" }), ModelNotLoadedError, /nobody/);
  });
});
