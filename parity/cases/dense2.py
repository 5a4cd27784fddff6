"""Ministral, Granite, GLM 4, Command R, and language models of multimodal families."""

from . import RULES, SMALL, Case, quantized

MINISTRAL = SMALL | {
    "model_type": "ministral3",
    "head_dim": 32,
    "tie_word_embeddings": False,
    "rope_parameters": {
        "rope_type": "yarn",
        "rope_theta": 1000000.0,
        "factor": 4.0,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "llama_4_scaling_beta": 0.5,
        "original_max_position_embeddings": 8,
    },
}
SLIDING = {
    "num_hidden_layers": 3,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "sliding_window": 8,
}

GRANITE = SMALL | {
    "model_type": "granite",
    "intermediate_size": 128,
    "attention_multiplier": 0.2,
    "embedding_multiplier": 12.0,
    "residual_multiplier": 0.7,
    "logits_scaling": 3.0,
    "rope_theta": 10000.0,
    "attention_bias": False,
    "mlp_bias": False,
}

GLM = SMALL | {"model_type": "glm", "head_dim": 32, "attention_bias": True}
GLM4 = GLM | {
    "model_type": "glm4",
    "num_hidden_layers": 3,
    "partial_rotary_factor": 0.5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}

COHERE = SMALL | {"model_type": "cohere", "layer_norm_eps": 1e-5, "logit_scale": 0.5}
COHERE2 = COHERE | {
    "model_type": "cohere2",
    "num_hidden_layers": 4,
    "head_dim": 16,
    "sliding_window": 8,
    "sliding_window_pattern": 3,
}


NORM_BIAS_RULES = [("norm.bias", 0.0, 0.25), *RULES]


def case(config: dict, seed: int = 1, **changes: object) -> Case:
    """The configuration, with changes."""
    return Case(config | changes, rules=NORM_BIAS_RULES, seed=seed)


def mistral3(text: dict, seed: int = 1) -> Case:
    """A multimodal model around a language model."""
    return Case({"model_type": "mistral3", "text_config": text}, seed=seed)


def with_text(whole: str, seed: int = 1, **text: object) -> Case:
    """A multimodal model whose text_config has these keys beside the usual ones."""
    return Case({"model_type": whole, "text_config": SMALL | text}, seed=seed)


MROPE = {"type": "mrope", "mrope_section": [4, 2, 2]}
QWEN3 = {"model_type": "qwen3_vl_text", "head_dim": 32, "rope_theta": 5000000.0}

_pixtral = with_text("pixtral", model_type="mistral", head_dim=32)
_qwen2_vl = Case(SMALL | {"model_type": "qwen2_vl", "rope_scaling": MROPE, "tie_word_embeddings": False})
_qwen2_5_vl = with_text("qwen2_5_vl", model_type="qwen2_5_vl_text", rope_scaling=MROPE)

CASES = {
    "ministral3": case(MINISTRAL),
    "ministral3-sliding-window": case(MINISTRAL | SLIDING, tie_word_embeddings=True),
    "ministral3-4bit": quantized(case(MINISTRAL)),
    "mistral3": mistral3(SMALL | {"model_type": "mistral", "rope_theta": 1000000.0, "head_dim": 32}),
    "mistral3-ministral3-4bit": quantized(mistral3(MINISTRAL)),
    "granite": case(GRANITE, seed=2),
    "granite-untied-bias": case(GRANITE, tie_word_embeddings=False, attention_bias=True, mlp_bias=True),
    "granite-4bit": quantized(case(GRANITE, seed=8)),
    "glm4": case(GLM4),
    "glm4-4bit": quantized(case(GLM4, attention_bias=False)),
    "glm": case(GLM),
    "glm-4bit": quantized(case(GLM, attention_bias=False, tie_word_embeddings=False)),
    "cohere": case(COHERE),
    "cohere-options": case(COHERE, seed=8, use_qk_norm=True, attention_bias=True, layer_norm_bias=True),
    "cohere-4bit": quantized(case(COHERE, seed=3, use_qk_norm=True)),
    "cohere2": case(COHERE2),
    "cohere2-4bit": quantized(case(COHERE2, seed=2, attention_bias=True)),
    "pixtral": _pixtral,
    "pixtral-4bit": quantized(_pixtral),
    "qwen2-vl": _qwen2_vl,
    "qwen2-vl-4bit": quantized(_qwen2_vl),
    "qwen2-5-vl": _qwen2_5_vl,
    "qwen2-5-vl-4bit": quantized(_qwen2_5_vl),
    "qwen3-vl": with_text("qwen3_vl", seed=8, **QWEN3, tie_word_embeddings=True),
    "qwen3-vl-4bit": quantized(with_text("qwen3_vl", **QWEN3, tie_word_embeddings=False)),
}
