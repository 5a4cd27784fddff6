package nn

import "mlx-worker/gpu/mlx"

// Attention is causal self-attention of heads that share keys and values in groups.
type Attention struct {
	Heads, KVHeads, HeadDim int

	QKV    Linear // to q heads | k heads | v heads of each token
	Out    Linear
	RoPE   *RoPE // nil: no positions
	Scores Scores

	Prepare Prepare // nil: nothing
	// Finish, if set, changes queries and keys after they got their positions.
	Finish func(c *Context, queries, keys Segmented) (Segmented, Segmented)
	// Gate, if set, changes what goes into Out, [1, T, heads * head_dim], by the layer's input.
	Gate func(c *Context, x, y mlx.Array) mlx.Array
}

// Prepare changes the heads of all tokens before they get their positions: q [T, heads,
// head_dim], k and v [T, kv_heads, head_dim].
type Prepare func(c *Context, q, k, v mlx.Array) (mlx.Array, mlx.Array, mlx.Array)

// Attention builds q_proj, k_proj, v_proj and o_proj below path, with biases where the checkpoint
// has them. Scores are scaled by head_dim to the power of -1/2.
func (b *Builder) Attention(path string, hidden, heads, kvHeads, headDim int, rope *RoPE) *Attention {
	return b.AttentionOf(path, []string{"q_proj", "k_proj", "v_proj"}, "o_proj", hidden, heads, kvHeads, headDim, rope)
}

// NormalizeHeads is a Prepare that normalises each query and key head.
func NormalizeHeads(queries, keys Norm) Prepare {
	return func(c *Context, q, k, v mlx.Array) (mlx.Array, mlx.Array, mlx.Array) {
		return queries.Forward(c.Scope, q), keys.Forward(c.Scope, k), v
	}
}

// NormalizeAllHeads is a Prepare that normalises the queries of a token as one, and its keys.
func NormalizeAllHeads(queries, keys Norm) Prepare {
	flat := func(c *Context, n Norm, x mlx.Array) mlx.Array {
		if c.Err() != nil {
			return mlx.Array{}
		}
		tokens, heads, dim := x.Dim(0), x.Dim(1), x.Dim(2)
		return c.Reshape(n.Forward(c.Scope, c.Reshape(x, tokens, heads*dim)), tokens, heads, dim)
	}
	return func(c *Context, q, k, v mlx.Array) (mlx.Array, mlx.Array, mlx.Array) {
		return flat(c, queries, q), flat(c, keys, k), v
	}
}

// NormalizeRotated is a Finish that normalises each query and key head.
func NormalizeRotated(queries, keys Norm) func(c *Context, queries, keys Segmented) (Segmented, Segmented) {
	each := func(c *Context, n Norm, x Segmented) Segmented {
		out := make(Segmented, len(x))
		for i := range x {
			out[i] = n.Forward(c.Scope, x[i])
		}
		return out
	}
	return func(c *Context, q, k Segmented) (Segmented, Segmented) { return each(c, queries, q), each(c, keys, k) }
}

// Forward attends from x, [1, T, hidden], to the layer's caches extended by x.
func (a *Attention) Forward(c *Context, x mlx.Array, layer int) mlx.Array {
	if c.Err() != nil {
		return mlx.Array{}
	}
	all := a.Heads + 2*a.KVHeads
	heads := c.Reshape(a.QKV.Forward(c.Scope, x), x.Dim(1), all, a.HeadDim)
	queries, keys, values := a.positioned(c, heads)
	if a.Finish != nil {
		queries, keys = a.Finish(c, queries, keys)
	}
	y := c.Attend(layer, queries, keys, values, a.Scores)
	if a.Gate != nil {
		y = a.Gate(c, x, y)
	}
	return a.Out.Forward(c.Scope, y)
}

// positioned takes the heads of all tokens apart. Where nothing tells queries from keys, they
// share one rope.
func (a *Attention) positioned(c *Context, heads mlx.Array) (queries, keys, values Segmented) {
	keysAt, valuesAt, end := a.Heads, a.Heads+a.KVHeads, a.Heads+2*a.KVHeads
	if a.Prepare == nil {
		all := c.Segment(heads)
		rotated := c.Rotate(a.RoPE, c.Heads(all, 0, valuesAt))
		return c.Heads(rotated, 0, keysAt), c.Heads(rotated, keysAt, valuesAt), c.Heads(all, valuesAt, end)
	}
	q, k, v := a.Prepare(c, c.SliceAxis(heads, 1, 0, keysAt), c.SliceAxis(heads, 1, keysAt, valuesAt), c.SliceAxis(heads, 1, valuesAt, end))
	return c.Rotate(a.RoPE, c.Segment(q)), c.Rotate(a.RoPE, c.Segment(k)), c.Segment(v)
}
