package models

import (
	"fmt"
	"slices"
	"strings"

	"mlx-worker/gpu/cache"
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// llamaConfig is the part of config.json that the llama family reads: Llama 1 to 3.x, Mistral,
// SmolLM2, TinyLlama, Yi.
type llamaConfig struct {
	HiddenSize       int      `json:"hidden_size"`
	Layers           int      `json:"num_hidden_layers"`
	IntermediateSize int      `json:"intermediate_size"`
	Heads            int      `json:"num_attention_heads"`
	KVHeads          int      `json:"num_key_value_heads"` // 0: Heads
	HeadDim          int      `json:"head_dim"`            // 0: HiddenSize / Heads
	VocabSize        int      `json:"vocab_size"`
	RMSNormEps       float32  `json:"rms_norm_eps"`
	TieEmbeddings    *bool    `json:"tie_word_embeddings"` // nil: true, as in mlx-lm
	LayerTypes       []string `json:"layer_types"`         // nil: all full_attention
	SlidingWindow    int      `json:"sliding_window"`      // of layers of type sliding_attention
}

func (c *llamaConfig) complete() error {
	if c.KVHeads == 0 {
		c.KVHeads = c.Heads
	}
	if c.HeadDim == 0 && c.Heads > 0 {
		c.HeadDim = c.HiddenSize / c.Heads
	}
	for _, field := range []struct {
		name  string
		value int
	}{
		{"hidden_size", c.HiddenSize}, {"num_hidden_layers", c.Layers}, {"intermediate_size", c.IntermediateSize},
		{"num_attention_heads", c.Heads}, {"num_key_value_heads", c.KVHeads}, {"head_dim", c.HeadDim}, {"vocab_size", c.VocabSize},
	} {
		if field.value <= 0 {
			return fault.New(fault.ModelLoad, "config.json: %s is %d, and must be positive", field.name, field.value)
		}
	}
	if c.Heads%c.KVHeads != 0 {
		return fault.New(fault.ModelLoad, "config.json: %d attention heads are not a multiple of %d key-value heads", c.Heads, c.KVHeads)
	}
	if c.RMSNormEps <= 0 {
		return fault.New(fault.ModelLoad, "config.json: rms_norm_eps is %g, and must be positive", c.RMSNormEps)
	}
	return c.completeLayerTypes()
}

func (c *llamaConfig) completeLayerTypes() error {
	if c.LayerTypes == nil {
		c.LayerTypes = slices.Repeat([]string{fullAttention}, c.Layers)
	}
	if len(c.LayerTypes) != c.Layers {
		return fault.New(fault.ModelLoad, "config.json: layer_types has %d entries for %d layers", len(c.LayerTypes), c.Layers)
	}
	for _, t := range c.LayerTypes {
		switch {
		case t != fullAttention && t != slidingAttention:
			return fault.New(fault.ModelLoad, "config.json: layer_types has %q; accepted: %s, %s", t, fullAttention, slidingAttention)
		case t == slidingAttention && c.SlidingWindow < 2:
			return fault.New(fault.ModelLoad, "config.json: sliding_window is %d, and must be at least 2", c.SlidingWindow)
		}
	}
	return nil
}

const (
	fullAttention    = "full_attention"
	slidingAttention = "sliding_attention"
)

func newLlama(b *nn.Builder) (Model, error) {
	var c llamaConfig
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	b.Ignore(isRotaryBuffer)
	m := &decoder{embedding: b.Embedding("model.embed_tokens", c.VocabSize, c.HiddenSize)}
	rope := b.RoPE(c.HeadDim)
	for i := range c.Layers {
		path := fmt.Sprintf("model.layers.%d", i)
		m.blocks = append(m.blocks, &preNorm{
			attentionNorm: b.RMSNorm(path+".input_layernorm", c.HiddenSize, c.RMSNormEps),
			attention:     b.Attention(path+".self_attn", c.HiddenSize, c.Heads, c.KVHeads, c.HeadDim, rope),
			mlpNorm:       b.RMSNorm(path+".post_attention_layernorm", c.HiddenSize, c.RMSNormEps),
			mlp:           b.SwiGLU(path+".mlp", c.HiddenSize, c.IntermediateSize),
		})
		m.caches = append(m.caches, windowOf(c.LayerTypes[i], c.SlidingWindow))
	}
	m.norm = b.RMSNorm("model.norm", c.HiddenSize, c.RMSNormEps)
	m.output(b, c.TieEmbeddings == nil || *c.TieEmbeddings, "lm_head", c.HiddenSize, c.VocabSize)
	return m, b.Err()
}

// isRotaryBuffer reports whether an array is a table that older checkpoints store, and that is
// computed here.
func isRotaryBuffer(name string) bool { return strings.Contains(name, "rotary_emb.inv_freq") }

// windowOf is the cache of a layer of one of the types in layer_types.
func windowOf(layerType string, window int) cache.Layer {
	if layerType == slidingAttention {
		return cache.Layer{Window: window}
	}
	return cache.Layer{}
}
