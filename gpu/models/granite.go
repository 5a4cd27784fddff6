package models

import "mlx-worker/gpu/nn"

// graniteConfig is the part of config.json that Granite reads.
type graniteConfig struct {
	llamaConfig
	AttentionScale float64 `json:"attention_multiplier"`
	EmbeddingScale float64 `json:"embedding_multiplier"`
	ResidualScale  float64 `json:"residual_multiplier"` // of what attention and feed-forward layers add
	LogitDivisor   float64 `json:"logits_scaling"`
}

func (c *graniteConfig) complete() error {
	for _, field := range []struct {
		key   string
		value float64
	}{
		{"attention_multiplier", c.AttentionScale}, {"embedding_multiplier", c.EmbeddingScale},
		{"residual_multiplier", c.ResidualScale}, {"logits_scaling", c.LogitDivisor},
	} {
		if err := positive(field.key, float32(field.value)); err != nil {
			return err
		}
	}
	return c.llamaConfig.complete()
}

func newGranite(b *nn.Builder) (Model, error) {
	c := graniteConfig{AttentionScale: 1, EmbeddingScale: 1, ResidualScale: 1, LogitDivisor: 1}
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	rope := b.RoPE(c.HeadDim)
	m := c.decoder(b, func(path string, _ int) block {
		layer := c.layer(b, path, rope)
		layer.attention.Scores.Scale = float32(c.AttentionScale)
		layer.residualScale = c.ResidualScale
		return layer
	})
	m.embeddingScale, m.logitDivisor = c.EmbeddingScale, c.LogitDivisor
	return m, b.Err()
}
