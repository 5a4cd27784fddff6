package models

import (
	"mlx-worker/gpu/load"
	"mlx-worker/gpu/nn"
)

// graniteMoEConfig is Granite's with a mixture of experts in every layer.
type graniteMoEConfig struct {
	graniteConfig
	Experts       int `json:"num_local_experts"`
	ChosenExperts int `json:"num_experts_per_tok"`
}

func newGraniteMoE(b *nn.Builder) (Model, error) {
	var c graniteMoEConfig
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	if err := checkExperts("num_local_experts", c.Experts, "num_experts_per_tok", c.ChosenExperts); err != nil {
		return nil, err
	}
	rope := b.RoPE(c.HeadDim)
	m := c.decoder(b, func(path string, _ int) block {
		moe := path + ".block_sparse_moe"
		gate := b.Linear(moe+".router.layer", c.HiddenSize, c.Experts)
		layer := c.layerWith(b, path, rope, &nn.MoE{
			Route:   nn.ChosenSoftmaxRouter(gate, c.ChosenExperts, nn.TopK),
			Experts: c.experts(b, moe),
		})
		layer.attention.Scores.Scale = float32(c.AttentionScale)
		layer.residualScale = c.ResidualScale
		return layer
	})
	m.embeddingScale, m.logitDivisor = c.EmbeddingScale, c.LogitDivisor
	return m, b.Err()
}

// experts builds those of the layer at path: as mlx-lm converts them, or as published, where the
// gate's outputs come before the up projection's in one matrix.
func (c *graniteMoEConfig) experts(b *nn.Builder, path string) *nn.GatedExperts {
	b.Redescribe(path+".output_linear.weight", func(a load.Array) load.Array {
		a.Name = path + ".switch_mlp.down_proj.weight"
		return a
	})
	if !b.Has(path + ".input_linear.weight") {
		return b.GatedExperts(path+".switch_mlp", c.Experts, c.HiddenSize, c.IntermediateSize)
	}
	return b.SplitGatedExperts(path+".input_linear", nn.Halves, path+".switch_mlp.down_proj", c.Experts, c.HiddenSize, c.IntermediateSize)
}
