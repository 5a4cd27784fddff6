package models_test

import (
	"strings"
	"testing"

	"mlx-worker/gpu/models"
	"mlx-worker/internal/fault"
)

// TestMixturesThatCannotBeRun are refused by the key that says why.
func TestMixturesThatCannotBeRun(t *testing.T) {
	for _, test := range []struct {
		name string
		keys map[string]any
		says string
	}{
		{"qwen3-moe", map[string]any{"num_experts_per_tok": 17}, "num_experts_per_tok is 17; accepted: 1 to num_experts, 16"},
		{"qwen3-moe", map[string]any{"num_experts_per_tok": 0}, "num_experts_per_tok is 0"},
		{"qwen3-moe", map[string]any{"moe_intermediate_size": nil}, "moe_intermediate_size is 0"},
		{"mixtral", map[string]any{"num_local_experts": -1}, "num_local_experts is -1, and must be positive"},
		{"qwen2-moe", map[string]any{"shared_expert_intermediate_size": nil}, "shared_expert_intermediate_size is 0"},
		{"gpt-oss", map[string]any{"sliding_window": 1}, "sliding_window is 1"},
		{"deepseek-v3", map[string]any{"scoring_func": "softmax"}, `scoring_func is "softmax"; accepted: sigmoid`},
		{"deepseek-v3", map[string]any{"topk_method": "greedy"}, `topk_method is "greedy"; accepted: noaux_tc`},
		{"deepseek-v3", map[string]any{"n_group": 3}, "n_group is 3"},
		{"deepseek-v3", map[string]any{"topk_group": 5}, "topk_group is 5; accepted: 1 to n_group, 4"},
		{"deepseek-v3", map[string]any{"q_lora_rank": 0}, "q_lora_rank is 0"},
		{"deepseek-v3", map[string]any{"v_head_dim": 0}, "v_head_dim is 0"},
		{"deepseek-v2", map[string]any{"topk_method": "noaux_tc"}, `topk_method is "noaux_tc"; accepted: greedy, group_limited_greedy`},
		{"deepseek-v2", map[string]any{"norm_topk_prob": true}, "norm_topk_prob is true; accepted for deepseek_v2: false"},
		{"glm4-moe", map[string]any{"scoring_func": "softmax"}, `scoring_func is "softmax"; accepted: sigmoid`},
		{"llama4-text", map[string]any{"no_rope_layers": []int{1}}, "no_rope_layers has 1 entries for 4 layers"},
		{"llama4-text", map[string]any{"attn_temperature_tuning": true}, "attn_temperature_tuning is true; accepted for llama4_text: false"},
		{"llama4-text", map[string]any{"attention_chunk_size": -8}, "attention_chunk_size is -8"},
	} {
		_, err := models.Check(tiny(t, test.name, test.keys, nil))
		if err == nil || !strings.Contains(err.Error(), test.says) || !fault.Is(err, fault.ModelLoad) {
			t.Errorf("%s with %v: %v, want an error that says %q", test.name, test.keys, err, test.says)
		}
	}
}

// TestArraysThatMixturesAlwaysHave are missed, by the names that mlx-lm's conversion gives them.
func TestArraysThatMixturesAlwaysHave(t *testing.T) {
	for name, array := range map[string]string{
		"mixtral":     "model.layers.0.block_sparse_moe.switch_mlp.gate_proj.weight",
		"qwen2-moe":   "model.layers.1.self_attn.v_proj.bias",
		"gpt-oss":     "model.layers.2.mlp.experts.up_proj.bias",
		"phimoe":      "model.layers.0.input_layernorm.bias",
		"deepseek-v3": "model.layers.1.mlp.gate.e_score_correction_bias",
		"deepseek-v2": "model.layers.0.self_attn.kv_a_proj_with_mqa.weight",
	} {
		_, err := models.Check(tiny(t, name, nil, map[string][]int{array: nil}))
		if err == nil || !strings.Contains(err.Error(), array) || !strings.Contains(err.Error(), "missing") {
			t.Errorf("%s without %s: got %v", name, array, err)
		}
	}
}
