"""Converts a llama-family GGUF file once into a folder that mlx-lm loads.

Weights are exactly what MLX reads from the file (mx.load), in one of two forms:

- ``float32``: dense, dequantised by mx.dequantize in float32 with the scales and biases cast to float32 first.
  mlx-lm's fastest form on a CPU, where quantised and half-precision products are slow.
- ``stored``: quantised as stored, for GPUs.

The rows of the query and key projections are put back into Hugging Face's order: GGUF files hold them permuted
for interleaved rotary embedding.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx

from gguf_tokenizer import Vocabulary, write_tokenizer

GROUP_SIZE = 32
"""Every quantised GGUF type that mx.load keeps quantised (Q4_0, Q4_1, Q8_0) has groups of 32."""

WEIGHT_FORMS = ("float32", "stored")

_TOP_LEVEL = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_IN_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_BLOCK = re.compile(r"blk\.(\d+)\.(\w+)$")
_ROPE_FREQUENCIES = "rope_freqs.weight"


class Metadata:
    """Typed access to a GGUF file's metadata as mx.load returns it."""

    def __init__(self, values: dict[str, Any]) -> None:
        """values: the second result of mx.load(path, return_metadata=True)."""
        self._values = values

    def get(self, key: str, default: Any = None) -> Any:
        """The value as plain Python, default where the key is absent."""
        value = self._values.get(key, default)
        return value.tolist() if isinstance(value, mx.array) else value

    def need(self, key: str) -> Any:
        """The value as plain Python; ValueError that names the key where it is absent."""
        value = self.get(key)
        if value is None:
            raise ValueError(f"the GGUF file has no metadata key {key!r}")
        return value


@dataclass(frozen=True)
class Heads:
    """Attention heads of a llama model, as far as undoing the row permutation needs them."""

    query: int
    key_value: int


def unpermute_rows(rows: mx.array, heads: int) -> mx.array:
    """Undoes the GGUF row order (2i, 2i+1 pairs per head) back to Hugging Face's halves.

    rows: [heads * head_dim, ...]; the result has the same shape. Works on packed quantised rows as well, because
    packing runs along the columns.
    """
    count, *rest = rows.shape
    half = count // heads // 2
    return rows.reshape(heads, half, 2, *rest).swapaxes(1, 2).reshape(rows.shape)


def hugging_face_name(module: str) -> str:
    """The Hugging Face module name of a GGUF one; ValueError for a tensor that a llama model does not have."""
    if module in _TOP_LEVEL:
        return _TOP_LEVEL[module]
    block = _BLOCK.match(module)
    if block and block[2] in _IN_BLOCK:
        return f"model.layers.{block[1]}.{_IN_BLOCK[block[2]]}"
    raise ValueError(f"tensor {module!r} is not part of the llama family")


def llama3_rope_scaling(frequencies: list[float], base: float, head_dim: int) -> dict[str, Any]:
    """The llama3 rope_scaling settings behind a rope_freqs tensor.

    GGUF keeps only the resulting divisors, so the published settings are tried and must reproduce them.
    Raises ValueError when they do not.
    """
    settings = {
        "rope_type": "llama3",
        "factor": max(frequencies),
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    original, low, high = 8192, 1.0, 4.0
    for index, divisor in enumerate(frequencies):
        wavelength = 6.283185307179586 * base ** (2 * index / head_dim)
        if wavelength < original / high:
            expected = 1.0
        elif wavelength > original / low:
            expected = settings["factor"]
        else:
            smooth = (original / wavelength - low) / (high - low)
            expected = 1 / ((1 - smooth) / settings["factor"] + smooth)
        if abs(expected - divisor) > 1e-3 * expected:
            raise ValueError(f"rope_freqs[{index}] is {divisor}, llama3 scaling gives {expected}")
    return settings


def model_config(metadata: Metadata, tensors: dict[str, mx.array]) -> dict[str, Any]:
    """The config.json of the converted model, without quantisation settings."""
    heads = metadata.need("llama.attention.head_count")
    hidden = metadata.need("llama.embedding_length")
    head_dim = metadata.get("llama.attention.key_length", hidden // heads)
    base = metadata.get("llama.rope.freq_base", 10000.0)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "num_hidden_layers": metadata.need("llama.block_count"),
        "intermediate_size": metadata.need("llama.feed_forward_length"),
        "num_attention_heads": heads,
        "num_key_value_heads": metadata.get("llama.attention.head_count_kv", heads),
        "head_dim": head_dim,
        "rms_norm_eps": metadata.need("llama.attention.layer_norm_rms_epsilon"),
        "vocab_size": tensors["token_embd.weight"].shape[0],
        "max_position_embeddings": metadata.need("llama.context_length"),
        "rope_theta": base,
        "tie_word_embeddings": "output.weight" not in tensors,
        "attention_bias": "blk.0.attn_q.bias" in tensors,
        "mlp_bias": "blk.0.ffn_gate.bias" in tensors,
        "bos_token_id": metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": end_ids(metadata),
    }
    scaling = metadata.get("llama.rope.scaling.type", "none")
    if scaling == "linear":
        config["rope_scaling"] = {"rope_type": "linear", "factor": metadata.need("llama.rope.scaling.factor")}
    elif scaling != "none":
        raise ValueError(f"llama.rope.scaling.type {scaling!r} is not supported; supported: none, linear")
    if _ROPE_FREQUENCIES in tensors:
        divisors = tensors[_ROPE_FREQUENCIES].astype(mx.float32).tolist()
        config["rope_scaling"] = llama3_rope_scaling(divisors, base, head_dim)
    return config


def end_ids(metadata: Metadata) -> list[int]:
    """The ids that end an answer: end of sequence, of turn, of message, as far as the file names them."""
    keys = ("eos_token_id", "eot_token_id", "eom_token_id")
    found = (metadata.get(f"tokenizer.ggml.{key}") for key in keys)
    return sorted({value for value in found if value is not None})


def vocabulary(metadata: Metadata) -> Vocabulary:
    """The file's vocabulary as plain values."""

    def key(name: str, default: Any = None) -> Any:
        return metadata.get(f"tokenizer.ggml.{name}", default)

    tokens = metadata.need("tokenizer.ggml.tokens")
    return Vocabulary(
        model=metadata.need("tokenizer.ggml.model"),
        pre=key("pre", "gpt-2"),
        tokens=tokens,
        scores=key("scores", [0.0] * len(tokens)),
        types=key("token_type", [1] * len(tokens)),
        merges=key("merges", []),
        bos=key("bos_token_id"),
        eos=key("eos_token_id"),
        unk=key("unknown_token_id"),
        pad=key("padding_token_id"),
        add_bos=key("add_bos_token"),
        add_space_prefix=key("add_space_prefix"),
        chat_template=metadata.get("tokenizer.chat_template"),
    )


def convert(source: Path, folder: Path, form: str) -> None:
    """Writes the mlx-lm form of a GGUF file into an existing, empty folder.

    form: one of WEIGHT_FORMS. Raises ValueError for another architecture or an unknown tensor.
    """
    tensors, raw = mx.load(str(source), format="gguf", return_metadata=True)
    metadata = Metadata(raw)
    architecture = metadata.need("general.architecture")
    if architecture != "llama":
        raise ValueError(f"architecture {architecture!r} is not supported by this converter; supported: llama")
    config = model_config(metadata, tensors)
    heads = Heads(config["num_attention_heads"], config["num_key_value_heads"])
    weights, quantization = _weights(tensors, heads, form)
    if quantization:
        config["quantization"] = quantization
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_tokenizer(vocabulary(metadata), folder)


def _weights(tensors: dict[str, mx.array], heads: Heads, form: str) -> tuple[dict[str, mx.array], dict[str, Any]]:
    """Tensors under their Hugging Face names, and the quantisation settings (empty for dense weights)."""
    weights: dict[str, mx.array] = {}
    layers: dict[str, Any] = {}
    for key in sorted(tensors):
        module, _, part = key.rpartition(".")
        if key == _ROPE_FREQUENCIES or part in ("scales", "biases"):
            continue
        name = hugging_face_name(module)
        parts = {part: tensors[key]}
        if part == "weight" and f"{module}.scales" in tensors:
            scales, biases = tensors[f"{module}.scales"], tensors[f"{module}.biases"]
            bits = tensors[key].shape[-1] // scales.shape[-1]
            if form == "float32":
                parts = {"weight": _dequantized(tensors[key], scales, biases, bits)}
            else:
                parts.update(scales=scales, biases=biases)
                layers[name] = {"group_size": GROUP_SIZE, "bits": bits}
        else:
            parts[part] = parts[part].astype(mx.float32 if form == "float32" else mx.float16)
        count = {"q_proj": heads.query, "k_proj": heads.key_value}.get(name.rpartition(".")[2])
        for suffix, value in parts.items():
            weights[f"{name}.{suffix}"] = unpermute_rows(value, count) if count else value
        # One tensor at a time, so that dense copies of everything never exist as pending work.
        mx.eval(*[weights[f"{name}.{suffix}"] for suffix in parts])
    if not layers:
        return weights, {}
    return weights, {"group_size": GROUP_SIZE, "bits": min(v["bits"] for v in layers.values()), **layers}


def _dequantized(packed: mx.array, scales: mx.array, biases: mx.array, bits: int) -> mx.array:
    """Packed [rows, columns * bits / 32] with scales and biases [rows, columns / 32] → float32 [rows, columns]."""
    return mx.dequantize(
        packed,
        scales.astype(mx.float32),
        biases.astype(mx.float32),
        group_size=GROUP_SIZE,
        bits=bits,
    )


def main() -> None:
    """Command line: convert one file into one folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", type=Path, help="a .gguf file of the llama family")
    parser.add_argument("folder", type=Path, help="where to write; created")
    parser.add_argument("--weights", choices=WEIGHT_FORMS, default="float32")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    convert(options.source, options.folder, options.weights)


if __name__ == "__main__":
    main()
