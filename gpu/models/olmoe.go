package models

import "mlx-worker/gpu/nn"

// olmoeConfig is OLMoE's: llama's with normalised queries and keys, and a mixture of experts in
// every layer.
type olmoeConfig struct {
	llamaConfig
	Experts          int  `json:"num_experts"`
	ChosenExperts    int  `json:"num_experts_per_tok"`
	NormalizeWeights bool `json:"norm_topk_prob"`
}

func newOLMoE(b *nn.Builder) (Model, error) {
	var c olmoeConfig
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	if err := checkExperts("num_experts", c.Experts, "num_experts_per_tok", c.ChosenExperts); err != nil {
		return nil, err
	}
	rope := b.RoPE(c.HeadDim)
	return c.decoder(b, func(path string, _ int) block {
		mlp := path + ".mlp"
		l := c.layerWith(b, path, rope, &nn.MoE{
			Route:   nn.SoftmaxRouter(b.Linear(mlp+".gate", c.HiddenSize, c.Experts), c.ChosenExperts, c.NormalizeWeights, nn.TopKNegated),
			Experts: b.GatedExpertsNamed(expertsBelow(mlp), c.Experts, c.HiddenSize, c.IntermediateSize),
		})
		l.attention.Prepare = c.normalizeAllHeads(b, path)
		return l
	}), b.Err()
}
