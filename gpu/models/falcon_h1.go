package models

import (
	"math"

	"mlx-worker/gpu/cache"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// falconH1Config is Falcon H1's: blocks with a Mamba 2 layer and an attention side by side.
type falconH1Config struct {
	dimensions
	RMSNormEps     float32 `json:"rms_norm_eps"`
	TieEmbeddings  *bool   `json:"tie_word_embeddings"` // nil: true
	EmbeddingScale float64 `json:"embedding_multiplier"`
	LogitScale     float64 `json:"lm_head_multiplier"`

	MambaSize    int  `json:"mamba_d_ssm"`
	MambaHeads   int  `json:"mamba_n_heads"`
	MambaHeadDim int  `json:"mamba_d_head"`
	MambaGroups  int  `json:"mamba_n_groups"`
	StateSize    int  `json:"mamba_d_state"`
	Kernel       int  `json:"mamba_d_conv"`
	Normalized   bool `json:"mamba_rms_norm"`
	NormFirst    bool `json:"mamba_norm_before_gate"`
}

func (c *falconH1Config) read(b *nn.Builder) (mamba2Size, error) {
	size := mamba2Size{steps: stepLimit{0, math.Inf(1)}}
	if err := b.Config.Decode(c); err != nil {
		return size, err
	}
	if err := c.dimensions.complete(); err != nil {
		return size, err
	}
	if err := positive("rms_norm_eps", c.RMSNormEps); err != nil {
		return size, err
	}
	if err := positive("embedding_multiplier", float32(c.EmbeddingScale)); err != nil {
		return size, err
	}
	size.heads, size.headDim, size.groups, size.state, size.kernel = c.MambaHeads, c.MambaHeadDim, c.MambaGroups, c.StateSize, c.Kernel
	if err := size.complete("mamba_n_heads", "mamba_d_head", "mamba_n_groups", "mamba_d_state", "mamba_d_conv"); err != nil {
		return size, err
	}
	if size.inner() != c.MambaSize {
		return size, fault.New(fault.ModelLoad, "config.json: mamba_d_ssm is %d; accepted: mamba_n_heads times mamba_d_head, %d", c.MambaSize, size.inner())
	}
	// Published weights lack the configuration's multipliers, of which mlx-lm applies all but
	// key_multiplier: what it makes of them is not the model.
	if b.HasPublishedConv("model.layers.0.mamba.conv1d") {
		return size, fault.New(fault.ModelLoad, "a falcon_h1 model as it is published; accepted: one converted by mlx_lm.convert")
	}
	return size, nil
}

func newFalconH1(b *nn.Builder) (Model, error) {
	c := falconH1Config{ // mlx-lm's defaults
		dimensions:     dimensions{HeadDim: 64},
		RMSNormEps:     1e-5,
		EmbeddingScale: 5.656854249492381, LogitScale: 0.0390625,
		MambaSize: 1536, MambaHeads: 24, MambaHeadDim: 64, MambaGroups: 1, StateSize: 128, Kernel: 4,
	}
	size, err := c.read(b)
	if err != nil {
		return nil, err
	}
	rope := b.RoPEOr(c.HeadDim, 1e11)
	tied := c.TieEmbeddings == nil || *c.TieEmbeddings
	norm := b.RMSNorm("model.final_layernorm", c.HiddenSize, c.RMSNormEps)
	m := c.decoder(b, tied, norm, func(path string, _ int) block {
		mamba := size.build(b, path+".mamba", c.HiddenSize, nil)
		if c.Normalized {
			mamba.norm, mamba.normFirst = b.RMSNorm(path+".mamba.norm", size.inner(), c.RMSNormEps), c.NormFirst
		}
		return &falconH1Block{
			norm:      b.RMSNorm(path+".input_layernorm", c.HiddenSize, c.RMSNormEps),
			mamba:     mamba,
			attention: c.attention(b, path, rope),
			mlpNorm:   b.RMSNorm(path+".pre_ff_layernorm", c.HiddenSize, c.RMSNormEps),
			mlp:       b.SwiGLU(path+".feed_forward", c.HiddenSize, c.IntermediateSize),
		}
	})
	for range c.Layers {
		m.caches = append(m.caches, cache.Layer{Recurrent: true}, cache.Layer{})
	}
	if tied { // the table is stored with the embedding's scale
		m.logitScale = c.LogitScale / c.EmbeddingScale
	}
	return m, b.Err()
}

// falconH1Block is x + mamba(norm(x)) + attention(norm(x)), then x + mlp(norm(x)). It has two
// caches.
type falconH1Block struct {
	norm, mlpNorm    nn.Norm
	mamba, attention mixer
	mlp              feedForward
}

// Forward implements block.
func (l *falconH1Block) Forward(c *nn.Context, x mlx.Array, layer int) mlx.Array {
	normal := l.norm.Forward(c.Scope, x)
	x = c.Add(x, l.mamba.Forward(c, normal, 2*layer))
	x = c.Add(x, l.attention.Forward(c, normal, 2*layer+1))
	return c.Add(x, l.mlp.Forward(c.Scope, l.mlpNorm.Forward(c.Scope, x)))
}
