package models

import "mlx-worker/gpu/nn"

// newOlmo2 is OLMo 2: blocks that normalise what they add, and queries and keys over all heads.
func newOlmo2(b *nn.Builder) (Model, error) {
	var c llamaConfig
	if err := c.read(b); err != nil {
		return nil, err
	}
	rope := b.RoPE(c.HeadDim)
	return c.decoder(b, func(path string, _ int) block { return c.olmo2Layer(b, path, rope) }), b.Err()
}

func (c *llamaConfig) olmo2Layer(b *nn.Builder, path string, rope *nn.RoPE) *postNorm {
	l := c.postNormLayer(b, path, rope)
	l.attention.Prepare = c.normalizeAllHeads(b, path)
	return l
}

// newOlmo3 is OLMo 3: OLMo 2 with sliding windows, whose layers do not share the scaling of
// positions.
func newOlmo3(b *nn.Builder) (Model, error) {
	c := llamaConfig{TieEmbeddings: new(false)}
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.completeWindowPattern(4); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	options := b.RoPEOptions(c.HeadDim)
	global := b.RoPEOf(options)
	options.Scaling = nil
	local := b.RoPEOf(options)
	return c.decoder(b, func(path string, layer int) block {
		if c.LayerTypes[layer] == slidingAttention {
			return c.olmo2Layer(b, path, local)
		}
		return c.olmo2Layer(b, path, global)
	}), b.Err()
}
