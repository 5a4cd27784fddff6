"""Writes tiny_models.json: what mlx-lm computes for tiny models with made-up weights.

Every weight is a function of its name and position (see `values`), which the Go test
computes again, so no weight file is committed. Run it with the environment of the baseline:

    .deps/baseline/venv/bin/python parity/make_tiny_goldens.py
"""

import json
import zlib
from importlib import import_module
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx import nn
from mlx.utils import tree_flatten
from mlx_lm.models.cache import make_prompt_cache

SEED = 1
STEPS = 24
PREFILL = 8  # tokens a chunk, so that prompts cross chunks

BASE = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": 160,
    "max_position_embeddings": 512,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
Q4 = {"group_size": 32, "bits": 4}
CASES = {
    "llama": {"model_type": "llama"},
    "llama-no-gqa-untied": {
        "model_type": "llama",
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
    },
    "llama-attention-bias": {"model_type": "llama", "attention_bias": True},
    "llama-mlp-bias": {"model_type": "llama", "mlp_bias": True},
    "llama-head-dim": {"model_type": "llama", "head_dim": 32},
    "llama-rope-traditional": {"model_type": "llama", "rope_traditional": True},
    "llama-rope-linear": {
        "model_type": "llama",
        "rope_scaling": {"type": "linear", "factor": 2.0},
    },
    "llama-rope-llama3": {
        "model_type": "llama",
        "rope_theta": 500000.0,
        "rope_scaling": LLAMA3_ROPE,
    },
    # mlx-lm does not read rope_parameters, so it is given the same in the older form.
    "llama-rope-parameters": {
        "model_type": "llama",
        "rope_theta": 500000.0,
        "rope_scaling": LLAMA3_ROPE,
    },
    "mistral": {
        "model_type": "mistral",
        "rope_theta": 1000000.0,
        "sliding_window": 4096,
        "tie_word_embeddings": False,
    },
    "llama-sliding-window": {
        "model_type": "llama",
        "num_hidden_layers": 3,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "sliding_window": 8,
    },
    "llama-4bit": {"model_type": "llama", "quantization": Q4},
    "llama-8bit-group64": {
        "model_type": "llama",
        "quantization": {"group_size": 64, "bits": 8},
        "intermediate_size": 128,
    },
    "llama-mixed-bits": {
        "model_type": "llama",
        "tie_word_embeddings": False,
        "quantization": Q4
        | {
            "model.embed_tokens": {"group_size": 32, "bits": 8},
            "model.layers.1.mlp.down_proj": {"group_size": 32, "bits": 6},
            "model.layers.0.self_attn.v_proj": False,
        },
    },
}
STORED = {
    "llama-rope-parameters": {"rope_parameters": LLAMA3_ROPE | {"rope_theta": 500000.0}}
}
PROMPTS = {"short": 3, "chunks": 21}


def uniform(key: int, count: int) -> np.ndarray:
    """SplitMix64 of key + i, as float32 in [-0.5, 0.5)."""
    with np.errstate(over="ignore"):
        x = np.arange(count, dtype=np.uint64) + np.uint64(key)
        x += np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (x >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24) - np.float32(
        0.5
    )


def values(name: str, shape: tuple[int, ...]) -> mx.array:
    """Norms are near 1. Embeddings are small, so that a tied head does not echo its input."""
    u = uniform((zlib.crc32(name.encode()) << 32) + SEED, int(np.prod(shape))).reshape(
        shape
    )
    if "norm" in name:
        return mx.array(u * np.float32(0.25) + np.float32(1))
    return mx.array(u * np.float32(0.25 if "embed" in name else 1))


def build(config: dict) -> nn.Module:
    family = import_module(
        "mlx_lm.models.llama"
        if config["model_type"] == "mistral"
        else f"mlx_lm.models.{config['model_type']}"
    )
    model = family.Model(family.ModelArgs.from_dict(config))
    model.load_weights(
        [(name, values(name, w.shape)) for name, w in tree_flatten(model.parameters())]
    )
    if q := config.get("quantization"):

        def layer(path: str, module: nn.Module):
            if not hasattr(module, "to_quantized"):
                return False
            return q.get(path, True)

        nn.quantize(model, q["group_size"], q["bits"], class_predicate=layer)
    mx.eval(model.parameters())
    return model


def run(model: nn.Module, prompt: list[int]) -> dict:
    cache = make_prompt_cache(model)
    left = prompt
    while len(left) > 1:
        n = min(PREFILL, len(left) - 1)
        model(mx.array([left[:n]]), cache=cache)
        mx.eval([c.state for c in cache])
        left = left[n:]
    tokens, margins, logprobs = [], [], []
    token = left[0]
    for _ in range(STEPS):
        logits = model(mx.array([[token]]), cache=cache)[0, -1].astype(mx.float32)
        top = mx.sort(logits)[-2:]
        token = int(mx.argmax(logits))
        tokens.append(token)
        margins.append(round(float(top[1] - top[0]), 7))
        logprobs.append(round(float(top[1] - mx.logsumexp(logits)), 7))
    return {
        "prompt": prompt,
        "tokens": tokens,
        "margins": margins,
        "logprobs": logprobs,
    }


def main() -> None:
    mx.set_default_device(mx.cpu)
    cases = {}
    for name, changes in CASES.items():
        config = BASE | changes
        model = build(config)
        runs = {}
        for label, length in PROMPTS.items():
            u = uniform((zlib.crc32(label.encode()) << 32) + SEED, length)
            prompt = [int(v) for v in ((u + 0.5) * config["vocab_size"]).astype(int)]
            runs[label] = run(model, prompt)
            print(
                f"{name:24} {label:8} {len(set(runs[label]['tokens'])):3} distinct tokens, smallest margin {min(runs[label]['margins']):.4f}"
            )
        if name in STORED:
            config = {
                k: v for k, v in config.items() if not k.startswith("rope_")
            } | STORED[name]
        cases[name] = {"config": config, "runs": runs}
    out = Path(__file__).with_name("tiny_models.json")
    out.write_text(
        json.dumps(
            {
                "mlx": mx.__version__,
                "seed": SEED,
                "prefill_tokens": PREFILL,
                "cases": cases,
            },
            separators=(",", ":"),
        ).replace('},"', '},\n"')
        + "\n"
    )


if __name__ == "__main__":
    main()
