package models

import (
	"cmp"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
)

// cohereConfig is the part of config.json that Command R and R7B read.
type cohereConfig struct {
	llamaConfig
	NormEps       float32 `json:"layer_norm_eps"`
	LogitScale    float64 `json:"logit_scale"`
	NormalizeQK   bool    `json:"use_qk_norm"`            // of cohere
	WindowPattern int     `json:"sliding_window_pattern"` // of cohere2: the last of every so many layers is global
}

// read fills c, in which defaults are set, from the configuration.
func (c *cohereConfig) read(b *nn.Builder) error {
	c.NormEps, c.LogitScale = 1e-5, 0.0625
	if err := b.Config.Decode(c); err != nil {
		return err
	}
	if err := positive("layer_norm_eps", c.NormEps); err != nil {
		return err
	}
	c.RMSNormEps = c.NormEps
	if c.WindowPattern != 0 {
		if err := c.completeWindowPattern(c.WindowPattern); err != nil {
			return err
		}
	}
	return c.complete()
}

// cohere builds the model. theta is what it means that rope_theta is absent.
func (c *cohereConfig) cohere(b *nn.Builder, theta float64, attention func(path string, layer int, rope *nn.RoPE) *nn.Attention) (Model, error) {
	options := b.RoPEOptions(c.HeadDim)
	options.Traditional, options.Theta = true, cmp.Or(options.Theta, theta)
	rope := b.RoPEOf(options)
	m := c.dimensions.decoder(b, true, b.LayerNorm("model.norm", c.HiddenSize, c.NormEps), func(path string, layer int) block {
		return &phiBlock{parallel{
			norm:      b.LayerNorm(path+".input_layernorm", c.HiddenSize, c.NormEps),
			attention: attention(path, layer, rope),
			mlp:       b.SwiGLU(path+".mlp", c.HiddenSize, c.IntermediateSize),
		}}
	})
	m.logitScale = c.LogitScale
	m.caches = c.windows()
	return m, b.Err()
}

// newCohere is Command R and R+.
func newCohere(b *nn.Builder) (Model, error) {
	var c cohereConfig
	if err := c.read(b); err != nil {
		return nil, err
	}
	return c.cohere(b, 8e6, func(path string, _ int, rope *nn.RoPE) *nn.Attention {
		a := c.attention(b, path, rope)
		if c.NormalizeQK {
			a.Prepare = nn.NormalizeHeads(
				b.StackedHeadLayerNorm(path+".self_attn.q_norm", c.Heads, c.HeadDim, c.NormEps),
				b.StackedHeadLayerNorm(path+".self_attn.k_norm", c.KVHeads, c.HeadDim, c.NormEps),
			)
		}
		return a
	})
}

// newCohere2 is Command R7B and A, of which layers that see all know no positions.
func newCohere2(b *nn.Builder) (Model, error) {
	c := cohereConfig{WindowPattern: 4}
	c.SlidingWindow = 4096
	if err := c.read(b); err != nil {
		return nil, err
	}
	return c.cohere(b, 50000, func(path string, layer int, rope *nn.RoPE) *nn.Attention {
		if c.LayerTypes[layer] == fullAttention {
			rope = nil
		}
		a := c.attention(b, path, rope)
		a.Finish, a.Gate = halfToFloat32, backToInput
		return a
	})
}

// halfToFloat32 makes attention over float16 compute in float32.
func halfToFloat32(c *nn.Context, queries, keys nn.Segmented) (nn.Segmented, nn.Segmented) {
	if c.Err() != nil || queries[0].DType() != mlx.Float16 {
		return queries, keys
	}
	wide := make(nn.Segmented, len(queries))
	for i, q := range queries {
		wide[i] = c.AsType(q, mlx.Float32)
	}
	return wide, keys
}

// backToInput gives attention's output y the dtype of its input.
func backToInput(c *nn.Context, x, y mlx.Array) mlx.Array {
	if c.Err() != nil {
		return mlx.Array{}
	}
	return c.AsType(y, x.DType())
}
