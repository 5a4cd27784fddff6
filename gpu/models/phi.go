package models

import (
	"cmp"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
)

// newPhi is Phi 1 to 2: LayerNorm, biases everywhere, heads that are rotated in part, and
// attention beside an MLP without a gate.
func newPhi(b *nn.Builder) (Model, error) {
	var c struct {
		dimensions
		NormEps     float32 `json:"layer_norm_eps"`
		RotatedPart float64 `json:"partial_rotary_factor"`
	}
	c.HiddenSize, c.Layers, c.IntermediateSize, c.Heads, c.VocabSize = 2560, 32, 10240, 32, 51200
	c.NormEps, c.RotatedPart = 1e-5, 0.4
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
	norm := func(path string) nn.Norm { return b.LayerNorm(path, c.HiddenSize, c.NormEps) }
	return c.decoder(b, false, norm("model.final_layernorm"), func(path string, _ int) block {
		b.RequireBiases(path+".self_attn", "q_proj", "k_proj", "v_proj", "dense")
		b.RequireBiases(path+".mlp", "fc1", "fc2")
		l := &phiBlock{parallel{
			norm:      norm(path + ".input_layernorm"),
			attention: b.AttentionOf(path+".self_attn", []string{"q_proj", "k_proj", "v_proj"}, "dense", c.HiddenSize, c.Heads, c.KVHeads, c.HeadDim, rope),
			mlp:       b.MLP(path+".mlp", "fc1", "fc2", c.HiddenSize, c.IntermediateSize, nn.ApproximateGELU),
		}}
		l.attention.Scores.Float32 = true
		return l
	}), b.Err()
}

// phiBlock is parallel with the sum in another order.
type phiBlock struct{ parallel }

// Forward implements block.
func (l *phiBlock) Forward(c *nn.Context, x mlx.Array, layer int) mlx.Array {
	y := l.norm.Forward(c.Scope, x)
	return c.Add(c.Add(l.attention.Forward(c, y, layer), l.mlp.Forward(c.Scope, y)), x)
}
