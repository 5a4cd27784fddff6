"""Writes tiny/*.json: what mlx-lm computes for tiny models with made-up weights.

Every weight is a function of its name and position (see `values`), which the Go test computes
again, so no weight file is committed. Run it with the environment of the baseline:

    .deps/baseline/venv/bin/python parity/make_tiny_goldens.py [beginning of case names...]

Cases are in `cases/`. A dynamic rope cannot be compared beyond its trained length, see run.
"""

import json
import pkgutil
import sys
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx import nn
from mlx.utils import tree_flatten
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import MODEL_REMAPPING

import cases
from cases import Case

STEPS = 24
PREFILL = 8  # tokens a chunk, so that prompts cross chunks
PROMPTS = {"short": 3, "chunks": 21}

_gather_qmm = mx.gather_qmm


def _without_global_scale(*args: Any, global_scale: None = None, **kwargs: Any) -> mx.array:
    """mlx-lm 0.32.2 passes an argument that MLX 0.32.2 does not have."""
    assert global_scale is None
    return _gather_qmm(*args, **kwargs)


mx.gather_qmm = _without_global_scale


def uniform(key: int, count: int) -> np.ndarray:
    """SplitMix64 of key + i, as float32 in [-0.5, 0.5)."""
    with np.errstate(over="ignore"):
        x = np.arange(count, dtype=np.uint64) + np.uint64(key)
        x += np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (x >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24) - np.float32(0.5)


def values(case: Case, name: str, shape: tuple[int, ...]) -> mx.array:
    """The parameter of that name, by the first rule that fits."""
    u = uniform((zlib.crc32(name.encode()) << 32) + case.seed, int(np.prod(shape))).reshape(shape)
    _, center, width = next(rule for rule in case.rules if rule[0] in name)
    return mx.array(u * np.float32(width) + np.float32(center))


def build(case: Case) -> tuple[nn.Module, dict, dict]:
    """The model, the shapes of its parameters before quantisation, and the format of each quantised layer."""
    model_type = case.config["model_type"]
    family = import_module("mlx_lm.models." + MODEL_REMAPPING.get(model_type, model_type))
    model = family.Model(family.ModelArgs.from_dict(case.config))
    shapes = {name: w.shape for name, w in tree_flatten(model.parameters())}
    model.load_weights([(name, values(case, name, shape)) for name, shape in shapes.items()])
    formats: dict[str, dict] = {}
    if q := case.config.get("quantization"):
        own = getattr(model, "quant_predicate", None)

        def layer(path: str, module: nn.Module) -> bool | dict:
            if not hasattr(module, "to_quantized"):
                return False
            use = q.get(path, own(path, module) if own else True)
            if use:
                default = {"group_size": q["group_size"], "bits": q["bits"], "mode": q.get("mode", "affine")}
                formats[path] = {"mode": "affine"} | use if isinstance(use, dict) else default
            return use

        nn.quantize(model, q["group_size"], q["bits"], mode=q.get("mode", "affine"), class_predicate=layer)
    mx.eval(model.parameters())
    return model, shapes, formats


def run(model: nn.Module, prompt: list[int]) -> dict:
    """Greedy tokens with the margin between the two best logits and the log-probability at each step."""
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
    return {"prompt": prompt, "tokens": tokens, "margins": margins, "logprobs": logprobs}


def golden(name: str, case: Case) -> dict:
    model, shapes, formats = build(case)
    runs = {}
    for label, length in PROMPTS.items():
        u = uniform((zlib.crc32(label.encode()) << 32) + case.seed, length)
        vocab = case.config.get("vocab_size") or case.config["text_config"]["vocab_size"]
        prompt = [int(v) for v in ((u + 0.5) * vocab).astype(int)]
        runs[label] = run(model, prompt)
        distinct, margin = len(set(runs[label]["tokens"])), min(runs[label]["margins"])
        print(f"{name:32} {label:8} {distinct:3} distinct tokens, smallest margin {margin:.4f}")
    config = dict(case.config if case.stored is None else case.stored)
    if (quantization := case.config.get("quantization")) and "quantization" not in (case.stored or {}):
        # As mlx_lm.convert writes it: what differs from the default is named.
        default = {k: quantization.get(k, "affine") for k in ("group_size", "bits", "mode")}
        own = {path: f for path, f in formats.items() if f != default}
        config["quantization"] = quantization | own
    return {
        "mlx": mx.__version__,
        "seed": case.seed,
        "rules": case.rules,
        "prefill_tokens": PREFILL,
        "config": config,
        "parameters": shapes,
        "formats": formats,
        "runs": runs,
    }


def main() -> None:
    mx.set_default_device(mx.cpu)
    out = Path(__file__).with_name("tiny")
    for module in pkgutil.iter_modules(cases.__path__):
        for name, case in import_module(f"cases.{module.name}").CASES.items():
            if len(sys.argv) > 1 and not name.startswith(tuple(sys.argv[1:])):
                continue
            lines = json.dumps(golden(name, case), separators=(",", ":")).replace(',"', ',\n"', 5)
            (out / f"{name}.json").write_text(lines + "\n")


if __name__ == "__main__":
    main()
