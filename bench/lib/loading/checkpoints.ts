import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { type Random, randomInteger, seededRandom } from "../load/random.js";

/** Formats of random checkpoints: float32, bfloat16, and affine 4 bit in groups of 64 with bfloat16 scales. */
export const FORMATS = ["4bit", "bf16", "f32"] as const;

/** One of {@link FORMATS}. */
export type Format = (typeof FORMATS)[number];

/** A model on disk. */
export interface Checkpoint {
  readonly name: string;
  /** A folder or a .gguf file. */
  readonly path: string;
  /** The files that hold its weights. */
  readonly files: readonly string[];
  /** Their size. */
  readonly weightsBytes: number;
  /** SHA-256 of each, by base name. */
  readonly sha256: Readonly<Record<string, string>>;
  readonly quantised: boolean;
  /** The type of its floats, as `loadModel` names it; null where the worker's default is that. */
  readonly storedDType: "float16" | "bfloat16" | null;
}

/** Sizes of a llama. */
export interface LlamaShape {
  readonly hidden: number;
  readonly layers: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly vocabulary: number;
  readonly context: number;
}

/** A model whose steps cost next to nothing. */
export const TINY_SHAPE: LlamaShape = {
  hidden: 64,
  layers: 4,
  intermediate: 128,
  heads: 4,
  kvHeads: 2,
  vocabulary: 512,
  context: 131_072,
};

/** A model as wide as published ones of half a billion weights, with an embedding like theirs. */
export function largeShape(layers: number): LlamaShape {
  return {
    hidden: 1024,
    layers,
    intermediate: 2816,
    heads: 16,
    kvHeads: 8,
    vocabulary: 128_000,
    context: 4096,
  };
}

/** One tensor of a safetensors file. */
export interface Tensor {
  readonly name: string;
  readonly dtype: "F32" | "BF16" | "U32";
  readonly shape: readonly number[];
}

const ELEMENT_BYTES = { F32: 4, BF16: 2, U32: 4 } as const;

const BITS = 4;
const GROUP = 64;

/** The size of a tensor's data. */
export function tensorBytes({ dtype, shape }: Tensor): number {
  return shape.reduce((product, size) => product * size, ELEMENT_BYTES[dtype]);
}

/** The tensors of a llama with tied embeddings. */
export function llamaTensors(shape: LlamaShape, format: Format): Tensor[] {
  const { hidden, intermediate, vocabulary } = shape;
  const headDim = hidden / shape.heads;
  const float = format === "f32" ? "F32" : "BF16";
  const vector = (name: string): Tensor => ({ name: `${name}.weight`, dtype: float, shape: [hidden] });
  const matrix = (name: string, out: number, inputs: number): Tensor[] =>
    format === "4bit"
      ? [
          { name: `${name}.weight`, dtype: "U32", shape: [out, (inputs * BITS) / 32] },
          { name: `${name}.scales`, dtype: float, shape: [out, inputs / GROUP] },
          { name: `${name}.biases`, dtype: float, shape: [out, inputs / GROUP] },
        ]
      : [{ name: `${name}.weight`, dtype: float, shape: [out, inputs] }];
  const layer = (index: number): Tensor[] => {
    const at = `model.layers.${index}`;
    return [
      vector(`${at}.input_layernorm`),
      ...matrix(`${at}.self_attn.q_proj`, hidden, hidden),
      ...matrix(`${at}.self_attn.k_proj`, shape.kvHeads * headDim, hidden),
      ...matrix(`${at}.self_attn.v_proj`, shape.kvHeads * headDim, hidden),
      ...matrix(`${at}.self_attn.o_proj`, hidden, hidden),
      vector(`${at}.post_attention_layernorm`),
      ...matrix(`${at}.mlp.gate_proj`, intermediate, hidden),
      ...matrix(`${at}.mlp.up_proj`, intermediate, hidden),
      ...matrix(`${at}.mlp.down_proj`, hidden, intermediate),
    ];
  };
  return [
    ...matrix("model.embed_tokens", vocabulary, hidden),
    ...Array.from({ length: shape.layers }, (_, index) => layer(index)).flat(),
    vector("model.norm"),
  ];
}

/** A safetensors file's length and header for tensors that lie one after the other. */
export function safetensorsHeader(tensors: readonly Tensor[]): Buffer {
  let at = 0;
  const entries = tensors.map((tensor) => {
    const begin = at;
    at += tensorBytes(tensor);
    return [
      tensor.name,
      { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [begin, at] as const },
    ] as const;
  });
  const json = JSON.stringify(Object.fromEntries(entries));
  const body = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(body.length));
  return Buffer.concat([length, body]);
}

const BLOCK_BYTES = 1 << 20;

/** Bytes that tensors of a type are filled with again and again: small numbers, none of them infinite or a NaN. */
export function randomBlock(dtype: Tensor["dtype"], random: Random): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  for (let at = 0; at < block.length; at += 4) {
    if (dtype === "U32") block.writeUInt32LE(randomInteger(random, 2 ** 32), at);
    else block.writeFloatLE((random() - 0.5) / 10, at);
  }
  if (dtype !== "BF16") return block;
  // The upper half of a float32 is a bfloat16.
  for (let at = 0; at < block.length; at += 4) block.copyWithin(at, at + 2, at + 4);
  return block;
}

/** Writes a safetensors file of random weights, down to the disk. */
export async function writeSafetensors(
  path: string,
  tensors: readonly Tensor[],
  seed: number,
): Promise<void> {
  const random = seededRandom(seed);
  const blocks = {
    F32: randomBlock("F32", random),
    BF16: randomBlock("BF16", random),
    U32: randomBlock("U32", random),
  };
  const file = await open(path, "w");
  try {
    await file.write(safetensorsHeader(tensors));
    for (const tensor of tensors) {
      let left = tensorBytes(tensor);
      while (left > 0) {
        const part = blocks[tensor.dtype].subarray(0, left);
        await file.write(part);
        left -= part.length;
      }
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

/** The config.json of a llama. */
function llamaConfig(shape: LlamaShape, format: Format): object {
  return {
    model_type: "llama",
    architectures: ["LlamaForCausalLM"],
    hidden_size: shape.hidden,
    num_hidden_layers: shape.layers,
    intermediate_size: shape.intermediate,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kvHeads,
    head_dim: shape.hidden / shape.heads,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    max_position_embeddings: shape.context,
    vocab_size: shape.vocabulary,
    tie_word_embeddings: true,
    torch_dtype: format === "f32" ? "float32" : "bfloat16",
    ...(format === "4bit" && { quantization: { group_size: GROUP, bits: BITS } }),
  };
}

/** A tokenizer.json that has one token a byte. */
function byteTokenizer(): object {
  const printable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte !== 0xad);
  let others = 0;
  const vocab = Array.from({ length: 256 }, (_, byte): [string, number] => [
    String.fromCodePoint(printable(byte) ? byte : 0x100 + others++),
    byte,
  ]);
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
    model: { type: "BPE", vocab: Object.fromEntries(vocab), merges: [] },
  };
}

/** Writes a llama with random weights into a new folder. */
export async function writeLlama(
  folder: string,
  shape: LlamaShape,
  format: Format,
  seed: number,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeSafetensors(join(folder, "model.safetensors"), llamaTensors(shape, format), seed);
  await writeFile(join(folder, "config.json"), JSON.stringify(llamaConfig(shape, format)));
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(byteTokenizer()));
}

/** What a folder's config.json says of its weights. */
interface StoredAs {
  readonly dtype?: string;
  readonly torch_dtype?: string;
  readonly quantization?: unknown;
}

/** The checkpoint at a path, with the checksums of its weights. @throws Error when there is none */
export async function describeCheckpoint(path: string): Promise<Checkpoint> {
  const isFile = (await stat(path)).isFile();
  const files = isFile
    ? [path]
    : (await readdir(path))
        .filter((file) => file.endsWith(".safetensors"))
        .sort()
        .map((file) => join(path, file));
  const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size));
  const sha256: Record<string, string> = {};
  for (const file of files) sha256[basename(file)] = await fileHash(file);
  const config: StoredAs = isFile
    ? { dtype: "float16", quantization: {} }
    : JSON.parse(await readFile(join(path, "config.json"), "utf8"));
  const dtype = config.dtype ?? config.torch_dtype;
  return {
    name: basename(path, isFile ? extname(path) : ""),
    path,
    files,
    weightsBytes: sizes.reduce((total, size) => total + size, 0),
    sha256,
    quantised: config.quantization !== undefined,
    storedDType: dtype === "float16" || dtype === "bfloat16" ? dtype : null,
  };
}

/** The SHA-256 of a file, hexadecimal. */
export async function fileHash(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path, { highWaterMark: BLOCK_BYTES }), hash);
  return hash.digest("hex");
}

/**
 * Asks the system to forget what it holds of files in memory, so that the next reader waits for the disk. It is free
 * to keep them: how many bytes were read from storage is measured.
 *
 * @returns whether it could be asked
 */
export async function evict(files: readonly string[]): Promise<boolean> {
  if (process.platform !== "linux") return false;
  try {
    // dd of no blocks with this flag is posix_fadvise(POSIX_FADV_DONTNEED) on the file.
    for (const file of files) {
      await promisify(execFile)("dd", [`if=${file}`, "iflag=nocache", "count=0", "status=none"]);
    }
    return true;
  } catch {
    return false;
  }
}
