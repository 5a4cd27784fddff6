"""Families that are llama but for details."""

from typing import Any

from . import RULES, SMALL, Case, quantized
from .llama import LLAMA3_ROPE

LONGROPE = {
    "type": "longrope",
    "short_factor": [1.0] * 8,
    "long_factor": [1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0],
}

SHARP = [("q_norm", 4.0, 1.0), (".bias", 0.0, 0.1), *RULES]
"""Attention picks tokens, without which models that normalise what blocks add say one token only."""

LAYER_NORMS = [(".bias", 0.0, 0.25), *RULES]

GPT_NAMES = [("ln_", 1.0, 0.25), ("wte", 0.0, 0.25), *RULES]

OFFSET_NORMS = [(".bias", 0.0, 0.25), ("norm", 0.0, 0.25), *RULES]


def tiny(model_type: str, **changes: Any) -> Case:
    return Case(SMALL | {"model_type": model_type} | changes)


def post_norm(model_type: str, **changes: Any) -> Case:
    return Case(SMALL | {"model_type": model_type} | changes, rules=SHARP)


def layer_norm(model_type: str, rules: list = LAYER_NORMS, **changes: Any) -> Case:
    config = SMALL | {"model_type": model_type} | changes
    return Case({k: v for k, v in config.items() if k != "rms_norm_eps"}, rules=rules)


def exaone(**changes: Any) -> Case:
    own = {"model_type": "exaone", "num_layers": 2, "layer_norm_epsilon": 1e-5, "rope_theta": 500000.0}
    shared = {k: v for k, v in SMALL.items() if k not in ("rms_norm_eps", "num_hidden_layers")}
    return Case(shared | own | changes, rules=GPT_NAMES)


def with_4bit(cases: dict[str, Case], *names: str) -> dict[str, Case]:
    return cases | {f"{name}-4bit": quantized(cases[name]) for name in names}


# mlx-lm asks for rope_theta of Qwen 3 in either place; the worker is given the newer one.
_qwen3_parameters = tiny(
    "qwen3", head_dim=16, rope_theta=1000000.0, tie_word_embeddings=True, rope_scaling=LLAMA3_ROPE
)
_qwen3_parameters.stored = {
    k: v for k, v in _qwen3_parameters.config.items() if k not in ("rope_theta", "rope_scaling")
} | {"rope_parameters": LLAMA3_ROPE | {"rope_theta": 1000000.0}}

CASES = with_4bit(
    {
        "qwen2": tiny("qwen2"),
        "qwen2-untied": tiny("qwen2", rope_theta=10000.0, tie_word_embeddings=False),
        "qwen2-yarn": tiny(
            "qwen2", rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
        ),
        "qwen3": tiny("qwen3", head_dim=32, rope_theta=1000000.0, tie_word_embeddings=True),
        "qwen3-untied": tiny("qwen3", head_dim=16, rope_theta=1000000.0, tie_word_embeddings=False),
        "qwen3-parameters": _qwen3_parameters,
        "phi3": tiny("phi3"),
        "phi3-partial-tied": tiny("phi3", partial_rotary_factor=0.75, tie_word_embeddings=True),
        "phi3-longrope": tiny("phi3", rope_scaling=LONGROPE, original_max_position_embeddings=64),
        "phi3-longrope-partial": tiny(
            "phi3",
            rope_scaling={"type": "su", "short_factor": [1.0] * 6, "long_factor": [1.0, 1.1, 1.5, 2.0, 4.0, 6.0]},
            partial_rotary_factor=0.75,
            original_max_position_embeddings=128,
        ),
        "phi3-linear": tiny("phi3", rope_scaling={"type": "linear", "factor": 2.0, "long_factor": [1.0]}),
        "smollm3": tiny("smollm3", num_hidden_layers=4),
        "smollm3-layers": tiny(
            "smollm3",
            no_rope_layers=[0, 1, 1],
            num_hidden_layers=3,
            tie_word_embeddings=False,
            layer_types=["full_attention", "sliding_attention", "sliding_attention"],
            sliding_window=8,
        ),
        "olmo2": post_norm("olmo2"),
        "olmo2-untied-bias": post_norm("olmo2", tie_word_embeddings=False, attention_bias=True, mlp_bias=True),
        "olmo3": post_norm("olmo3", num_hidden_layers=4, sliding_window=8, rope_theta=500000.0),
        "olmo3-layers": post_norm(
            "olmo3",
            num_hidden_layers=3,
            layer_types=["full_attention", "sliding_attention", "full_attention"],
            sliding_window=8,
            rope_theta=10000.0,
            rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
            tie_word_embeddings=True,
        ),
        "exaone4": post_norm(
            "exaone4",
            num_hidden_layers=4,
            head_dim=16,
            rope_theta=1000000.0,
            tie_word_embeddings=False,
            rope_scaling=LLAMA3_ROPE,
            sliding_window=8,
            sliding_window_pattern="LLLG",
        ),
        "exaone4-full": post_norm(
            "exaone4",
            head_dim=16,
            rope_theta=1000000.0,
            tie_word_embeddings=True,
            rope_scaling=LLAMA3_ROPE,
            sliding_window=None,
            sliding_window_pattern=None,
        ),
        "seed_oss": tiny("seed_oss", head_dim=32, attention_bias=True, tie_word_embeddings=False),
        "seed_oss-biases": tiny("seed_oss", head_dim=16, attention_out_bias=True, mlp_bias=True),
        "ernie4_5": tiny("ernie4_5", head_dim=None, rope_theta=500000.0, use_bias=False, tie_word_embeddings=True),
        "ernie4_5-bias": tiny("ernie4_5", head_dim=32, rope_theta=500000.0, use_bias=True, tie_word_embeddings=False),
        "hunyuan_v1_dense": tiny(
            "hunyuan_v1_dense",
            head_dim=32,
            tie_word_embeddings=True,
            rope_scaling={"type": "dynamic", "alpha": 1000.0, "factor": 1.0},
        ),
        "hunyuan_v1_dense-plain": tiny("hunyuan_v1_dense", use_qk_norm=False, attention_bias=True),
        "starcoder2": layer_norm("starcoder2", norm_epsilon=1e-5),
        "starcoder2-untied": layer_norm("starcoder2", rope_theta=10000.0, tie_word_embeddings=False),
        "stablelm": layer_norm(
            "stablelm", layer_norm_eps=1e-5, rope_theta=10000.0, use_qkv_bias=True, partial_rotary_factor=0.25
        ),
        "stablelm-parallel": layer_norm(
            "stablelm",
            layer_norm_eps=1e-5,
            rope_theta=10000.0,
            use_qkv_bias=False,
            partial_rotary_factor=0.5,
            use_parallel_residual=True,
            qk_layernorm=True,
        ),
        "internlm2": tiny("internlm2"),
        "internlm2-linear-tied": tiny(
            "internlm2", bias=False, rope_scaling={"type": "linear", "factor": 2.0}, tie_word_embeddings=True
        ),
        "internlm3": tiny("internlm3", qkv_bias=True, bias=True),
        "internlm3-dynamic": tiny("internlm3", rope_scaling={"rope_type": "dynamic", "factor": 6.0}),
        "phi": layer_norm("phi", layer_norm_eps=1e-5, partial_rotary_factor=0.5),
        "exaone": exaone(rope_scaling=LLAMA3_ROPE),
        "exaone-untied-bias": exaone(tie_word_embeddings=False, attention_bias=True, mlp_bias=True),
        "nemotron": layer_norm("nemotron", OFFSET_NORMS, norm_eps=1e-5, hidden_act="relu2"),
        "nemotron-linear-bias": layer_norm(
            "nemotron",
            OFFSET_NORMS,
            norm_eps=1e-5,
            hidden_act="relu2",
            head_dim=32,
            attention_bias=True,
            mlp_bias=True,
            partial_rotary_factor=0.75,
            rope_scaling={"type": "linear", "factor": 2.0},
            tie_word_embeddings=True,
        ),
        "minicpm": tiny("minicpm", dim_model_base=16, scale_depth=1.4, scale_emb=12.0),
        "helium": tiny(
            "helium", head_dim=16, rope_theta=100000.0, attention_bias=True, mlp_bias=True, tie_word_embeddings=True
        ),
        "helium-untied": tiny(
            "helium", head_dim=16, rope_theta=100000.0, attention_bias=False, mlp_bias=False, tie_word_embeddings=False
        ),
        "mimo": tiny("mimo", rope_theta=640000.0),
    },
    "qwen2",
    "qwen3",
    "phi3",
    "smollm3",
    "olmo2",
    "olmo3",
    "exaone4",
    "seed_oss",
    "ernie4_5",
    "hunyuan_v1_dense",
    "starcoder2",
    "stablelm",
    "internlm2",
    "internlm3",
    "phi",
    "exaone",
    "nemotron",
    "minicpm",
    "helium",
    "mimo",
)

SEEDS = {
    "qwen2": 2,
    "qwen2-yarn": 2,
    "qwen3": 5,
    "qwen3-untied": 2,
    "qwen3-parameters": 2,
    "exaone4-full": 2,
    "ernie4_5-bias": 2,
    "hunyuan_v1_dense": 2,
    "starcoder2": 9,
    "stablelm-parallel": 2,
    "phi": 2,
    "nemotron-linear-bias": 6,
    "helium": 2,
    "qwen3-4bit": 4,
    "starcoder2-4bit": 9,
    "phi-4bit": 2,
}
"""Where the first seed repeats a few tokens only."""

for _name, _seed in SEEDS.items():
    CASES[_name].seed = _seed
