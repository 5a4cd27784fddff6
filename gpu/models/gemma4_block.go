package models

import (
	"math"

	"mlx-worker/gpu/load"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
)

// gemma4Block is a layer of Gemma 4: sandwich, and then what the layer is told about the tokens,
// all scaled.
type gemma4Block struct {
	attentionNorm, afterAttention nn.Norm
	mlpNorm, afterMLP             nn.Norm
	attention                     *unscaledAttention
	mlp                           feedForward
	moe                           *gemma4MoE // beside mlp; nil: none

	told *toldTokens // nil: none

	scalar *mlx.Ref // [1]
}

func (c *gemma4Config) block(b *nn.Builder, path string, layer int, rope *nn.RoPE, inputs *layerInputs) block {
	norm := func(name string) nn.Norm { return b.RMSNorm(path+"."+name, c.HiddenSize, c.RMSNormEps) }
	intermediate := c.IntermediateSize
	if c.DoubleWide && c.cacheOf(layer, c.SharedLayers) != layer {
		intermediate *= 2
	}
	l := &gemma4Block{
		attentionNorm:  norm("input_layernorm"),
		attention:      c.unscaled(b, path+".self_attn", layer, rope),
		afterAttention: norm("post_attention_layernorm"),
		mlpNorm:        norm("pre_feedforward_layernorm"),
		mlp:            b.GatedMLP(path+".mlp", c.HiddenSize, intermediate, nn.ApproximateGELU),
		afterMLP:       norm("post_feedforward_layernorm"),
		scalar:         b.Parameter(path+".layer_scalar", 1),
	}
	if c.MoE {
		l.moe = c.moe(b, path)
		l.moe.afterDense, l.moe.norm, l.moe.after = norm("post_feedforward_layernorm_1"), norm("pre_feedforward_layernorm_2"), norm("post_feedforward_layernorm_2")
	}
	if inputs != nil {
		l.told = c.toldTokens(b, path, inputs)
	}
	return l
}

// Forward implements block.
func (l *gemma4Block) Forward(c *nn.Context, x mlx.Array, layer int) mlx.Array {
	y := l.attention.forward(c, l.attentionNorm.Forward(c.Scope, x), layer)
	x = c.Add(x, l.afterAttention.Forward(c.Scope, y))
	y = l.mlp.Forward(c.Scope, l.mlpNorm.Forward(c.Scope, x))
	if l.moe != nil {
		y = l.moe.add(c.Scope, x, y)
	}
	x = c.Add(x, l.afterMLP.Forward(c.Scope, y))
	if l.told != nil {
		x = c.Add(x, l.told.forward(c.Scope, x, layer))
	}
	return c.Multiply(x, l.scalar.Array())
}

func (c *gemma4Config) unscaled(b *nn.Builder, path string, layer int, rope *nn.RoPE) *unscaledAttention {
	kind := c.LayerTypes[layer]
	a := &unscaledAttention{
		heads: c.Heads, kvHeads: c.kvHeads(kind), headDim: c.headDim(kind),
		cache: c.cacheOf(layer, c.SharedLayers), keysAreValues: c.KeysAreValues && kind == fullAttention,
		rope: rope,
	}
	a.build(b, path, c.HiddenSize, c.RMSNormEps, layer)
	return a
}

// gemma4MoE is a mixture of experts beside a block's feed-forward layer.
type gemma4MoE struct {
	afterDense, norm, after nn.Norm
	route                   nn.Router
	experts                 *nn.GatedExperts
}

func (c *gemma4Config) moe(b *nn.Builder, path string) *gemma4MoE {
	routerNorm := b.ScaledRMSNorm(path+".router.scale", c.HiddenSize, math.Pow(float64(c.HiddenSize), -0.5), c.RMSNormEps)
	gate := b.Linear(path+".router.proj", c.HiddenSize, c.Experts)
	scale := b.Parameter(path+".router.per_expert_scale", c.Experts)
	return &gemma4MoE{
		route: func(s *mlx.Scope, x mlx.Array) (indices, weights mlx.Array) {
			scores := gate.Forward(s, routerNorm.Forward(s, x))
			indices = nn.TopK(s, scores, c.TopK)
			weights = s.Softmax(s.TakeAlongAxis(scores, indices, -1), -1)
			return indices, s.Multiply(weights, s.Take(scale.Array(), indices, 0))
		},
		experts: c.experts(b, path+".experts"),
	}
}

// experts takes the experts under mlx-lm's names, or as they are published.
func (c *gemma4Config) experts(b *nn.Builder, path string) *nn.GatedExperts {
	var e *nn.GatedExperts
	if b.Has(path + ".gate_up_proj") {
		for _, name := range []string{"gate_up_proj", "down_proj"} {
			b.Redescribe(path+"."+name, func(a load.Array) load.Array { a.Name += ".weight"; return a })
		}
		e = b.SplitGatedExperts(path+".gate_up_proj", nn.Halves, path+".down_proj", c.Experts, c.HiddenSize, c.ExpertHidden)
	} else {
		e = b.GatedExperts(path+".switch_glu", c.Experts, c.HiddenSize, c.ExpertHidden)
	}
	e.Activate = nn.Gated(nn.ApproximateGELU)
	return e
}

// add is what a block adds: the dense layer's output y and that of the experts for x, each
// normalised.
func (m *gemma4MoE) add(s *mlx.Scope, x, y mlx.Array) mlx.Array {
	indices, weights := m.route(s, x)
	routed := nn.WeightedSum(s, m.experts.Forward(s, m.norm.Forward(s, x), indices), weights)
	return s.Add(m.afterDense.Forward(s, y), m.after.Forward(s, routed))
}
