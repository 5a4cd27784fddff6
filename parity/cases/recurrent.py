"""Families with layers that keep a state of fixed size."""

from . import SMALL, Case, quantized

RULES = [("norm", 1.0, 0.25), ("embed", 0.0, 0.25), ("A_log", 0.0, 2.0), ("conv", 0.0, 2.0), ("", 0.0, 1.0)]

DELTA_NET = {
    "num_hidden_layers": 4,
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 32,
    "linear_conv_kernel_dim": 4,
    "head_dim": 32,
    "full_attention_interval": 4,
    "tie_word_embeddings": False,
}

EXPERTS = {
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 64,
}


def qwen3_next(seed: int = 1, **changes: object) -> Case:
    return Case(
        SMALL
        | DELTA_NET
        | EXPERTS
        | {
            "model_type": "qwen3_next",
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
            "norm_topk_prob": True,
            "rope_theta": 10000000.0,
            "partial_rotary_factor": 0.25,
        }
        | changes,
        rules=RULES,
        seed=seed,
    )


def qwen3_5(model_type: str = "qwen3_5", **changes: object) -> Case:
    text = (
        SMALL
        | DELTA_NET
        | {
            "model_type": model_type + "_text",
            "layer_types": ["linear_attention"] * 3 + ["full_attention"],
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000000.0,
                "partial_rotary_factor": 0.25,
                "mrope_interleaved": True,
                "mrope_section": [2, 1, 1],
            },
        }
        | changes
    )
    return Case({"model_type": model_type, "text_config": text}, rules=RULES)


def qwen3_5_alone(seed: int = 1, **changes: object) -> Case:
    """A language model without other modalities: the configuration is not nested."""
    nested = qwen3_5(**changes).config["text_config"]
    return Case(nested | {"model_type": "qwen3_5"}, rules=RULES, seed=seed)


def lfm2(model_type: str = "lfm2", **changes: object) -> Case:
    return Case(
        SMALL
        | {
            "model_type": model_type,
            "num_hidden_layers": 4,
            "layer_types": ["conv", "conv", "full_attention", "conv"],
            "norm_eps": 1e-5,
            "conv_bias": False,
            "conv_L_cache": 3,
            "block_dim": 64,
            "block_ff_dim": 96,
            "block_multiple_of": 32,
            "block_ffn_dim_multiplier": 1.5,
            "block_auto_adjust_ff_dim": True,
            "rope_theta": 1000000.0,
        }
        | changes,
        rules=[("norm", 1.0, 0.25), ("embed", 0.0, 0.25), (".conv.conv", 0.0, 2.0), ("", 0.0, 1.0)],
    )


def lfm2_moe(**changes: object) -> Case:
    return lfm2(
        "lfm2_moe",
        **{
            "num_experts": 8,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "num_dense_layers": 1,
            "norm_topk_prob": True,
            "use_expert_bias": True,
            "routed_scaling_factor": 1.5,
        }
        | changes,
    )


MAMBA = {
    "model_type": "mamba2",
    "num_hidden_layers": 3,
    "hidden_size": 64,
    "vocab_size": 160,
    "intermediate_size": 128,
    "num_heads": 8,
    "head_dim": 16,
    "n_groups": 2,
    "state_size": 16,
    "conv_kernel": 4,
    "layer_norm_epsilon": 1e-5,
    "use_bias": False,
    "use_conv_bias": True,
    "tie_word_embeddings": True,
    "time_step_limit": [0.01, 1.0],
    "time_step_rank": "auto",
    "max_position_embeddings": 512,
}


def mamba2(**changes: object) -> Case:
    return Case(MAMBA | changes, rules=RULES)


def mamba2_without_limit() -> Case:
    case = mamba2(use_bias=True, use_conv_bias=False, tie_word_embeddings=False, n_groups=1, time_step_limit=[0.0, float("inf")])
    case.stored = case.config | {"time_step_limit": [0.0, {"__float__": "Infinity"}]}
    return case


def granite_hybrid(**changes: object) -> Case:
    return Case(
        SMALL
        | {
            "model_type": "granitemoehybrid",
            "num_hidden_layers": 4,
            "layer_types": ["mamba", "mamba", "attention", "mamba"],
            "attention_bias": False,
            "embedding_multiplier": 12.0,
            "attention_multiplier": 0.125,
            "logits_scaling": 0.5,
            "residual_multiplier": 0.3,
            "mamba_n_heads": 8,
            "mamba_d_head": 16,
            "mamba_n_groups": 1,
            "mamba_d_state": 16,
            "mamba_d_conv": 4,
            "mamba_conv_bias": True,
            "mamba_proj_bias": False,
            "num_local_experts": 8,
            "num_experts_per_tok": 2,
            "shared_intermediate_size": 64,
            "intermediate_size": 32,
            "position_embedding_type": "nope",
        }
        | changes,
        rules=RULES,
    )


def nemotron_h(seed: int = 1, **changes: object) -> Case:
    return Case(
        SMALL
        | {
            "model_type": "nemotron_h",
            "hybrid_override_pattern": "ME*-M",
            "attention_bias": False,
            "mamba_num_heads": 8,
            "mamba_head_dim": 16,
            "mamba_proj_bias": False,
            "ssm_state_size": 16,
            "conv_kernel": 4,
            "n_groups": 2,
            "mlp_bias": False,
            "layer_norm_epsilon": 1e-5,
            "use_bias": False,
            "use_conv_bias": True,
            "time_step_limit": [0.001, 10.0],
            "n_routed_experts": 8,
            "n_shared_experts": 1,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "moe_shared_expert_intermediate_size": 64,
            "n_group": 1,
            "topk_group": 1,
            "norm_topk_prob": True,
            "routed_scaling_factor": 2.5,
        }
        | changes,
        rules=[("bias", 0.0, 0.2), ("fc", 0.0, 0.5), *RULES],
        seed=seed,
    )


def falcon_h1(**changes: object) -> Case:
    return Case(
        SMALL
        | {
            "model_type": "falcon_h1",
            "head_dim": 16,
            "mamba_d_ssm": 128,
            "mamba_n_heads": 8,
            "mamba_d_head": 16,
            "mamba_n_groups": 2,
            "mamba_d_state": 16,
            "mamba_d_conv": 4,
            "rope_theta": 100000000.0,
            "embedding_multiplier": 2.0,
            "lm_head_multiplier": 3.0,
        }
        | changes,
        rules=RULES,
    )


CASES = {
    "qwen3-next": qwen3_next(seed=2),
    "qwen3-next-4bit": quantized(qwen3_next()),
    "qwen3-next-dense-layers": qwen3_next(
        num_hidden_layers=6,
        full_attention_interval=2,
        decoder_sparse_step=2,
        mlp_only_layers=[3],
        norm_topk_prob=False,
        attention_bias=True,
        tie_word_embeddings=True,
        linear_num_key_heads=4,
    ),
    "qwen3-5": qwen3_5(),
    "qwen3-5-4bit": quantized(qwen3_5()),
    "qwen3-5-text-alone": qwen3_5_alone(seed=2, tie_word_embeddings=True, full_attention_interval=2, layer_types=None),
    "qwen3-5-moe": qwen3_5("qwen3_5_moe", **EXPERTS),
    "qwen3-5-moe-4bit": quantized(qwen3_5("qwen3_5_moe", **EXPERTS)),
    "lfm2": lfm2(),
    "lfm2-4bit": quantized(lfm2()),
    "lfm2-bias-indices": lfm2(
        conv_bias=True,
        block_auto_adjust_ff_dim=False,
        layer_types=None,
        full_attn_idxs=[1, 3],
        rope_parameters={"rope_theta": 5000.0, "rope_type": "default"},
    ),
    "lfm2-moe": lfm2_moe(),
    "lfm2-moe-4bit": quantized(lfm2_moe()),
    "lfm2-moe-plain": lfm2_moe(norm_topk_prob=False, use_expert_bias=False, num_dense_layers=2, conv_bias=True),
    "mamba2": mamba2(),
    "mamba2-4bit": quantized(mamba2()),
    "mamba2-no-limit": mamba2_without_limit(),
    "granitemoehybrid": granite_hybrid(),
    "granitemoehybrid-4bit": quantized(granite_hybrid()),
    "granitemoehybrid-dense-rope": granite_hybrid(
        num_local_experts=None, intermediate_size=96, position_embedding_type="rope", tie_word_embeddings=False, mamba_n_groups=2
    ),
    "nemotron-h": nemotron_h(),
    "nemotron-h-4bit": quantized(nemotron_h()),
    "nemotron-h-latent-bias": nemotron_h(
        seed=2,
        hybrid_override_pattern=None,
        layers_block_type=["moe", "mamba", "mlp", "attention", "mamba"],
        moe_latent_size=32,
        n_group=4,
        topk_group=2,
        attention_bias=True,
        mlp_bias=True,
        mamba_proj_bias=True,
        use_conv_bias=False,
        n_shared_experts=None,
        head_dim=32,
        norm_topk_prob=False,
    ),
    "falcon-h1": falcon_h1(),
    "falcon-h1-4bit": quantized(falcon_h1()),
    "falcon-h1-norm-untied": falcon_h1(mamba_rms_norm=True, tie_word_embeddings=False, mamba_proj_bias=True, mamba_conv_bias=False),
    "falcon-h1-norm-first": falcon_h1(mamba_rms_norm=True, mamba_norm_before_gate=True, projectors_bias=True, attention_bias=True),
}
