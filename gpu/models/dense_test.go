package models_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"strings"
	"testing"

	"mlx-worker/gpu/load"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/models"
)

// named is a checkpoint of names and shapes, with nothing to read.
type named struct {
	config *load.Config
	shapes map[string][]int
}

func (c *named) Config() *load.Config { return c.config }
func (c *named) TotalBytes() int64    { return 0 }
func (c *named) Close() error         { return nil }

func (c *named) Arrays(bool) []load.Array {
	var all []load.Array
	unreadable := func([]byte) error { return errors.ErrUnsupported }
	for name, shape := range c.shapes {
		all = append(all, load.Array{Name: name, DType: mlx.Float32, Shape: shape, Fill: unreadable})
	}
	return all
}

// tiny is the checkpoint of a file of parity/tiny, with keys of its configuration changed and
// arrays changed; a nil value is one that is taken out.
func tiny(t *testing.T, name string, keys map[string]any, arrays map[string][]int) *named {
	t.Helper()
	raw, err := os.ReadFile("../../parity/tiny/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var stored struct {
		Config     map[string]any   `json:"config"`
		Parameters map[string][]int `json:"parameters"`
	}
	if err := json.Unmarshal(raw, &stored); err != nil {
		t.Fatal(err)
	}
	maps.Copy(stored.Config, keys)
	maps.DeleteFunc(stored.Config, func(_ string, v any) bool { return v == nil })
	maps.Copy(stored.Parameters, arrays)
	maps.DeleteFunc(stored.Parameters, func(_ string, shape []int) bool { return shape == nil })
	config, err := json.Marshal(stored.Config)
	if err != nil {
		t.Fatal(err)
	}
	c := &named{shapes: stored.Parameters}
	if c.config, err = load.ParseConfig(config); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCheckpointsAsTransformersStoresThem adds and takes out what mlx-lm's conversion would.
func TestCheckpointsAsTransformersStoresThem(t *testing.T) {
	for label, test := range map[string]struct {
		name   string
		keys   map[string]any
		arrays map[string][]int
	}{
		"a tied head is stored":     {"qwen3", nil, map[string][]int{"lm_head.weight": {160, 64}}},
		"tables of rope":            {"qwen2", nil, map[string][]int{"model.layers.0.self_attn.rotary_emb.inv_freq": {8}}},
		"tables of InternLM's rope": {"internlm2", nil, map[string][]int{"model.layers.0.attention.rope.inv_freq": {8}}},
		"layers of further tokens":  {"mimo", nil, map[string][]int{"model.mtp_layers.0.input_proj.weight": {64, 128}}},
		"a head that is not said":   {"minicpm", nil, map[string][]int{"lm_head.weight": nil}},
		"rope in rope_parameters":   {"qwen3", map[string]any{"rope_theta": nil, "rope_parameters": map[string]any{"rope_theta": 1e6, "rope_type": "default"}}, nil},
		"a part in rope_parameters": {"stablelm", map[string]any{"partial_rotary_factor": nil, "rope_parameters": map[string]any{"rope_theta": 1e4, "partial_rotary_factor": 0.5}}, nil},
		"windows that are not used": {"qwen2", map[string]any{"sliding_window": nil, "use_sliding_window": false, "layer_types": []string{"full_attention", "full_attention"}}, nil},
	} {
		if _, err := models.Check(tiny(t, test.name, test.keys, test.arrays)); err != nil {
			t.Errorf("%s: %v", label, err)
		}
	}
}

// TestConfigurationsThatCannotBeRun are refused by the key that says why.
func TestConfigurationsThatCannotBeRun(t *testing.T) {
	for _, test := range []struct {
		name string
		key  string
		to   any
		says string
	}{
		{"qwen2", "num_attention_heads", 3, "not a multiple of 2 key-value heads"},
		{"qwen3", "rope_theta", nil, "rope_theta is 0"},
		{"qwen3", "rms_norm_eps", 0, "rms_norm_eps is 0"},
		{"phi3", "partial_rotary_factor", 0.2, "partial_rotary_factor is 0.2"},
		{"phi3", "rope_scaling", map[string]any{"type": "spiral"}, `rope type "spiral"`},
		{"phi3-longrope", "original_max_position_embeddings", 0, "original_max_position_embeddings"},
		{"smollm3", "no_rope_layers", []int{1, 0}, "no_rope_layers has 2 entries for 4 layers"},
		{"smollm3", "no_rope_layer_interval", 0, "no_rope_layer_interval is 0"},
		{"olmo3", "sliding_window", 0, "sliding_window is 0"},
		{"exaone4", "sliding_window_pattern", "LXG", `sliding_window_pattern is "LXG"`},
		{"exaone4", "sliding_window", nil, "sliding_window is 0"},
		{"stablelm", "layer_norm_eps", 0, "layer_norm_eps is 0"},
		{"stablelm", "partial_rotary_factor", nil, "partial_rotary_factor is 0"},
		{"starcoder2", "norm_epsilon", -1, "norm_epsilon is -1"},
		{"exaone", "num_layers", nil, "num_layers"},
		{"exaone", "layer_norm_epsilon", nil, "layer_norm_epsilon is 0"},
		{"nemotron", "hidden_act", "silu", `hidden_act is "silu"; accepted: relu2`},
		{"minicpm", "dim_model_base", nil, "dim_model_base is 0"},
	} {
		_, err := models.Check(tiny(t, test.name, map[string]any{test.key: test.to}, nil))
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s with %s %v: got %v, want %q", test.name, test.key, test.to, err, test.says)
		}
	}
}

// TestArraysThatAFamilyAlwaysHas are missed, though other families do without them.
func TestArraysThatAFamilyAlwaysHas(t *testing.T) {
	for name, array := range map[string]string{
		"qwen2":      "model.layers.1.self_attn.k_proj.bias",
		"mimo":       "model.layers.0.self_attn.q_proj.bias",
		"phi":        "model.layers.0.mlp.fc2.bias",
		"starcoder2": "model.layers.1.input_layernorm.weight",
		"nemotron":   "model.layers.0.post_attention_layernorm.bias",
		"internlm2":  "model.layers.1.attention.wqkv.weight",
	} {
		_, err := models.Check(tiny(t, name, nil, map[string][]int{array: nil}))
		if err == nil || !strings.Contains(err.Error(), "1 tensors are missing: "+array) {
			t.Errorf("%s without %s: got %v", name, array, err)
		}
	}
	if _, err := models.Check(tiny(t, "internlm2", nil, map[string][]int{"model.layers.0.attention.wqkv.weight": {96, 64}})); err == nil || !strings.Contains(err.Error(), "96 64") {
		t.Errorf("a fused matrix of another shape: got %v", err)
	}
}
