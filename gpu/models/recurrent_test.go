package models_test

import (
	"encoding/json"
	"strings"
	"testing"

	"mlx-worker/gpu/models"
)

// TestPublishedFalconH1IsRefused: its multipliers are not in its weights.
func TestPublishedFalconH1IsRefused(t *testing.T) {
	c := tiny(t, "falcon-h1", nil, map[string][]int{"model.layers.0.mamba.conv1d.weight": {192, 1, 4}})
	if _, err := models.Check(c); err == nil || !strings.Contains(err.Error(), "mlx_lm.convert") {
		t.Error(err)
	}
}

// TestRecurrentConfigurationsAsPythonWritesThem are read though they are not JSON, or say nothing.
func TestRecurrentConfigurationsAsPythonWritesThem(t *testing.T) {
	for _, test := range []struct {
		name string
		keys map[string]any
	}{
		{"mamba2", map[string]any{"time_step_limit": json.RawMessage("null")}},
		{"mamba2", map[string]any{"time_step_limit": []any{0, map[string]string{"__float__": "Infinity"}}}},
		{"nemotron-h", map[string]any{"hybrid_override_pattern": []string{"M", "E", "*", "-", "M"}}},
		{"qwen3-5-text-alone", map[string]any{"tie_word_embeddings": nil}},
		{"qwen3-next", map[string]any{"tie_word_embeddings": nil}},
	} {
		if _, err := models.Check(tiny(t, test.name, test.keys, nil)); err != nil {
			t.Errorf("%s with %v: %v", test.name, test.keys, err)
		}
	}
}

// TestRecurrentModelsThatCannotBeRun are refused by the key that says why.
func TestRecurrentModelsThatCannotBeRun(t *testing.T) {
	for _, test := range []struct {
		name string
		key  string
		to   any
		says string
	}{
		{"qwen3-next", "linear_num_key_heads", 3, "linear_num_value_heads is 4, and must be a multiple of linear_num_key_heads, 3"},
		{"qwen3-next", "linear_conv_kernel_dim", 1, "linear_conv_kernel_dim is 1, and must be at least 2"},
		{"qwen3-next", "full_attention_interval", -1, "full_attention_interval is -1"},
		{"qwen3-next", "attn_output_gate", false, "attn_output_gate is false; accepted: true"},
		{"qwen3-next", "layer_types", []string{"linear_attention"}, "layer_types has 1 entries for 4 layers"},
		{"qwen3-next", "num_experts_per_tok", 9, "num_experts_per_tok is 9"},
		{"qwen3-next", "shared_expert_intermediate_size", 0, "shared_expert_intermediate_size 0"},
		{"qwen3-next", "partial_rotary_factor", 1.5, "partial_rotary_factor is 1.5"},
		{"qwen3-5-text-alone", "layer_types", []string{"full_attention", "linear_attention", "linear_attention", "full_attention"}, `layer_types has "full_attention" at 0; accepted: "linear_attention"`},
		{"lfm2", "conv_L_cache", 1, "conv_L_cache is 1, and must be at least 2"},
		{"lfm2", "block_dim", 32, "block_dim is 32; accepted: hidden_size, 64"},
		{"lfm2", "block_multiple_of", 0, "block_multiple_of is 0"},
		{"lfm2", "layer_types", []string{"conv", "conv", "mamba", "conv"}, `layer_types has "mamba"; accepted: conv, full_attention`},
		{"lfm2-moe", "num_experts_per_tok", 0, "num_experts_per_tok is 0"},
		{"mamba2", "n_groups", 3, "num_heads is 8, and must be a multiple of n_groups, 3"},
		{"mamba2", "conv_kernel", 1, "conv_kernel is 1, and must be at least 2"},
		{"mamba2", "time_step_limit", []any{0, "much"}, `time_step_limit has "much"`},
		{"nemotron-h", "hybrid_override_pattern", "MX*-M", "hybrid_override_pattern has 'X'; accepted: M, *, - and E"},
		{"nemotron-h", "hybrid_override_pattern", nil, "neither hybrid_override_pattern nor layers_block_type"},
		{"nemotron-h-latent-bias", "topk_group", 5, "topk_group is 5 of n_group 4"},
		{"nemotron-h-latent-bias", "layers_block_type", []string{"rwkv"}, `layers_block_type has "rwkv"`},
		{"falcon-h1", "mamba_d_ssm", 64, "mamba_d_ssm is 64; accepted: mamba_n_heads times mamba_d_head, 128"},
		{"granitemoehybrid", "position_embedding_type", "learned", `position_embedding_type is "learned"; accepted: rope, nope`},
		{"granitemoehybrid", "layer_types", []string{"mamba", "conv", "attention", "mamba"}, `layer_types has "conv"; accepted: mamba, attention`},
		{"granitemoehybrid", "mamba_d_state", 0, "mamba_d_state is 0"},
	} {
		_, err := models.Check(tiny(t, test.name, map[string]any{test.key: test.to}, nil))
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s with %s %v: got %v, want %q", test.name, test.key, test.to, err, test.says)
		}
	}
}
