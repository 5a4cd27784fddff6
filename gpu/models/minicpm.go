package models

import (
	"math"

	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// newMiniCPM is MiniCPM 1 and 2: llama with scaled embeddings, residuals and logits.
func newMiniCPM(b *nn.Builder) (Model, error) {
	c := struct {
		llamaConfig
		BaseSize       int     `json:"dim_model_base"`
		ResidualDepth  float64 `json:"scale_depth"`
		EmbeddingScale float64 `json:"scale_emb"`
	}{llamaConfig: llamaConfig{TieEmbeddings: new(false)}}
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	if c.BaseSize <= 0 || c.ResidualDepth <= 0 || c.EmbeddingScale <= 0 {
		return nil, fault.New(fault.ModelLoad, "config.json: dim_model_base is %d, scale_depth %g and scale_emb %g, and all must be positive", c.BaseSize, c.ResidualDepth, c.EmbeddingScale)
	}
	if !b.Has("lm_head.weight") { // tied, whatever the configuration says
		c.TieEmbeddings = nil
	}
	rope := b.RoPEOr(c.HeadDim, 1e6)
	m := c.decoder(b, func(path string, _ int) block {
		l := c.layer(b, path, rope)
		l.residualScale = c.ResidualDepth / math.Sqrt(float64(c.Layers))
		return l
	})
	m.embeddingScale = c.EmbeddingScale
	m.logitDivisor = float64(c.HiddenSize) / float64(c.BaseSize)
	return m, b.Err()
}
