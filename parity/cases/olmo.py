"""The first OLMo, whose code in mlx-lm 0.32.2 needs repair to run at all."""

import sys
from types import ModuleType
from typing import Any

import mlx.core as mx

from . import RULES, Case, quantized

# It asks for a package that it does not use.
sys.modules.setdefault("hf_olmo", ModuleType("hf_olmo"))

from mlx_lm.models import olmo  # noqa: E402


def _added_mask(h: mx.array, cache: Any) -> mx.array | None:
    """It adds the mask to the scores, and is given the word "causal"."""
    if h.shape[1] == 1:
        return None
    return mx.where(cache.make_mask(h.shape[1], return_array=True, window_size=None), 0.0, -mx.inf)


_call = olmo.Model.__call__


def _logits(self: olmo.Model, inputs: mx.array, cache: Any = None) -> mx.array:
    """It returns the cache too where the embedding is the head."""
    out = _call(self, inputs, cache)
    return out[0] if isinstance(out, tuple) else out


olmo.create_attention_mask = _added_mask
olmo.Model.__call__ = _logits

CONFIG = {
    "model_type": "olmo",
    "d_model": 64,
    "n_layers": 2,
    "mlp_hidden_size": 192,
    "n_heads": 4,
    "vocab_size": 150,
    "embedding_size": 160,
}
WTE = [("wte", 0.0, 0.25), *RULES]

CASES = {
    "olmo": Case(CONFIG, rules=WTE),
    "olmo-tied-traditional": Case(
        CONFIG
        | {
            "weight_tying": True,
            "rope_traditional": True,
            "rope_theta": 100000.0,
            "mlp_hidden_size": None,
            "mlp_ratio": 4,
        },
        rules=WTE,
    ),
}
CASES["olmo-4bit"] = quantized(CASES["olmo"])
