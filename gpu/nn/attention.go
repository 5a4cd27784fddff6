package nn

import (
	"math"

	"mlx-worker/gpu/mlx"
)

// AttentionConfig are the sizes of grouped-query attention.
type AttentionConfig struct {
	Hidden, Heads, KVHeads, HeadDim int
}

// Attention is causal grouped-query self-attention with rotary embeddings.
type Attention struct {
	AttentionConfig
	qkv, o Linear
	rope   *RoPE
	scale  float32
}

// Attention builds q_proj, k_proj, v_proj and o_proj below path.
func (b *Builder) Attention(path string, c AttentionConfig, rope *RoPE) *Attention {
	queries, keys := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	return &Attention{
		AttentionConfig: c,
		qkv:             b.Parallel([]string{path + ".q_proj", path + ".k_proj", path + ".v_proj"}, c.Hidden, queries, keys, keys),
		o:               b.Linear(path+".o_proj", queries, c.Hidden),
		rope:            rope,
		scale:           float32(math.Pow(float64(c.HeadDim), -0.5)),
	}
}

// Forward attends from x, [1, L, hidden], to the layer's cache extended by x.
func (a *Attention) Forward(c *Context, x mlx.Array, layer int) mlx.Array {
	if c.Err() != nil {
		return mlx.Array{}
	}
	batch, length := x.Dim(0), x.Dim(1)
	// All heads, [B, q heads | k heads | v heads, L, head_dim]; queries and keys share a rope.
	heads := c.Reshape(a.qkv.Forward(c.Scope, x), batch, length, a.Heads+2*a.KVHeads, a.HeadDim)
	heads = c.Transpose(heads, 0, 2, 1, 3)
	part := func(of mlx.Array, from, count int) mlx.Array {
		return c.Slice(of, []int{0, from, 0, 0}, []int{batch, from + count, length, a.HeadDim})
	}
	kv := c.Caches[layer]
	rotated := a.rope.Forward(c.Scope, part(heads, 0, a.Heads+a.KVHeads), kv.Offset())
	keys, values := kv.Update(c.Scope, part(rotated, a.Heads, a.KVHeads), part(heads, a.Heads+a.KVHeads, a.KVHeads))
	mask := mlx.NoMask
	if length > 1 {
		mask = mlx.CausalMask
	}
	y := c.Scope.Attention(part(rotated, 0, a.Heads), keys, values, a.scale, mask)
	y = c.Reshape(c.Transpose(y, 0, 2, 1, 3), batch, length, a.Heads*a.HeadDim)
	return a.o.Forward(c.Scope, y)
}

// SwiGLU is the gated feed-forward layer down(silu(gate(x)) * up(x)).
type SwiGLU struct {
	gateUp, down Linear
	intermediate int
}

// SwiGLU builds gate_proj, up_proj and down_proj below path.
func (b *Builder) SwiGLU(path string, hidden, intermediate int) *SwiGLU {
	return &SwiGLU{
		gateUp:       b.Parallel([]string{path + ".gate_proj", path + ".up_proj"}, hidden, intermediate, intermediate),
		down:         b.Linear(path+".down_proj", intermediate, hidden),
		intermediate: intermediate,
	}
}

// Forward applies the layer to x, [..., hidden].
func (m *SwiGLU) Forward(s *mlx.Scope, x mlx.Array) mlx.Array {
	both := m.gateUp.Forward(s, x)
	gate := s.SliceAxis(both, -1, 0, m.intermediate)
	up := s.SliceAxis(both, -1, m.intermediate, 2*m.intermediate)
	activated := s.Multiply(gate, s.Sigmoid(gate))
	return m.down.Forward(s, s.Multiply(activated, up))
}
