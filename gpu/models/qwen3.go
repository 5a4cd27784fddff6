package models

import (
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// newQwen3 is Qwen 3: llama with normalised query and key heads.
func newQwen3(b *nn.Builder) (Model, error) {
	var c llamaConfig
	if err := c.read(b); err != nil {
		return nil, err
	}
	options := b.RoPEOptions(c.HeadDim)
	if options.Theta <= 0 {
		return nil, fault.New(fault.ModelLoad, "config.json: rope_theta is %g, and must be positive", options.Theta)
	}
	rope := b.RoPEOf(options)
	return c.decoder(b, func(path string, _ int) block {
		l := c.layer(b, path, rope)
		l.attention.Prepare = c.normalizeHeads(b, path)
		return l
	}), b.Err()
}

// normalizeHeads builds the normalisations of the heads of the block at path.
func (c *llamaConfig) normalizeHeads(b *nn.Builder, path string) nn.Prepare {
	return nn.NormalizeHeads(
		b.RMSNorm(path+".self_attn.q_norm", c.HeadDim, c.RMSNormEps),
		b.RMSNorm(path+".self_attn.k_norm", c.HeadDim, c.RMSNormEps),
	)
}

// normalizeAllHeads is normalizeHeads of all heads of a token as one.
func (c *llamaConfig) normalizeAllHeads(b *nn.Builder, path string) nn.Prepare {
	return nn.NormalizeAllHeads(
		b.RMSNorm(path+".self_attn.q_norm", c.Heads*c.HeadDim, c.RMSNormEps),
		b.RMSNorm(path+".self_attn.k_norm", c.KVHeads*c.HeadDim, c.RMSNormEps),
	)
}
