"""Weight formats, on a small llama whose matrices every group size divides."""

from typing import Any

from . import Q4, SMALL, Case

_SHAPE = SMALL | {
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 128,
    "tie_word_embeddings": False,
}


def _llama(**quantization: Any) -> Case:
    return Case(_SHAPE | {"quantization": quantization})


# The configuration says one format and the shapes another, as in checkpoints that were quantised in parts.
_inferred = _llama(
    **Q4,
    **{
        "model.embed_tokens": {"group_size": 64, "bits": 6},
        "model.layers.0.self_attn.o_proj": {"group_size": 128, "bits": 8},
        "model.layers.1.mlp.down_proj": {"group_size": 32, "bits": 3},
        "model.layers.1.mlp.gate_proj": {"group_size": 32, "bits": 8, "mode": "mxfp8"},
        "model.layers.1.self_attn.q_proj": False,
    },
)
_inferred.stored = _SHAPE | {"quantization": Q4}
_inferred.seed = 2

CASES = {
    **{
        f"quant-affine-{bits}bit-group{group}": _llama(group_size=group, bits=bits)
        for bits in (2, 3, 4, 5, 6, 8)
        for group in (32, 64, 128)
    },
    "quant-mxfp4": _llama(group_size=32, bits=4, mode="mxfp4"),
    "quant-mxfp8": _llama(group_size=32, bits=8, mode="mxfp8"),
    "quant-nvfp4": _llama(group_size=16, bits=4, mode="nvfp4"),
    "quant-mixed-modes": _llama(
        group_size=32,
        bits=4,
        mode="mxfp4",
        **{
            "lm_head": {"group_size": 64, "bits": 8, "mode": "affine"},
            "model.layers.0.mlp.down_proj": {"group_size": 16, "bits": 4, "mode": "nvfp4"},
        },
    ),
    "quant-inferred": _inferred,
}
