package models

import (
	"cmp"

	"mlx-worker/gpu/nn"
)

// newQwen2 is Qwen 2 and 2.5: llama with biases on queries, keys and values.
func newQwen2(b *nn.Builder) (Model, error) {
	var c llamaConfig
	if err := c.read(b); err != nil {
		return nil, err
	}
	options := b.RoPEOptions(c.HeadDim)
	options.Theta = cmp.Or(options.Theta, 1e6)
	options.MaxLength = cmp.Or(options.MaxLength, 32768)
	rope := b.RoPEOf(options)
	return c.decoder(b, func(path string, _ int) block { return c.qwen2Layer(b, path, rope) }), b.Err()
}

func (c *llamaConfig) qwen2Layer(b *nn.Builder, path string, rope *nn.RoPE) *preNorm {
	b.RequireBiases(path+".self_attn", "q_proj", "k_proj", "v_proj")
	return c.layer(b, path, rope)
}
