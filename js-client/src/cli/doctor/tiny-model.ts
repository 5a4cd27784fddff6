import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const HIDDEN = 64;
const INTERMEDIATE = 128;
const LAYERS = 2;
const HEADS = 4;
const KV_HEADS = 2;
const LETTERS = "abcdefghijklmnopqrstuvwxyz";

const CONFIG = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: HIDDEN,
  intermediate_size: INTERMEDIATE,
  num_hidden_layers: LAYERS,
  num_attention_heads: HEADS,
  num_key_value_heads: KV_HEADS,
  vocab_size: LETTERS.length,
  max_position_embeddings: 512,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: true,
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
  model: {
    type: "BPE",
    dropout: null,
    unk_token: null,
    vocab: Object.fromEntries([...LETTERS].map((letter, id) => [letter, id])),
    merges: [],
  },
};

/** Writes a small llama with weights that mean nothing, but are always the same, to a new folder. */
export async function writeTinyModel(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "config.json"), JSON.stringify(CONFIG));
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(TOKENIZER));
  await writeFile(join(folder, "model.safetensors"), safetensors(tensors()));
}

interface Tensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

function tensors(): Tensor[] {
  const random = randomNumbers();
  const matrix = (name: string, rows: number, columns: number): Tensor => ({
    name: `${name}.weight`,
    shape: [rows, columns],
    values: Float32Array.from({ length: rows * columns }, () => (random() - 0.5) * 0.4),
  });
  const norm = (name: string): Tensor => ({
    name: `${name}.weight`,
    shape: [HIDDEN],
    values: new Float32Array(HIDDEN).fill(1),
  });
  const kv = (HIDDEN / HEADS) * KV_HEADS;
  const layers = Array.from({ length: LAYERS }, (_, i) => {
    const layer = `model.layers.${i}`;
    return [
      norm(`${layer}.input_layernorm`),
      matrix(`${layer}.self_attn.q_proj`, HIDDEN, HIDDEN),
      matrix(`${layer}.self_attn.k_proj`, kv, HIDDEN),
      matrix(`${layer}.self_attn.v_proj`, kv, HIDDEN),
      matrix(`${layer}.self_attn.o_proj`, HIDDEN, HIDDEN),
      norm(`${layer}.post_attention_layernorm`),
      matrix(`${layer}.mlp.gate_proj`, INTERMEDIATE, HIDDEN),
      matrix(`${layer}.mlp.up_proj`, INTERMEDIATE, HIDDEN),
      matrix(`${layer}.mlp.down_proj`, HIDDEN, INTERMEDIATE),
    ];
  });
  return [matrix("model.embed_tokens", LETTERS.length, HIDDEN), ...layers.flat(), norm("model.norm")];
}

/** Numbers from 0 to 1 of a linear congruential generator. */
function randomNumbers(): () => number {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function safetensors(all: readonly Tensor[]): Buffer {
  let offset = 0;
  const header = Object.fromEntries(
    all.map(({ name, shape, values }) => {
      const begin = offset;
      offset += values.byteLength;
      return [name, { dtype: "F32", shape, data_offsets: [begin, offset] }];
    }),
  );
  const text = JSON.stringify(header);
  const json = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, ...all.map(({ values }) => Buffer.from(values.buffer))]);
}
