package models_test

import (
	"encoding/json"
	"strings"
	"testing"

	"mlx-worker/gpu/models"
)

// TestGemmaAndNeighboursAsTransformersWritesThem checks configurations that mlx-lm does not know.
func TestGemmaAndNeighboursAsTransformersWritesThem(t *testing.T) {
	byType := map[string]any{
		"full_attention":    map[string]any{"rope_type": "linear", "rope_theta": 1e6, "factor": 8},
		"sliding_attention": map[string]any{"rope_type": "default", "rope_theta": 1e4},
	}
	null := json.RawMessage("null")
	layerTypes := []string{"sliding_attention", "sliding_attention", "full_attention", "sliding_attention"}
	for label, test := range map[string]struct {
		name   string
		keys   map[string]any
		arrays map[string][]int
	}{
		"rope by type of layer":         {"gemma3-text", map[string]any{"rope_parameters": byType, "layer_types": layerTypes}, nil},
		"an untied head":                {"gemma3-text", nil, map[string][]int{"lm_head.weight": {160, 96}}},
		"a tied head is stored":         {"gemma2", nil, map[string][]int{"lm_head.weight": {160, 64}}},
		"no caps":                       {"gemma2", map[string]any{"attn_logit_softcapping": null, "final_logit_softcapping": null}, nil},
		"layer types of Command R7B":    {"cohere2", map[string]any{"sliding_window_pattern": nil, "layer_types": layerTypes}, nil},
		"a part in rope_parameters":     {"glm4", map[string]any{"partial_rotary_factor": nil, "rope_parameters": map[string]any{"rope_theta": 1e4, "partial_rotary_factor": 0.5}}, nil},
		"multipliers that are not said": {"granite", map[string]any{"attention_multiplier": nil, "embedding_multiplier": nil, "residual_multiplier": nil, "logits_scaling": nil}, nil},
	} {
		if _, err := models.Check(tiny(t, test.name, test.keys, test.arrays)); err != nil {
			t.Errorf("%s: %v", label, err)
		}
	}
}

// TestGemmasAndNeighboursThatCannotBeRun are refused by the key that says why.
func TestGemmasAndNeighboursThatCannotBeRun(t *testing.T) {
	for _, test := range []struct {
		name string
		key  string
		to   any
		says string
	}{
		{"gemma2", "attn_logit_softcapping", -1, "attn_logit_softcapping is -1"},
		{"gemma2", "query_pre_attn_scalar", 0, "query_pre_attn_scalar is 0"},
		{"gemma3-text", "sliding_window_pattern", -2, "sliding_window_pattern is -2"},
		{"gemma3-text", "sliding_window", 1, "sliding_window is 1"},
		{"gemma3-text", "use_bidirectional_attention", true, "use_bidirectional_attention is true"},
		{"gemma3", "text_config", nil, "a gemma3 model has no text_config"},
		{"gemma4-text", "use_bidirectional_attention", "all", "use_bidirectional_attention is all"},
		{"gemma4-text", "num_kv_shared_layers", 6, "num_kv_shared_layers is 6 of 6 layers"},
		{"gemma4-text", "num_kv_shared_layers", 5, "no full_attention layer to share with"},
		{"gemma4-text", "hidden_size_per_layer_input", -1, "hidden_size_per_layer_input is missing or too small"},
		{"gemma4-text-keys-are-values", "num_global_key_value_heads", 3, "not a multiple of num_global_key_value_heads, 3"},
		{"gemma4-text-experts", "top_k_experts", 9, "top_k_experts"},
		{"gemma4-text-experts", "moe_intermediate_size", nil, "moe_intermediate_size is missing"},
		{"ministral3", "rope_parameters", map[string]any{"rope_theta": 1e6}, "llama_4_scaling_beta"},
		{"mistral3", "text_config", map[string]any{"model_type": "mistral4"}, `model_type "mistral4"; accepted: llama, ministral3, mistral`},
		{"granite", "logits_scaling", -1, "logits_scaling is -1"},
		{"glm4", "partial_rotary_factor", 0.01, "partial_rotary_factor is 0.01"},
		{"glm4", "tie_word_embeddings", true, "tie_word_embeddings is true; accepted: false"},
		{"cohere", "layer_norm_eps", -1, "layer_norm_eps is -1"},
		{"cohere2", "sliding_window", -3, "sliding_window is -3"},
	} {
		_, err := models.Check(tiny(t, test.name, map[string]any{test.key: test.to}, nil))
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s with %s %v: got %v, want %q", test.name, test.key, test.to, err, test.says)
		}
	}
}

// TestGemma3nsThatCannotBeRun changes keys of text_config.
func TestGemma3nsThatCannotBeRun(t *testing.T) {
	for _, test := range []struct {
		key  string
		to   any
		says string
	}{
		{"intermediate_size", []int{96, 96}, "intermediate_size has 2 entries for 6 layers"},
		{"activation_sparsity_pattern", []float64{1, 0, 0, 0, 0, 0}, "activation_sparsity_pattern has 1"},
		{"altup_num_inputs", 1, "altup_num_inputs is missing or too small"},
		{"altup_active_idx", 4, "altup_active_idx is 4 of 4"},
		{"num_kv_shared_layers", 5, "no full_attention layer to share with"},
		{"laurel_rank", nil, "laurel_rank is missing"},
	} {
		var config struct {
			Text map[string]any `json:"text_config"`
		}
		if err := tiny(t, "gemma3n", nil, nil).config.Decode(&config); err != nil {
			t.Fatal(err)
		}
		config.Text[test.key] = test.to
		_, err := models.Check(tiny(t, "gemma3n", map[string]any{"text_config": config.Text}, nil))
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s %v: got %v, want %q", test.key, test.to, err, test.says)
		}
	}
}
