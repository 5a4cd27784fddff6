package models

import (
	"math"

	"mlx-worker/gpu/cache"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// gatedDeltaSize is the size of a gatedDeltaNet, under the keys of config.json.
type gatedDeltaSize struct {
	Heads    int `json:"linear_num_value_heads"`
	KeyHeads int `json:"linear_num_key_heads"`
	KeyDim   int `json:"linear_key_head_dim"`
	ValueDim int `json:"linear_value_head_dim"`
	Kernel   int `json:"linear_conv_kernel_dim"`
}

func (d *gatedDeltaSize) complete() error {
	for _, field := range []struct {
		name         string
		value, least int
	}{
		{"linear_num_value_heads", d.Heads, 1}, {"linear_num_key_heads", d.KeyHeads, 1}, {"linear_key_head_dim", d.KeyDim, 1},
		{"linear_value_head_dim", d.ValueDim, 1}, {"linear_conv_kernel_dim", d.Kernel, 2},
	} {
		if field.value < field.least {
			return fault.New(fault.ModelLoad, "config.json: %s is %d, and must be at least %d", field.name, field.value, field.least)
		}
	}
	if d.Heads%d.KeyHeads != 0 {
		return fault.New(fault.ModelLoad, "config.json: linear_num_value_heads is %d, and must be a multiple of linear_num_key_heads, %d", d.Heads, d.KeyHeads)
	}
	return nil
}

// keys and values are the sizes of all heads.
func (d *gatedDeltaSize) keys() int   { return d.KeyHeads * d.KeyDim }
func (d *gatedDeltaSize) values() int { return d.Heads * d.ValueDim }

// gatedDeltaNet is a linear attention (Yang et al., 2024): a short convolution, the gated delta
// rule, and a normalisation with a gate.
type gatedDeltaNet struct {
	gatedDeltaSize
	in     nn.Linear // to q heads | k heads | v heads | gates | strengths | decays
	conv   *nn.CausalConv
	rule   *nn.DeltaRule
	rates  *mlx.Ref // float32 [heads]
	dtBias *mlx.Ref // [heads]
	norm   nn.Norm
	out    nn.Linear
	silu   nn.Activation
}

// build makes the layer at path, of a projection that the caller has built.
func (d gatedDeltaSize) build(b *nn.Builder, path string, in nn.Linear, hidden int, eps float32, rule *nn.DeltaRule) *gatedDeltaNet {
	n := &gatedDeltaNet{
		gatedDeltaSize: d, in: in, rule: rule,
		conv:   b.CausalConv(path+".conv1d", 2*d.keys()+d.values(), d.Kernel),
		dtBias: b.Parameter(path+".dt_bias", d.Heads),
		norm:   b.RMSNorm(path+".norm", d.ValueDim, eps),
		out:    b.Linear(path+".out_proj", d.values(), hidden),
		silu:   b.SiLU(),
	}
	log := b.Vector(path+".A_log", d.Heads)
	n.rates = b.Derive(func(s *mlx.Scope) mlx.Array { return s.Negative(s.Exp(log.Array())) })
	return n
}

// Forward implements mixer.
func (n *gatedDeltaNet) Forward(c *nn.Context, x mlx.Array, layer int) mlx.Array {
	all := n.in.Forward(c.Scope, x)
	if c.Err() != nil {
		return mlx.Array{}
	}
	tokens, at := x.Dim(1), 0
	next := func(width int) mlx.Array {
		at += width
		return c.SliceAxis(all, -1, at-width, at)
	}
	mixed, gates, strengths, decays := next(2*n.keys()+n.values()), next(n.values()), next(n.Heads), next(n.Heads)
	strengths = c.Sigmoid(strengths)
	decays = c.Multiply(n.rates.Array(), nn.Softplus(c.Scope, c.Add(decays, n.dtBias.Array())))
	y := c.Recur([]mlx.Array{mixed, decays, strengths}, func(g cache.Segment, in []mlx.Array) mlx.Array {
		return n.recur(c.Scope, g, layer, in[0], in[1], in[2])
	})
	if c.Err() != nil {
		return mlx.Array{}
	}
	normal := c.AsType(n.norm.Forward(c.Scope, y), mlx.Float32)
	gates = n.silu(c.Scope, c.AsType(c.Reshape(gates, 1, tokens, n.Heads, n.ValueDim), mlx.Float32))
	y = c.AsType(c.Multiply(gates, normal), y.DType())
	return n.out.Forward(c.Scope, c.Reshape(y, 1, tokens, n.values()))
}

// recur extends the state of a segment by its tokens, [rows, n, ...].
func (n *gatedDeltaNet) recur(s *mlx.Scope, g cache.Segment, layer int, mixed, decays, strengths mlx.Array) mlx.Array {
	const epsilon = 1e-6 // of the sum of squares of a head
	state := nn.StateOf(g, layer, 2)
	mixed, before := n.conv.Forward(s, mixed, state[0])
	mixed = n.silu(s, mixed)
	if s.Err() != nil {
		return mlx.Array{}
	}
	rows, length := mixed.Dim(0), mixed.Dim(1)
	heads := func(from, count, dim int) mlx.Array {
		return s.Reshape(s.SliceAxis(mixed, -1, from, from+count*dim), rows, length, count, dim)
	}
	normal := func(x mlx.Array, scale float64) mlx.Array {
		unit := s.RMSNorm(x, mlx.Array{}, float32(epsilon/float64(n.KeyDim)))
		return s.Multiply(unit, s.Scalar(scale, mixed.DType()))
	}
	q := normal(heads(0, n.KeyHeads, n.KeyDim), 1/float64(n.KeyDim))
	k := normal(heads(n.keys(), n.KeyHeads, n.KeyDim), math.Pow(float64(n.KeyDim), -0.5))
	v := heads(2*n.keys(), n.Heads, n.ValueDim)
	y, matrix := n.rule.Forward(s, q, k, v, decays, strengths, state[1])
	g.SetState(layer, before, matrix)
	return y
}
