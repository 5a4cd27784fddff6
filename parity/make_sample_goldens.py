"""Writes sample_goldens.json: what mlx-lm's logits processors and sampling filters make of made-up logits.

Run it with the environment of the baseline:

    .deps/baseline/venv/bin/python parity/make_sample_goldens.py

A processor case has the logits after bias and penalties, a filter case the ids that are left to draw from. Tokens tied
for the last place of top-k may differ, the number and the log-probabilities of those kept may not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_lm.sample_utils import apply_min_p, apply_top_k, apply_top_p, apply_xtc, make_logits_processors

SEED = 4
VOCAB = 48
DTYPES = {"float32": mx.float32, "bfloat16": mx.bfloat16}

CONTEXT = [3, 7, 7, 40, 3, 3, 11, 47, 0, 0, 25, 3, 7, 12, 30, 31, 32, 33, 34, 35, 36, 37, 38, 0, 5, 6]
"""Tokens with repetitions; the first ones are outside of mlx-lm's default context of 20."""

BIAS = {3: -100.0, 5: 2.5, 40: 1.0, 47: -0.3}

PROCESSORS: list[dict[str, Any]] = [
    {"logit_bias": BIAS},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.7, "context": 3},
    {"presence_penalty": 0.6},
    {"presence_penalty": -1.1, "context": 40},
    {"frequency_penalty": 0.35},
    {"frequency_penalty": -0.2, "context": 1},
    {"repetition_penalty": 1.1, "presence_penalty": 0.4, "frequency_penalty": 0.9, "logit_bias": BIAS, "context": 24},
]

FILTERS: list[dict[str, Any]] = [
    {},
    {"top_p": 0.1},
    {"top_p": 0.5},
    {"top_p": 0.9},
    {"top_p": 0.999},
    {"min_p": 0.02},
    {"min_p": 0.3},
    {"min_p": 1.0},
    {"top_k": 1},
    {"top_k": 5},
    {"top_k": 20},
    {"top_k": VOCAB - 1},
    {"xtc_threshold": 0.1},
    {"xtc_threshold": 0.03, "xtc_exempt": [2, 9]},
    {"xtc_threshold": 0.0},
    {"xtc_threshold": 0.5},
    {"top_p": 0.8, "top_k": 4},
    {"top_p": 0.5, "top_k": 30},
    {"top_p": 0.95, "min_p": 0.05, "top_k": 10},
    {"min_p": 0.05, "xtc_threshold": 0.1, "top_k": 3},
    {"top_p": 0.9, "xtc_threshold": 0.05, "xtc_exempt": [0, 1, 2, 3], "top_k": 6},
]


def make_logits() -> list[tuple[str, np.ndarray]]:
    """Rows of logits as they occur: peaked, flat, full of ties, masked and extreme."""
    rng = np.random.default_rng(SEED)
    plain = rng.normal(0, 2.5, VOCAB)
    ties = np.round(rng.normal(0, 1.5, VOCAB))
    masked = rng.normal(0, 2, VOCAB)
    masked[rng.permutation(VOCAB)[: VOCAB // 2]] = -np.inf
    return [
        ("plain", plain),
        ("peaked", plain * 4),
        ("flat", rng.normal(0, 0.05, VOCAB)),
        ("ties", ties),
        ("masked", masked),
        ("extreme", rng.normal(0, 1, VOCAB) * 10.0 ** rng.integers(-3, 5, VOCAB)),
    ]


def processed(logits: mx.array, case: dict[str, Any]) -> mx.array:
    """Logits, [1, vocab], after mlx-lm's processors, which change their argument."""
    logits = mx.array(logits)
    context = case.get("context", 20)
    processors = make_logits_processors(
        case.get("logit_bias"),
        case.get("repetition_penalty"),
        context,
        case.get("presence_penalty"),
        context,
        case.get("frequency_penalty"),
        context,
    )
    for processor in processors:
        logits = processor(mx.array(CONTEXT), logits)
    return logits


def filtered(logits: mx.array, case: dict[str, Any]) -> mx.array:
    """Log-probabilities, [1, vocab], after the filters of mlx-lm's sampler, in its order."""
    logprobs = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
    if "top_p" in case:
        logprobs = apply_top_p(logprobs, case["top_p"])
    if "min_p" in case:
        logprobs = apply_min_p(logprobs, case["min_p"])
    if "xtc_threshold" in case:
        logprobs = apply_xtc(logprobs, 1.0, case["xtc_threshold"], case.get("xtc_exempt", []))
    if "top_k" in case:
        logprobs = apply_top_k(logprobs, case["top_k"])
    return logprobs


def numbers(values: mx.array) -> list[float | None]:
    """Values as JSON has them, which knows no infinity: null is minus infinity."""
    return [None if v == -np.inf else v for v in values.astype(mx.float32).tolist()]


def kept(logprobs: mx.array) -> list[int]:
    """Ids of the tokens that are left."""
    return [i for i, v in enumerate(logprobs.astype(mx.float32).tolist()) if v > -np.inf]


def make_rows() -> list[dict[str, Any]]:
    """What mlx-lm makes of each row of logits in each dtype."""
    rows = []
    for dtype, mx_dtype in DTYPES.items():
        for name, values in make_logits():
            logits = mx.array(values.astype(np.float32)).astype(mx_dtype)[None]
            row = {"dtype": dtype, "name": name, "logits": numbers(logits[0])}
            row["processed"] = [numbers(processed(logits, case)[0]) for case in PROCESSORS]
            row["kept"] = [kept(filtered(logits, case)[0]) for case in FILTERS]
            rows.append(row)
    return rows


def main() -> None:
    """Write the file beside this one."""
    mx.set_default_device(mx.cpu)
    goldens = {
        "mlx": mx.__version__,
        "context": CONTEXT,
        "processors": PROCESSORS,
        "filters": FILTERS,
        "rows": make_rows(),
    }
    text = json.dumps(goldens, separators=(",", ":")).replace('{"dtype"', '\n{"dtype"')
    Path(__file__).with_name("sample_goldens.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
