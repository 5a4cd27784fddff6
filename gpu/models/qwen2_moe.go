package models

import (
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// qwen2MoEConfig is Qwen 2's with a mixture of experts, beside a shared one, in every layer.
type qwen2MoEConfig struct {
	qwen3MoEConfig
	SharedSize int `json:"shared_expert_intermediate_size"`
}

func newQwen2MoE(b *nn.Builder) (Model, error) {
	var c qwen2MoEConfig
	c.TieEmbeddings, c.SparseStep = new(false), 1
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	if c.SharedSize <= 0 {
		return nil, fault.New(fault.ModelLoad, "config.json: shared_expert_intermediate_size is %d, and must be positive", c.SharedSize)
	}
	rope := b.RoPEOr(c.HeadDim, 1e6)
	return c.decoder(b, func(path string, i int) block {
		b.RequireBiases(path+".self_attn", "q_proj", "k_proj", "v_proj")
		return c.layerWith(b, path, rope, c.mlp(b, path+".mlp", i))
	}), b.Err()
}

func (c *qwen2MoEConfig) mlp(b *nn.Builder, path string, layer int) feedForward {
	if c.isDense(layer) {
		return b.SwiGLU(path, c.HiddenSize, c.IntermediateSize)
	}
	return &nn.MoE{
		Route:   nn.SoftmaxRouter(b.Linear(path+".gate", c.HiddenSize, c.Experts), c.ChosenExperts, c.NormalizeWeights, nn.TopKNegated),
		Experts: b.GatedExpertsNamed(expertsBelow(path), c.Experts, c.HiddenSize, c.ExpertSize),
		Shared: &gatedShared{
			gate: b.Linear(path+".shared_expert_gate", c.HiddenSize, 1),
			mlp:  b.SwiGLU(path+".shared_expert", c.HiddenSize, c.SharedSize),
		},
	}
}

// gatedShared is a shared expert whose output counts as much as a gate says.
type gatedShared struct {
	gate nn.Linear
	mlp  feedForward
}

// Forward implements feedForward.
func (g *gatedShared) Forward(s *mlx.Scope, x mlx.Array) mlx.Array {
	y := g.mlp.Forward(s, x)
	return s.Multiply(s.Sigmoid(g.gate.Forward(s, x)), y)
}
