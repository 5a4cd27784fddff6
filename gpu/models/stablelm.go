package models

import (
	"cmp"
	"fmt"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
)

// stableLMConfig is the part of config.json that StableLM reads.
type stableLMConfig struct {
	dimensions
	NormEps        float32 `json:"layer_norm_eps"`
	RotatedPart    float64 `json:"partial_rotary_factor"`
	Parallel       bool    `json:"use_parallel_residual"`
	NormalizeHeads bool    `json:"qk_layernorm"`
}

// newStableLM is StableLM 2: LayerNorm, heads that are rotated in part, and blocks whose attention
// and MLP may be side by side.
func newStableLM(b *nn.Builder) (Model, error) {
	var c stableLMConfig
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := cmp.Or(c.complete(), positive("layer_norm_eps", c.NormEps)); err != nil {
		return nil, err
	}
	options, err := partialRoPE(b, c.HeadDim, c.RotatedPart)
	if err != nil {
		return nil, err
	}
	rope := b.RoPEOf(options)
	return c.decoder(b, false, c.norm(b, "model.norm"), func(path string, _ int) block {
		norm, mlp := c.norm(b, path+".input_layernorm"), b.SwiGLU(path+".mlp", c.HiddenSize, c.IntermediateSize)
		attention := c.attention(b, path, rope)
		attention.Scores.Float32 = true
		if c.NormalizeHeads {
			attention.Prepare = nn.NormalizeHeads(c.headNorm(b, path+".self_attn.q_layernorm", c.Heads), c.headNorm(b, path+".self_attn.k_layernorm", c.KVHeads))
		}
		if c.Parallel {
			return &parallel{norm: norm, attention: attention, mlp: mlp}
		}
		return &preNorm{attentionNorm: norm, attention: attention, mlpNorm: c.norm(b, path+".post_attention_layernorm"), mlp: mlp}
	}), b.Err()
}

func (c *stableLMConfig) norm(b *nn.Builder, path string) nn.Norm {
	return b.LayerNorm(path, c.HiddenSize, c.NormEps)
}

func (c *stableLMConfig) headNorm(b *nn.Builder, path string, heads int) nn.Norm {
	paths := make([]string, heads)
	for i := range paths {
		paths[i] = fmt.Sprintf("%s.norms.%d", path, i)
	}
	return b.HeadLayerNorm(paths, c.HeadDim, c.NormEps)
}

// parallel is a block whose attention and MLP see the same: x + attention(norm(x)) + mlp(norm(x)).
type parallel struct {
	norm      nn.Norm
	attention *nn.Attention
	mlp       feedForward
}

// Forward implements block.
func (l *parallel) Forward(c *nn.Context, x mlx.Array, layer int) mlx.Array {
	y := l.norm.Forward(c.Scope, x)
	return c.Add(c.Add(x, l.attention.Forward(c, y, layer)), l.mlp.Forward(c.Scope, y))
}
