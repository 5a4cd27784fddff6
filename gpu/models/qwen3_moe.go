package models

import (
	"slices"

	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// qwen3MoEConfig is Qwen 3's with a mixture of experts in some layers.
type qwen3MoEConfig struct {
	llamaConfig
	Experts          int   `json:"num_experts"`
	ChosenExperts    int   `json:"num_experts_per_tok"`
	ExpertSize       int   `json:"moe_intermediate_size"`
	SparseStep       int   `json:"decoder_sparse_step"` // every so many layers have experts
	DenseLayers      []int `json:"mlp_only_layers"`     // have none
	NormalizeWeights bool  `json:"norm_topk_prob"`
}

func (c *qwen3MoEConfig) complete() error {
	if err := c.llamaConfig.complete(); err != nil {
		return err
	}
	if c.Experts == 0 {
		return nil
	}
	if c.ExpertSize <= 0 || c.SparseStep <= 0 {
		return fault.New(fault.ModelLoad, "config.json: moe_intermediate_size is %d and decoder_sparse_step %d, and both must be positive", c.ExpertSize, c.SparseStep)
	}
	return checkExperts("num_experts", c.Experts, "num_experts_per_tok", c.ChosenExperts)
}

// newQwen3VLMoE is the language model of Qwen 3 VL with experts.
func newQwen3VLMoE(b *nn.Builder) (Model, error) {
	if err := useText(b); err != nil {
		return nil, err
	}
	return newQwen3MoE(b)
}

func newQwen3MoE(b *nn.Builder) (Model, error) {
	c := qwen3MoEConfig{SparseStep: 1}
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	rope := b.RoPE(c.HeadDim)
	return c.decoder(b, func(path string, i int) block {
		l := c.layerWith(b, path, rope, c.mlp(b, path+".mlp", i))
		l.attention.Prepare = c.normalizeHeads(b, path)
		return l
	}), b.Err()
}

func (c *qwen3MoEConfig) mlp(b *nn.Builder, path string, layer int) feedForward {
	if c.isDense(layer) {
		return b.SwiGLU(path, c.HiddenSize, c.IntermediateSize)
	}
	return &nn.MoE{
		Route:   nn.SoftmaxRouter(b.Linear(path+".gate", c.HiddenSize, c.Experts), c.ChosenExperts, c.NormalizeWeights, nn.TopK),
		Experts: c.experts(b, path),
	}
}

// experts builds those of the layer at path. Qwen 3 VL has published them as one array, the other
// way around.
func (c *qwen3MoEConfig) experts(b *nn.Builder, path string) *nn.GatedExperts {
	if published := path + ".experts"; b.Has(published + ".gate_up_proj") {
		return b.TransposedGatedExperts(published, c.Experts, c.HiddenSize, c.ExpertSize)
	}
	return b.GatedExpertsNamed(expertsBelow(path), c.Experts, c.HiddenSize, c.ExpertSize)
}

// isDense reports whether a layer has no experts.
func (c *qwen3MoEConfig) isDense(layer int) bool {
	return c.Experts == 0 || slices.Contains(c.DenseLayers, layer) || (layer+1)%c.SparseStep != 0
}
