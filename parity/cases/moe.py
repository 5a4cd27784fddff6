"""Families with a mixture of experts.

Prefill chunks have 8 tokens: with 8 experts a token, tokens are sorted by expert, with 2 they are not.
"""

from . import SMALL, Case, quantized
from .llama import LLAMA3_ROPE

YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "beta_fast": 32, "beta_slow": 1}


def qwen3_moe(**changes: object) -> Case:
    return Case(
        SMALL
        | {
            "model_type": "qwen3_moe",
            "head_dim": 16,
            "num_experts": 16,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 32,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
            "norm_topk_prob": True,
            "rope_theta": 1000000.0,
            "tie_word_embeddings": False,
        }
        | changes,
        seed=8,
    )


def mixtral(**changes: object) -> Case:
    return Case(SMALL | {"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2} | changes)


def gpt_oss(**changes: object) -> Case:
    return Case(
        SMALL
        | {
            "model_type": "gpt_oss",
            "head_dim": 16,
            "num_hidden_layers": 4,
            "num_local_experts": 8,
            "num_experts_per_tok": 2,
            "sliding_window": 8,
            "rope_theta": 150000.0,
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 32.0,
                "beta_fast": 32.0,
                "beta_slow": 1.0,
                "original_max_position_embeddings": 4096,
                "truncate": False,
            },
        }
        | changes,
        # Large enough that the activation's limit of 7 counts.
        rules=[("norm", 1.0, 0.25), ("embed", 0.0, 0.25), ("sinks", 0.0, 4.0), ("experts", 0.0, 1.5), ("", 0.0, 1.0)],
        seed=2,
    )


# A quantised embedding in these formats makes everything bfloat16.
DENSE_EMBEDDING = {"model.embed_tokens": False}

MXFP4 = {"group_size": 32, "bits": 4, "mode": "mxfp4"}

GPT_OSS_DENSE = ["model.embed_tokens", "lm_head"] + [
    f"model.layers.{i}.{name}"
    for i in range(4)
    for name in ("mlp.router", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
]


DEEPSEEK = SMALL | {
    "num_hidden_layers": 3,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 32,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "num_experts_per_tok": 3,
    "first_k_dense_replace": 1,
    "routed_scaling_factor": 1.5,
    "kv_lora_rank": 32,
    "q_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 32,
    "v_head_dim": 16,
    "rope_scaling": YARN | {"mscale": 1.0, "mscale_all_dim": 0.7},
}

# The bias that corrects the choice of experts is small beside the scores.
CORRECTED = [("norm", 1.0, 0.25), ("embed", 0.0, 0.25), ("correction", 0.0, 0.1), ("", 0.0, 1.0)]


def deepseek_v3(**changes: object) -> Case:
    config = DEEPSEEK | {"model_type": "deepseek_v3", "n_group": 4, "topk_group": 2}
    return Case(config | changes, rules=CORRECTED)


def deepseek_v2(**changes: object) -> Case:
    routing = {"topk_method": "group_limited_greedy", "n_group": 4, "topk_group": 2}
    return Case(DEEPSEEK | {"model_type": "deepseek_v2"} | routing | changes)


def qwen2_moe(**changes: object) -> Case:
    return Case(
        SMALL
        | {
            "model_type": "qwen2_moe",
            "num_experts": 8,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "shared_expert_intermediate_size": 64,
        }
        | changes
    )


def glm4_moe(**changes: object) -> Case:
    return Case(
        SMALL
        | {
            "model_type": "glm4_moe",
            "head_dim": 16,
            "moe_intermediate_size": 32,
            "n_routed_experts": 8,
            "n_shared_experts": 1,
            "num_experts_per_tok": 2,
            "first_k_dense_replace": 1,
            "routed_scaling_factor": 1.5,
            "norm_topk_prob": True,
            "n_group": 1,
            "topk_group": 1,
            "rope_theta": 1000000.0,
            "rope_scaling": None,
            "use_qk_norm": True,
            "attention_bias": True,
            "partial_rotary_factor": 0.5,
            "tie_word_embeddings": False,
        }
        | changes,
        rules=CORRECTED,
        seed=11,
    )


def olmoe(**changes: object) -> Case:
    return Case(SMALL | {"model_type": "olmoe", "num_experts": 8, "num_experts_per_tok": 2} | changes)


def granitemoe(**changes: object) -> Case:
    return Case(
        SMALL
        | {
            "model_type": "granitemoe",
            "intermediate_size": 128,
            "num_local_experts": 8,
            "num_experts_per_tok": 2,
            "attention_bias": False,
            "rope_theta": 10000.0,
            "attention_multiplier": 0.2,
            "embedding_multiplier": 4.0,
            "residual_multiplier": 0.5,
            "logits_scaling": 2.0,
        }
        | changes
    )


def phimoe(**changes: object) -> Case:
    return Case(
        SMALL | {"model_type": "phimoe", "num_local_experts": 8, "num_experts_per_tok": 2} | changes,
        rules=[("norm.bias", 0.0, 0.25), ("norm", 1.0, 0.25), ("embed", 0.0, 0.25), ("", 0.0, 1.0)],
    )


LONGROPE = {
    "type": "longrope",
    "short_factor": [1.0] * 8,
    "long_factor": [1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0],
    "short_mscale": 1.1,
    "long_mscale": 1.2,
}

def minimax(**changes: object) -> Case:
    return Case(
        SMALL
        | {
            "model_type": "minimax_m2",
            "head_dim": 16,
            "rotary_dim": 8,
            "num_local_experts": 8,
            "num_experts_per_tok": 2,
            "shared_intermediate_size": 0,
            "rope_theta": 5000000.0,
        }
        | changes,
        rules=CORRECTED,
    )


def dots1(**changes: object) -> Case:
    return Case(
        SMALL
        | {
            "model_type": "dots1",
            "head_dim": 16,
            "moe_intermediate_size": 32,
            "n_routed_experts": 8,
            "n_shared_experts": 2,
            "num_experts_per_tok": 3,
            "first_k_dense_replace": 1,
            "routed_scaling_factor": 2.5,
            "norm_topk_prob": True,
            "rope_theta": 10000000.0,
        }
        | changes,
        rules=CORRECTED,
        seed=2,
    )


def ernie4_5_moe(**changes: object) -> Case:
    return Case(
        SMALL
        | {
            "model_type": "ernie4_5_moe",
            "num_hidden_layers": 4,
            "rope_theta": 500000.0,
            "use_bias": False,
            "tie_word_embeddings": True,
            "moe_num_experts": 8,
            "moe_k": 3,
            "moe_intermediate_size": 32,
            "moe_num_shared_experts": 2,
            "moe_layer_start_index": 1,
        }
        | changes
    )


def llama4_text(**changes: object) -> Case:
    return Case(
        SMALL
        | {
            "model_type": "llama4_text",
            "head_dim": 16,
            "num_hidden_layers": 4,
            "intermediate_size_mlp": 128,
            "rope_theta": 10000.0,
            "tie_word_embeddings": False,
            "no_rope_layers": [1, 1, 0, 1],
            "use_qk_norm": True,
        }
        | changes,
        seed=2,
    )


def llama4(**changes: object) -> Case:
    text = SMALL | {
        "model_type": "llama4_text",
        "head_dim": 16,
        "num_hidden_layers": 4,
        "intermediate_size_mlp": 128,
        "attention_bias": False,
        "attention_chunk_size": 8,
        "interleave_moe_layer_step": 2,
        "num_local_experts": 4,
        "num_experts_per_tok": 1,
        "rope_theta": 500000.0,
        "rope_scaling": None,
        "use_qk_norm": True,
        # So that a sequence crosses some steps.
        "floor_scale": 10,
        "attn_scale": 0.5,
    }
    return Case({"model_type": "llama4", "text_config": text | changes})


CASES = {
    "qwen3-moe": qwen3_moe(),
    "qwen3-moe-4bit": quantized(qwen3_moe()),
    "qwen3-moe-dense-layers": qwen3_moe(
        num_hidden_layers=4,
        decoder_sparse_step=2,
        mlp_only_layers=[3],
        norm_topk_prob=False,
        num_experts_per_tok=2,
        tie_word_embeddings=True,
    ),
    "mixtral": mixtral(),
    "mixtral-4bit": quantized(mixtral()),
    "mixtral-mxfp8": quantized(mixtral(), group_size=32, bits=8, mode="mxfp8", **DENSE_EMBEDDING),
    "mixtral-nvfp4": quantized(mixtral(), group_size=16, bits=4, mode="nvfp4", **DENSE_EMBEDDING),
    "mixtral-tied": mixtral(tie_word_embeddings=True, rope_traditional=True),
    "gpt-oss": gpt_oss(),
    "gpt-oss-4bit": quantized(gpt_oss()),
    # Experts in MXFP4 and the rest dense, as OpenAI has published it; or in 8 bits.
    "gpt-oss-mxfp4": quantized(gpt_oss(), **MXFP4, **{path: False for path in GPT_OSS_DENSE}),
    "gpt-oss-mxfp4-8bit": quantized(
        gpt_oss(), **MXFP4, **{path: {"group_size": 32, "bits": 8} for path in GPT_OSS_DENSE}
    ),
    "gpt-oss-layer-types": gpt_oss(
        num_hidden_layers=3,
        layer_types=["full_attention", "sliding_attention", "full_attention"],
        rope_scaling=None,
    ),
    "deepseek-v3": deepseek_v3(),
    "deepseek-v3-4bit": quantized(deepseek_v3()),
    "deepseek-v3-one-group": deepseek_v3(
        n_group=1, topk_group=1, q_lora_rank=None, rope_scaling=None, norm_topk_prob=False, n_shared_experts=None
    ),
    "deepseek-v3-attention-bias": deepseek_v3(attention_bias=True, moe_layer_freq=2),
    "deepseek-v2": deepseek_v2(),
    "deepseek-v2-4bit": quantized(deepseek_v2()),
    "deepseek-v2-greedy": deepseek_v2(topk_method="greedy", q_lora_rank=None, attention_bias=True),
    "qwen2-moe": qwen2_moe(),
    "qwen2-moe-4bit": quantized(qwen2_moe()),
    "glm4-moe": glm4_moe(),
    "glm4-moe-4bit": quantized(glm4_moe()),
    "glm4-moe-groups": glm4_moe(n_group=4, topk_group=2, use_qk_norm=False, attention_bias=False, norm_topk_prob=False),
    "olmoe": olmoe(),
    "olmoe-4bit": quantized(olmoe()),
    "olmoe-options": olmoe(norm_topk_prob=True, attention_bias=True, mlp_bias=True, tie_word_embeddings=False),
    "granitemoe": granitemoe(),
    "granitemoe-4bit": quantized(granitemoe()),
    "granitemoe-untied-bias": granitemoe(tie_word_embeddings=False, attention_bias=True),
    "phimoe": phimoe(),
    "phimoe-4bit": quantized(phimoe()),
    "phimoe-longrope": phimoe(rope_scaling=LONGROPE, original_max_position_embeddings=64, max_position_embeddings=512),
    "kimi-k2": deepseek_v3(model_type="kimi_k2", n_group=1, topk_group=1, n_shared_experts=1),
    "kimi-k2-4bit": quantized(deepseek_v3(model_type="kimi_k2", n_group=1, topk_group=1, n_shared_experts=1)),
    "glm4-moe-lite": deepseek_v3(model_type="glm4_moe_lite", rope_scaling=None, rms_norm_eps=1e-3),
    "glm4-moe-lite-4bit": quantized(deepseek_v3(model_type="glm4_moe_lite", rope_scaling=None)),
    "qwen3-vl-moe": Case({"model_type": "qwen3_vl_moe", "text_config": qwen3_moe().config}, seed=8),
    "qwen3-vl-moe-4bit": quantized(Case({"model_type": "qwen3_vl_moe", "text_config": qwen3_moe().config}, seed=8)),
    "minimax-m2": minimax(),
    "minimax-m2-4bit": quantized(minimax()),
    "minimax-m2-no-qk-norm": minimax(use_qk_norm=False, tie_word_embeddings=True),
    "dots1": dots1(),
    "dots1-4bit": quantized(dots1()),
    "dots1-groups": dots1(n_group=4, topk_group=3, tie_word_embeddings=True, norm_topk_prob=False),
    "ernie4_5-moe": ernie4_5_moe(),
    "ernie4_5-moe-4bit": quantized(ernie4_5_moe()),
    "ernie4_5-moe-options": ernie4_5_moe(
        use_bias=True,
        tie_word_embeddings=False,
        moe_gate_act="sigmoid",
        moe_layer_start_index=[1, 2],
        moe_layer_end_index=[2, 2],
        moe_intermediate_size=0,
        moe_num_shared_experts=0,
    ),
    "llama4-text": llama4_text(),
    "llama4-text-4bit": quantized(llama4_text()),
    "llama4-text-tied": llama4_text(tie_word_embeddings=True, use_qk_norm=False, no_rope_layers=[1, 1, 1, 1]),
    "llama4": llama4(),
    "llama4-4bit": quantized(llama4()),
    # Blocks that chunks of a prompt do not end with.
    "llama4-chunk-5": llama4(
        attention_chunk_size=5,
        interleave_moe_layer_step=1,
        use_qk_norm=False,
        attention_bias=True,
        attn_temperature_tuning=0,
        rope_scaling=LLAMA3_ROPE,
    ),
    "llama4-chunk-20": llama4(attention_chunk_size=20, num_key_value_heads=4),
}
