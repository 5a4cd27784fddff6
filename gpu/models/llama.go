package models

import (
	"slices"
	"strings"

	"mlx-worker/gpu/cache"
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// llamaConfig is the part of config.json that the llama family reads: Llama 1 to 3.x, Mistral,
// SmolLM2, TinyLlama, Yi.
type llamaConfig struct {
	dimensions
	RMSNormEps    float32  `json:"rms_norm_eps"`
	TieEmbeddings *bool    `json:"tie_word_embeddings"` // nil: true, as in mlx-lm
	LayerTypes    []string `json:"layer_types"`         // nil: all full_attention
	SlidingWindow int      `json:"sliding_window"`      // of layers of type sliding_attention
}

func (c *llamaConfig) complete() error {
	if err := c.dimensions.complete(); err != nil {
		return err
	}
	if err := positive("rms_norm_eps", c.RMSNormEps); err != nil {
		return err
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
	if err := c.read(b); err != nil {
		return nil, err
	}
	rope := b.RoPE(c.HeadDim)
	return c.decoder(b, func(path string, _ int) block { return c.layer(b, path, rope) }), b.Err()
}

// read fills c, in which defaults may be set, from the configuration.
func (c *llamaConfig) read(b *nn.Builder) error {
	if err := b.Config.Decode(c); err != nil {
		return err
	}
	return c.complete()
}

func (c *llamaConfig) tied() bool { return c.TieEmbeddings == nil || *c.TieEmbeddings }

// layer builds llama's block at path.
func (c *llamaConfig) layer(b *nn.Builder, path string, rope *nn.RoPE) *preNorm {
	return &preNorm{
		attentionNorm: b.RMSNorm(path+".input_layernorm", c.HiddenSize, c.RMSNormEps),
		attention:     c.attention(b, path, rope),
		mlpNorm:       b.RMSNorm(path+".post_attention_layernorm", c.HiddenSize, c.RMSNormEps),
		mlp:           b.SwiGLU(path+".mlp", c.HiddenSize, c.IntermediateSize),
	}
}

// postNormLayer builds the block at path that normalises what it adds.
func (c *llamaConfig) postNormLayer(b *nn.Builder, path string, rope *nn.RoPE) *postNorm {
	return &postNorm{
		attention:     c.attention(b, path, rope),
		attentionNorm: b.RMSNorm(path+".post_attention_layernorm", c.HiddenSize, c.RMSNormEps),
		mlp:           b.SwiGLU(path+".mlp", c.HiddenSize, c.IntermediateSize),
		mlpNorm:       b.RMSNorm(path+".post_feedforward_layernorm", c.HiddenSize, c.RMSNormEps),
	}
}

// decoder builds a model of blocks under llama's names.
func (c *llamaConfig) decoder(b *nn.Builder, block func(path string, layer int) block) *decoder {
	m := c.dimensions.decoder(b, c.tied(), b.RMSNorm("model.norm", c.HiddenSize, c.RMSNormEps), block)
	m.caches = c.windows()
	return m
}

// isRotaryBuffer reports whether an array is a table that older checkpoints store, and that is
// computed here.
func isRotaryBuffer(name string) bool {
	return strings.HasSuffix(name, "rotary_emb.inv_freq") || strings.HasSuffix(name, ".rope.inv_freq")
}

// windowOf is the cache of a layer of one of the types in layer_types.
func windowOf(layerType string, window int) cache.Layer {
	if layerType == slidingAttention {
		return cache.Layer{Window: window}
	}
	return cache.Layer{}
}
