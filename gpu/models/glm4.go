package models

import (
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// newGLM is GLM 4 as published in 2024, and GLM Edge.
func newGLM(b *nn.Builder) (Model, error) {
	c := glm4Config{RotatedPart: 1}
	rope, err := c.read(b)
	if err != nil {
		return nil, err
	}
	return c.decoder(b, func(path string, _ int) block {
		return &preNorm{
			attentionNorm: b.RMSNorm(path+".input_layernorm", c.HiddenSize, c.RMSNormEps),
			attention:     c.attention(b, path, rope),
			mlpNorm:       b.RMSNorm(path+".post_attention_layernorm", c.HiddenSize, c.RMSNormEps),
			mlp:           c.fusedMLP(b, path),
		}
	}), b.Err()
}

// glm4Config is the part of config.json that GLM 4 reads.
type glm4Config struct {
	llamaConfig
	RotatedPart float64 `json:"partial_rotary_factor"`
	Traditional *bool   `json:"rope_traditional"` // nil: true
}

// read fills c, in which defaults may be set, from the configuration.
func (c *glm4Config) read(b *nn.Builder) (*nn.RoPE, error) {
	if err := b.Config.Decode(c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	rope, err := partialRoPE(b, c.HeadDim, c.RotatedPart)
	if err != nil {
		return nil, err
	}
	rope.Traditional = valueOr(c.Traditional, true)
	return b.RoPEOf(rope), nil
}

func (c *glm4Config) fusedMLP(b *nn.Builder, path string) feedForward {
	return b.SwiGLUOf(path+".mlp", []string{"gate_up_proj"}, "down_proj", c.HiddenSize, c.IntermediateSize)
}

// newGLM4 is GLM 4 as published in 2025.
func newGLM4(b *nn.Builder) (Model, error) {
	var c glm4Config
	rope, err := c.read(b)
	if err != nil {
		return nil, err
	}
	if valueOr(c.TieEmbeddings, false) {
		return nil, fault.New(fault.ModelLoad, "config.json: tie_word_embeddings is true; accepted: false")
	}
	return c.dimensions.decoder(b, false, b.RMSNorm("model.norm", c.HiddenSize, c.RMSNormEps), func(path string, _ int) block {
		return &sandwich{
			attentionNorm:  b.RMSNorm(path+".input_layernorm", c.HiddenSize, c.RMSNormEps),
			attention:      c.attention(b, path, rope),
			afterAttention: b.RMSNorm(path+".post_self_attn_layernorm", c.HiddenSize, c.RMSNormEps),
			mlpNorm:        b.RMSNorm(path+".post_attention_layernorm", c.HiddenSize, c.RMSNormEps),
			mlp:            c.fusedMLP(b, path),
			afterMLP:       b.RMSNorm(path+".post_mlp_layernorm", c.HiddenSize, c.RMSNormEps),
		}
	}), b.Err()
}
