package models

import (
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// minimaxConfig is MiniMax M2's: llama's with normalised queries and keys, of which heads are
// rotated in part, and a mixture of experts in every layer.
type minimaxConfig struct {
	llamaConfig
	RotatedDims   int    `json:"rotary_dim"`
	NormalizeQK   bool   `json:"use_qk_norm"`
	Experts       int    `json:"num_local_experts"`
	ChosenExperts int    `json:"num_experts_per_tok"`
	ScoringMethod string `json:"scoring_func"`
}

func (c *minimaxConfig) complete() error {
	if err := c.llamaConfig.complete(); err != nil {
		return err
	}
	if c.RotatedDims < 2 || c.RotatedDims > c.HeadDim || c.RotatedDims%2 != 0 {
		return fault.New(fault.ModelLoad, "config.json: rotary_dim is %d; accepted: even numbers from 2 to head_dim, %d", c.RotatedDims, c.HeadDim)
	}
	if c.ScoringMethod != "sigmoid" {
		return fault.New(fault.ModelLoad, "config.json: scoring_func is %q; accepted: sigmoid", c.ScoringMethod)
	}
	return checkExperts("num_local_experts", c.Experts, "num_experts_per_tok", c.ChosenExperts)
}

func newMiniMax(b *nn.Builder) (Model, error) {
	c := minimaxConfig{NormalizeQK: true, ScoringMethod: "sigmoid"}
	c.TieEmbeddings = new(false)
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	rope := b.RoPE(c.RotatedDims)
	return c.decoder(b, func(path string, _ int) block {
		l := c.layerWith(b, path, rope, c.experts(b, path+".block_sparse_moe"))
		if c.NormalizeQK {
			l.attention.Prepare = c.normalizeAllHeads(b, path)
		}
		return l
	}), b.Err()
}

func (c *minimaxConfig) experts(b *nn.Builder, path string) feedForward {
	router := nn.CorrectedRouter{
		Gate:       b.Linear(path+".gate", c.HiddenSize, c.Experts),
		Correction: b.Vector(path+".e_score_correction_bias", c.Experts),
		K:          c.ChosenExperts, Normalized: true, Scale: 1, Float32: true,
	}
	return &nn.MoE{
		Route:   router.Route,
		Experts: b.GatedExpertsNamed(numberedExperts(path), c.Experts, c.HiddenSize, c.IntermediateSize),
	}
}
