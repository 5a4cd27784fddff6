package models

import (
	"cmp"
	"math"
	"strings"

	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// gemma4Config is the part of config.json that Gemma 4 reads.
type gemma4Config struct {
	llamaConfig
	GlobalHeadDim *int     `json:"global_head_dim"`            // of full attention; null: HeadDim
	GlobalKVHeads *int     `json:"num_global_key_value_heads"` // where keys are values; null: KVHeads
	KeysAreValues bool     `json:"attention_k_eq_v"`           // in full attention
	SharedLayers  int      `json:"num_kv_shared_layers"`       // the last ones, which see the caches of others
	DoubleWide    bool     `json:"use_double_wide_mlp"`        // in those layers
	LayerInput    *int     `json:"hidden_size_per_layer_input"`
	LayerVocab    int      `json:"vocab_size_per_layer_input"`
	WindowPattern int      `json:"sliding_window_pattern"` // the last of every so many layers is global
	LogitCap      *float64 `json:"final_logit_softcapping"`

	RoPE          ropeByLayerType `json:"rope_parameters"`
	Traditional   bool            `json:"rope_traditional"`
	Bidirectional any             `json:"use_bidirectional_attention"`

	MoE          bool `json:"enable_moe_block"`
	Experts      int  `json:"num_experts"`
	TopK         int  `json:"top_k_experts"`
	ExpertHidden int  `json:"moe_intermediate_size"`
}

// newGemma4Config is what a configuration without any keys means, in mlx-lm.
func newGemma4Config(absent dimensions) *gemma4Config {
	globalHeadDim, layerInput, logitCap := 512, 256, 30.0
	c := &gemma4Config{
		GlobalHeadDim: &globalHeadDim, SharedLayers: 20, DoubleWide: true, LayerInput: &layerInput, LayerVocab: 262144,
		WindowPattern: 5, LogitCap: &logitCap,
	}
	c.dimensions, c.RMSNormEps, c.SlidingWindow = absent, 1e-6, 512
	c.HiddenSize, c.Layers, c.IntermediateSize, c.HeadDim = 1536, 35, 6144, 256
	return c
}

func (c *gemma4Config) complete() error {
	if err := causal(c.Bidirectional); err != nil {
		return err
	}
	if err := positiveOrNull("final_logit_softcapping", c.LogitCap); err != nil {
		return err
	}
	if err := c.completeWindowPattern(c.WindowPattern); err != nil {
		return err
	}
	if err := c.llamaConfig.complete(); err != nil {
		return err
	}
	if err := c.completeSizes(); err != nil {
		return err
	}
	return c.completeSharing(c.SharedLayers)
}

func (c *gemma4Config) completeSizes() error {
	type size struct {
		key   string
		value int
	}
	sizes := []size{
		{"global_head_dim", c.headDim(fullAttention)},
		{"num_global_key_value_heads", c.kvHeads(fullAttention)},
		{"vocab_size_per_layer_input", c.LayerVocab},
		{"hidden_size_per_layer_input", c.layerInput() + 1}, // 0 is none
	}
	if c.MoE {
		if err := checkExperts("num_experts", c.Experts, "top_k_experts", c.TopK); err != nil {
			return err
		}
		sizes = append(sizes, size{"moe_intermediate_size", c.ExpertHidden})
	}
	for _, s := range sizes {
		if s.value <= 0 {
			return fault.New(fault.ModelLoad, "config.json: %s is missing or too small", s.key)
		}
	}
	if kvHeads := c.kvHeads(fullAttention); c.Heads%kvHeads != 0 {
		return fault.New(fault.ModelLoad, "config.json: %d attention heads are not a multiple of num_global_key_value_heads, %d", c.Heads, kvHeads)
	}
	return nil
}

func (c *gemma4Config) headDim(layerType string) int {
	if layerType == fullAttention {
		return cmp.Or(valueOr(c.GlobalHeadDim, 0), c.HeadDim)
	}
	return c.HeadDim
}

func (c *gemma4Config) kvHeads(layerType string) int {
	if layerType == fullAttention && c.KeysAreValues {
		return valueOr(c.GlobalKVHeads, c.KVHeads)
	}
	return c.KVHeads
}

// layerInput is the size of what each layer is told about the tokens; 0: nothing.
func (c *gemma4Config) layerInput() int { return valueOr(c.LayerInput, 0) }

func (c *gemma4Config) ropes(b *nn.Builder) map[string]*nn.RoPE {
	said := c.RoPE
	if said == nil {
		part := 0.25
		said = ropeByLayerType{fullAttention: {Theta: 1e6, RoPEScaling: nn.RoPEScaling{RoPEType: "proportional", PartialRotaryFactor: &part}}}
	}
	return said.build(b, c.Traditional, map[string]int{
		fullAttention:    c.headDim(fullAttention),
		slidingAttention: c.headDim(slidingAttention),
	})
}

// newGemma4 is the language model of a multimodal Gemma 4.
func newGemma4(b *nn.Builder) (Model, error) {
	var outer struct {
		VocabSize int `json:"vocab_size"`
	}
	if err := b.Config.Decode(&outer); err != nil {
		return nil, err
	}
	if err := useText(b); err != nil {
		return nil, err
	}
	return gemma4(b, newGemma4Config(dimensions{Heads: 8, KVHeads: 1, VocabSize: cmp.Or(outer.VocabSize, 262144)}))
}

// newGemma4Text is a Gemma 4 without other modalities.
func newGemma4Text(b *nn.Builder) (Model, error) {
	return gemma4(b, newGemma4Config(dimensions{Heads: 8, KVHeads: 1, VocabSize: 262144}))
}

func gemma4(b *nn.Builder, c *gemma4Config) (Model, error) {
	if err := b.Config.Decode(c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	b.Ignore(isActivationRange)
	c.ignoreShared(b, c.SharedLayers)
	ropes := c.ropes(b)
	var inputs *layerInputs
	if size := c.layerInput(); size > 0 {
		inputs = c.layerInputs(b, size, c.LayerVocab)
	}
	tied := valueOr(c.TieEmbeddings, true)
	m := c.dimensions.decoder(b, tied, b.RMSNorm("model.norm", c.HiddenSize, c.RMSNormEps), func(path string, layer int) block {
		return c.block(b, path, layer, ropes[c.LayerTypes[layer]], inputs)
	})
	m.embeddingScale = math.Sqrt(float64(c.HiddenSize))
	m.logitCap = valueOr(c.LogitCap, 0)
	if inputs != nil {
		m.prepare = inputs.prepare
	}
	m.caches = c.windows()[:c.Layers-c.SharedLayers]
	return m, b.Err()
}

// isActivationRange reports whether an array is what published checkpoints hold for quantised
// activations.
func isActivationRange(name string) bool {
	for _, part := range []string{"input_max", "input_min", "output_max", "output_min"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}
