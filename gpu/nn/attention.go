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
	q, k, v, o Linear
	rope       *RoPE
	scale      float32
}

// Attention builds q_proj, k_proj, v_proj and o_proj below path.
func (b *Builder) Attention(path string, c AttentionConfig, rope *RoPE) *Attention {
	return &Attention{
		AttentionConfig: c,
		q:               b.Linear(path+".q_proj", c.Hidden, c.Heads*c.HeadDim),
		k:               b.Linear(path+".k_proj", c.Hidden, c.KVHeads*c.HeadDim),
		v:               b.Linear(path+".v_proj", c.Hidden, c.KVHeads*c.HeadDim),
		o:               b.Linear(path+".o_proj", c.Heads*c.HeadDim, c.Hidden),
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
	split := func(y mlx.Array, heads int) mlx.Array {
		return c.Transpose(c.Reshape(y, batch, length, heads, a.HeadDim), 0, 2, 1, 3)
	}
	kv := c.Caches[layer]
	offset := kv.Offset()
	queries := a.rope.Forward(c.Scope, split(a.q.Forward(c.Scope, x), a.Heads), offset)
	keys := a.rope.Forward(c.Scope, split(a.k.Forward(c.Scope, x), a.KVHeads), offset)
	values := split(a.v.Forward(c.Scope, x), a.KVHeads)
	keys, values = kv.Update(c.Scope, keys, values)
	mask := mlx.NoMask
	if length > 1 {
		mask = mlx.CausalMask
	}
	y := c.Scope.Attention(queries, keys, values, a.scale, mask)
	y = c.Reshape(c.Transpose(y, 0, 2, 1, 3), batch, length, a.Heads*a.HeadDim)
	return a.o.Forward(c.Scope, y)
}

// SwiGLU is the gated feed-forward layer down(silu(gate(x)) * up(x)).
type SwiGLU struct{ gate, up, down Linear }

// SwiGLU builds gate_proj, up_proj and down_proj below path.
func (b *Builder) SwiGLU(path string, hidden, intermediate int) *SwiGLU {
	return &SwiGLU{
		gate: b.Linear(path+".gate_proj", hidden, intermediate),
		up:   b.Linear(path+".up_proj", hidden, intermediate),
		down: b.Linear(path+".down_proj", intermediate, hidden),
	}
}

// Forward applies the layer to x, [..., hidden].
func (m *SwiGLU) Forward(s *mlx.Scope, x mlx.Array) mlx.Array {
	gate := m.gate.Forward(s, x)
	activated := s.Multiply(gate, s.Sigmoid(gate))
	return m.down.Forward(s, s.Multiply(activated, m.up.Forward(s, x)))
}
