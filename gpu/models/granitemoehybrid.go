package models

import (
	"slices"

	"mlx-worker/gpu/cache"
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// graniteHybridConfig is Granite 4's: Mamba 2 layers with an attention now and then, dense or with
// experts.
type graniteHybridConfig struct {
	graniteMoEConfig
	Mixers     []string  `json:"layer_types"`
	SharedSize int       `json:"shared_intermediate_size"`
	Positions  string    `json:"position_embedding_type"` // rope or nope
	Heads      int       `json:"mamba_n_heads"`
	HeadDim    int       `json:"mamba_d_head"`
	Groups     int       `json:"mamba_n_groups"`
	StateSize  int       `json:"mamba_d_state"`
	Kernel     int       `json:"mamba_d_conv"`
	StepLimit  stepLimit `json:"time_step_limit"`
}

const (
	mambaLayer     = "mamba"
	attentionLayer = "attention"
)

func (c *graniteHybridConfig) read(b *nn.Builder) error {
	if err := b.Config.Decode(c); err != nil {
		return err
	}
	if err := c.graniteMoEConfig.complete(); err != nil {
		return err
	}
	if len(c.Mixers) != c.Layers {
		return fault.New(fault.ModelLoad, "config.json: layer_types has %d entries for %d layers", len(c.Mixers), c.Layers)
	}
	for _, kind := range c.Mixers {
		if kind != mambaLayer && kind != attentionLayer {
			return fault.New(fault.ModelLoad, "config.json: layer_types has %q; accepted: %s, %s", kind, mambaLayer, attentionLayer)
		}
	}
	if c.Positions != "rope" && c.Positions != "nope" {
		return fault.New(fault.ModelLoad, "config.json: position_embedding_type is %q; accepted: rope, nope", c.Positions)
	}
	if c.Experts > 0 && c.SharedSize <= 0 {
		return fault.New(fault.ModelLoad, "config.json: shared_intermediate_size is %d, and must be positive", c.SharedSize)
	}
	if c.Experts > 0 {
		return checkExperts("num_local_experts", c.Experts, "num_experts_per_tok", c.ChosenExperts)
	}
	return nil
}

func (c *graniteHybridConfig) mamba() mamba2Size {
	return mamba2Size{heads: c.Heads, headDim: c.HeadDim, groups: c.Groups, state: c.StateSize, kernel: c.Kernel, steps: c.StepLimit}
}

func newGraniteMoEHybrid(b *nn.Builder) (Model, error) {
	c := graniteHybridConfig{Positions: "rope", StepLimit: stepLimit{0.001, 100}}
	if err := c.read(b); err != nil {
		return nil, err
	}
	size := c.mamba()
	if slices.Contains(c.Mixers, mambaLayer) {
		if err := size.complete("mamba_n_heads", "mamba_d_head", "mamba_n_groups", "mamba_d_state", "mamba_d_conv"); err != nil {
			return nil, err
		}
	}
	var rope *nn.RoPE
	if c.Positions == "rope" {
		rope = b.RoPE(c.dimensions.HeadDim)
	}
	m := c.decoder(b, func(path string, i int) block {
		l := &hybrid{
			mixerNorm:     b.RMSNorm(path+".input_layernorm", c.HiddenSize, c.RMSNormEps),
			mlpNorm:       b.RMSNorm(path+".post_attention_layernorm", c.HiddenSize, c.RMSNormEps),
			mlp:           c.mlp(b, path),
			residualScale: c.ResidualScale,
		}
		if c.Mixers[i] == mambaLayer {
			l.mixer = size.build(b, path+".mamba", c.HiddenSize, b.RMSNorm(path+".mamba.norm", size.inner(), c.RMSNormEps))
			return l
		}
		attention := c.attention(b, path, rope)
		attention.Scores.Scale = float32(c.AttentionScale)
		l.mixer = attention
		return l
	})
	m.caches = nil
	for _, kind := range c.Mixers {
		m.caches = append(m.caches, cache.Layer{Recurrent: kind == mambaLayer})
	}
	m.embeddingScale, m.logitDivisor = c.EmbeddingScale, c.LogitDivisor
	return m, b.Err()
}

// mlp builds the feed-forward part of the block at path. A dense one is published under the name
// of the experts' shared one.
func (c *graniteHybridConfig) mlp(b *nn.Builder, path string) feedForward {
	shared := path + ".shared_mlp"
	joined := []string{"input_linear"}
	switch {
	case c.Experts > 0:
		moe := path + ".block_sparse_moe"
		return &nn.MoE{
			Route:   nn.ChosenSoftmaxRouter(b.Linear(moe+".router.layer", c.HiddenSize, c.Experts), c.ChosenExperts, nn.TopK),
			Experts: c.experts(b, moe),
			Shared:  b.SwiGLUOf(shared, joined, "output_linear", c.HiddenSize, c.SharedSize),
		}
	case b.Has(shared + ".input_linear.weight"):
		return b.SwiGLUOf(shared, joined, "output_linear", c.HiddenSize, c.IntermediateSize)
	}
	return b.SwiGLU(path+".mlp", c.HiddenSize, c.IntermediateSize)
}
