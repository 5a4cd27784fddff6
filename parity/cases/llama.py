"""Llama and what shares its code."""

from . import Q4, SMALL, Case

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def llama(**changes: object) -> Case:
    return Case(SMALL | {"model_type": "llama"} | changes)


def with_rope(**scaling: object) -> Case:
    return llama(rope_scaling=scaling)


# mlx-lm does not read rope_parameters, so it is given the same in the older form.
_parameters = llama(rope_theta=500000.0, rope_scaling=LLAMA3_ROPE)
_parameters.stored = SMALL | {
    "model_type": "llama",
    "rope_parameters": LLAMA3_ROPE | {"rope_theta": 500000.0},
}

CASES = {
    "llama": llama(),
    "llama-no-gqa-untied": llama(num_key_value_heads=4, tie_word_embeddings=False),
    "llama-attention-bias": llama(attention_bias=True),
    "llama-mlp-bias": llama(mlp_bias=True),
    "llama-head-dim": llama(head_dim=32),
    "llama-rope-traditional": llama(rope_traditional=True),
    "llama-rope-linear": with_rope(type="linear", factor=2.0),
    "llama-rope-llama3": llama(rope_theta=500000.0, rope_scaling=LLAMA3_ROPE),
    "llama-rope-parameters": _parameters,
    "llama-rope-yarn": with_rope(rope_type="yarn", factor=4.0, original_max_position_embeddings=16),
    "llama-rope-yarn-mscale": with_rope(
        rope_type="yarn", factor=4.0, original_max_position_embeddings=32, mscale=0.7, mscale_all_dim=0.5, beta_fast=8, beta_slow=2
    ),
    "llama-rope-longrope": with_rope(
        rope_type="longrope",
        original_max_position_embeddings=64,
        short_factor=[1.0] * 8,
        long_factor=[1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0],
    ),
    "llama-rope-dynamic": Case(
        SMALL | {"model_type": "llama", "max_position_embeddings": 16, "rope_scaling": {"type": "dynamic", "factor": 2.0}}
    ),
    "mistral": Case(
        SMALL
        | {"model_type": "mistral", "rope_theta": 1000000.0, "sliding_window": 4096, "tie_word_embeddings": False}
    ),
    "llama-sliding-window": llama(
        num_hidden_layers=3,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        sliding_window=8,
    ),
    "llama-4bit": llama(quantization=Q4),
    "llama-8bit-group64": llama(quantization={"group_size": 64, "bits": 8}, intermediate_size=128),
    "llama-mixed-bits": llama(
        tie_word_embeddings=False,
        quantization=Q4
        | {
            "model.embed_tokens": {"group_size": 32, "bits": 8},
            "model.layers.1.mlp.down_proj": {"group_size": 32, "bits": 6},
            "model.layers.0.self_attn.v_proj": False,
        },
    ),
}
