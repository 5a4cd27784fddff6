package models

import (
	"math"

	"mlx-worker/gpu/nn"
)

func newGemma(b *nn.Builder) (Model, error) {
	var c llamaConfig
	if err := c.read(b); err != nil {
		return nil, err
	}
	rope := b.RoPE(c.HeadDim)
	return c.gemma(b, true, func(path string, _ int) block {
		return &preNorm{
			attentionNorm: b.OffsetRMSNorm(path+".input_layernorm", c.HiddenSize, c.RMSNormEps),
			attention:     c.attention(b, path, rope),
			mlpNorm:       b.OffsetRMSNorm(path+".post_attention_layernorm", c.HiddenSize, c.RMSNormEps),
			mlp:           b.GatedMLP(path+".mlp", c.HiddenSize, c.IntermediateSize, nn.GELU),
		}
	}), b.Err()
}

// gemma builds a decoder as Gemma 1 to 3 have it, of which every layer sees all.
func (c *llamaConfig) gemma(b *nn.Builder, tied bool, block func(path string, layer int) block) *decoder {
	m := c.dimensions.decoder(b, tied, b.OffsetRMSNorm("model.norm", c.HiddenSize, c.RMSNormEps), block)
	m.embeddingScale = math.Sqrt(float64(c.HiddenSize))
	return m
}
