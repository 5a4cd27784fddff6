package models

import (
	"mlx-worker/gpu/nn"
)

// mixtralConfig is Mixtral's: llama's with a mixture of experts in every layer.
type mixtralConfig struct {
	llamaConfig
	Experts       int `json:"num_local_experts"`
	ChosenExperts int `json:"num_experts_per_tok"`
}

func newMixtral(b *nn.Builder) (Model, error) {
	c := mixtralConfig{Experts: 8, ChosenExperts: 2}
	c.TieEmbeddings = new(false)
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	if err := checkExperts("num_local_experts", c.Experts, "num_experts_per_tok", c.ChosenExperts); err != nil {
		return nil, err
	}
	rope := b.RoPEOr(c.HeadDim, 1e6)
	return c.decoder(b, func(path string, _ int) block {
		return c.layerWith(b, path, rope, c.experts(b, path+".block_sparse_moe"))
	}), b.Err()
}

func (c *mixtralConfig) experts(b *nn.Builder, path string) feedForward {
	return &nn.MoE{
		Route:   nn.ChosenSoftmaxRouter(b.Linear(path+".gate", c.HiddenSize, c.Experts), c.ChosenExperts, nn.TopKNegated),
		Experts: b.GatedExpertsNamed(numberedExperts(path), c.Experts, c.HiddenSize, c.IntermediateSize),
	}
}
