"""Gemma 1 to 4 and 3n. Norms of 1 to 3 are stored as the difference to 1."""

from . import Q4, RULES, SMALL, Case, quantized

OFFSET_RULES = [("norm", 0.0, 0.25), ("embed", 0.0, 0.1), *RULES[2:]]

GEMMA2 = SMALL | {"num_hidden_layers": 4, "head_dim": 32, "query_pre_attn_scalar": 24.0}
CAPS = {"attn_logit_softcapping": 8.0, "final_logit_softcapping": 15.0}
GEMMA3 = SMALL | {
    "num_hidden_layers": 4,
    "head_dim": 32,
    "query_pre_attn_scalar": 24.0,
    "sliding_window": 8,
    "sliding_window_pattern": 3,
}
ROPES = {"rope_theta": 500000.0, "rope_local_base_freq": 5000.0, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}
ROPES_BY_TYPE = {
    "rope_parameters": {
        "full_attention": {"rope_type": "linear", "rope_theta": 500000.0, "factor": 2.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0},
    }
}

GEMMA4_RULES = [
    ("norm", 1.0, 0.25),
    ("layer_scalar", 0.9, 0.2),
    ("router.scale", 1.0, 0.25),
    ("per_expert_scale", 1.0, 0.25),
    *OFFSET_RULES[1:],
]
GEMMA4 = SMALL | {
    "num_hidden_layers": 6,
    "head_dim": 16,
    "global_head_dim": 32,
    "sliding_window": 8,
    "sliding_window_pattern": 3,
    "num_kv_shared_layers": 0,
    "hidden_size_per_layer_input": 0,
}
SHARED = {"num_kv_shared_layers": 2, "hidden_size_per_layer_input": 32, "vocab_size_per_layer_input": 160}
NARROW = {"use_double_wide_mlp": False, "final_logit_softcapping": None, "tie_word_embeddings": False}
KEYS_ARE_VALUES = {"attention_k_eq_v": True, "num_global_key_value_heads": 1}
EXPERTS = {"enable_moe_block": True, "num_experts": 8, "top_k_experts": 2, "moe_intermediate_size": 32}
LAYER_TYPES = {"layer_types": ["full_attention", "sliding_attention"] * 2 + ["sliding_attention", "full_attention"]}


def offset(seed: int = 1, **config: object) -> Case:
    """A model whose norms are stored as the difference to 1."""
    return Case(config, rules=OFFSET_RULES, seed=seed)


_gemma = offset(**SMALL | {"model_type": "gemma", "head_dim": 32})
_gemma2 = offset(**GEMMA2 | {"model_type": "gemma2"})
_by_type = offset(**GEMMA3 | ROPES | {"model_type": "gemma3_text"})
_by_type.stored = GEMMA3 | ROPES_BY_TYPE | {"model_type": "gemma3_text"}
_gemma3_text = offset(**GEMMA3 | {"model_type": "gemma3_text", "hidden_size": 96})


def gemma3(seed: int) -> Case:
    """A multimodal Gemma 3."""
    return offset(seed, model_type="gemma3", vocab_size=160, text_config=GEMMA3 | {"model_type": "gemma3_text"})


def gemma4_text(seed: int = 1, **config: object) -> Case:
    """A Gemma 4 of text only."""
    return Case(GEMMA4 | {"model_type": "gemma4_text"} | config, rules=GEMMA4_RULES, seed=seed)


def gemma4(model_type: str, seed: int = 1, **config: object) -> Case:
    """A multimodal Gemma 4."""
    text = GEMMA4 | {"model_type": "gemma4_text"} | config
    return Case({"model_type": model_type, "vocab_size": 160, "text_config": text}, rules=GEMMA4_RULES, seed=seed)


GEMMA3N = SMALL | {
    "model_type": "gemma3n_text",
    "vocab_size": 176,
    "num_hidden_layers": 6,
    "intermediate_size": [96] * 6,
    "head_dim": 16,
    "sliding_window": 8,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 2,
    "num_kv_shared_layers": 2,
    "hidden_size_per_layer_input": 32,
    "vocab_size_per_layer_input": 160,
    "rope_local_base_freq": 10000.0,
    "rope_theta": 1000000.0,
    "final_logit_softcapping": 30.0,
    "activation_sparsity_pattern": [0.95, 0.5, 0.0, 0.0, 0.0, 0.0],
    "altup_num_inputs": 4,
    "altup_coef_clip": 0.3,
    "altup_correct_scale": True,
    "altup_active_idx": 0,
    "laurel_rank": 32,
}


def gemma3n(seed: int = 1, **config: object) -> Case:
    """A Gemma 3n."""
    rules = [("correct_output_scale", 1.0, 0.25), *RULES]
    return Case({"model_type": "gemma3n", "text_config": GEMMA3N | config}, rules=rules, seed=seed)


_coefficients = {
    f"model.language_model.layers.{i}.altup.{name}_coefs": False
    for i in range(6)
    for name in ("prediction", "correction")
}

CASES = {
    "gemma": _gemma,
    "gemma-4bit": quantized(_gemma),
    "gemma2": _gemma2,
    "gemma2-no-gqa": offset(**GEMMA2 | {"model_type": "gemma2", "num_key_value_heads": 4, **CAPS}),
    "gemma2-4bit": quantized(_gemma2),
    "gemma3-text": _gemma3_text,
    "gemma3-text-rope-linear": offset(
        **GEMMA3 | {"model_type": "gemma3_text", "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    ),
    "gemma3-text-rope-parameters": _by_type,
    "gemma3-text-4bit": quantized(_gemma3_text),
    "gemma3": gemma3(seed=4),
    "gemma3-4bit": quantized(gemma3(seed=3)),
    "gemma4-text": gemma4_text(seed=5, **SHARED),
    "gemma4-text-narrow": gemma4_text(**SHARED, **NARROW),
    "gemma4-text-keys-are-values": gemma4_text(seed=2, **KEYS_ARE_VALUES, **LAYER_TYPES, global_head_dim=None),
    "gemma4-text-experts": gemma4_text(seed=3, **KEYS_ARE_VALUES, **EXPERTS),
    "gemma4-text-4bit": quantized(gemma4_text(**SHARED)),
    "gemma4-text-experts-4bit": quantized(gemma4_text(**KEYS_ARE_VALUES, **EXPERTS)),
    "gemma4": gemma4("gemma4", **SHARED),
    "gemma4-experts-4bit": quantized(gemma4("gemma4", seed=2, **EXPERTS)),
    "gemma4-unified": gemma4("gemma4_unified", **KEYS_ARE_VALUES),
    "gemma4-unified-4bit": quantized(gemma4("gemma4_unified", seed=2, **KEYS_ARE_VALUES)),
    "gemma3n": gemma3n(),
    "gemma3n-options": gemma3n(
        intermediate_size=96,
        activation_sparsity_pattern=None,
        altup_coef_clip=None,
        altup_correct_scale=False,
        altup_active_idx=1,
        altup_num_inputs=3,
        num_kv_shared_layers=0,
    ),
    "gemma3n-4bit": quantized(gemma3n(seed=2), **Q4, **_coefficients),
}
