package nn

import (
	"math"

	"mlx-worker/gpu/cache"
	"mlx-worker/gpu/mlx"
)

// Segmented are the heads of a pass's tokens in the layout of attention: those of all decoding
// rows, [B, heads, 1, dim], if there are any, then those of each chunk, [1, heads, n, dim].
type Segmented []mlx.Array

// Segment takes heads, [T, heads, dim], apart.
func (c *Context) Segment(x mlx.Array) Segmented {
	if c.Err() != nil {
		return nil
	}
	heads, dim := x.Dim(1), x.Dim(2)
	var out Segmented
	first := 0
	if rows := c.Pass.Rows(); rows > 0 {
		out = append(out, c.Reshape(c.tokens(x, 0, rows), rows, heads, 1, dim))
		first = rows
	}
	for _, chunk := range c.Pass.Chunks() {
		tokens := c.Reshape(c.tokens(x, first, first+chunk.N), 1, chunk.N, heads, dim)
		out = append(out, c.Transpose(tokens, 0, 2, 1, 3))
		first += chunk.N
	}
	return out
}

// tokens are tokens [from, to) of x; x itself if those are all.
func (c *Context) tokens(x mlx.Array, from, to int) mlx.Array {
	if c.Err() != nil || from == 0 && to == x.Dim(0) {
		return x
	}
	return c.SliceAxis(x, 0, from, to)
}

// Heads are heads [from, to) of each segment.
func (c *Context) Heads(x Segmented, from, to int) Segmented {
	out := make(Segmented, len(x))
	for i := range x {
		out[i] = c.SliceAxis(x[i], 1, from, to)
	}
	return out
}

// Rotate gives heads their positions.
func (c *Context) Rotate(r *RoPE, x Segmented) Segmented {
	if c.Err() != nil || r == nil {
		return x
	}
	out := make(Segmented, 0, len(x))
	if c.Pass.Rows() > 0 {
		out = append(out, r.rotateRows(c, x[0]))
	}
	for _, chunk := range c.Pass.Chunks() {
		out = append(out, r.rotate(c.Scope, x[len(out)], chunk.Sequence.Length()))
	}
	return out
}

// Scores says how queries and keys are compared.
type Scores struct {
	Scale   float32
	SoftCap float32  // scores become cap * tanh(score / cap); 0: none
	Sinks   *mlx.Ref // [heads], a score beside the keys' that takes weight and adds nothing; nil: none
	Float32 bool     // computed in float32, whatever the dtype of the heads
}

// Attend extends a layer's caches by keys and values and attends from queries to all that they
// may see. It returns [1, T, heads * dim of the values].
func (c *Context) Attend(layer int, queries, keys, values Segmented, scores Scores) mlx.Array {
	return c.eachSegment(func(g cache.Segment, i int) mlx.Array {
		k, v, mask := g.Update(layer, c.rows(keys[i], g), c.rows(values[i], g))
		return c.compare(c.rows(queries[i], g), k, v, scores, mask)
	})
}

// AttendShared is Attend over the keys and values that another layer of the same window has
// cached in this pass.
func (c *Context) AttendShared(layer int, queries Segmented, scores Scores) mlx.Array {
	return c.eachSegment(func(g cache.Segment, i int) mlx.Array {
		k, v, mask := g.Seen(layer)
		return c.compare(c.rows(queries[i], g), k, v, scores, mask)
	})
}

// eachSegment puts together what attention returns of each segment, [rows, heads, n, dim]: [1, T,
// heads * dim]. i is the segment's element of Segmented, of which rows gives its part.
func (c *Context) eachSegment(attention func(g cache.Segment, i int) mlx.Array) mlx.Array {
	var parts []mlx.Array
	i := 0
	for _, g := range c.Pass.Segments() {
		if c.Err() != nil {
			return mlx.Array{}
		}
		if !g.Decode && len(parts) > 0 {
			i++ // all rows' groups are part of one element, and each chunk is the next one
		}
		y := attention(g, i)
		if c.Err() != nil {
			return mlx.Array{}
		}
		width := y.Dim(1) * y.Dim(3)
		if !g.Decode {
			y = c.Transpose(y, 0, 2, 1, 3)
		}
		parts = append(parts, c.Reshape(y, 1, g.Tokens, width))
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return c.Concatenate(1, parts...)
}

// rows are the rows of x that belong to g.
func (c *Context) rows(x mlx.Array, g cache.Segment) mlx.Array {
	if !g.Decode || g.Tokens == c.Pass.Rows() {
		return x
	}
	return c.SliceAxis(x, 0, g.First, g.First+g.Tokens)
}

// compare is scaled dot-product attention.
func (c *Context) compare(q, k, v mlx.Array, scores Scores, mask mlx.Mask) mlx.Array {
	if scores.Float32 && c.Err() == nil && q.DType() != mlx.Float32 {
		scores.Float32 = false
		dtype := v.DType()
		return c.AsType(c.compare(c.AsType(q, mlx.Float32), c.AsType(k, mlx.Float32), v, scores, mask), dtype)
	}
	if scores.SoftCap > 0 {
		return c.softCapped(q, k, v, scores, mask)
	}
	var sinks mlx.Array
	if scores.Sinks != nil {
		sinks = scores.Sinks.Array()
	}
	if scores.Sinks == nil && c.Kernels() && kernelsFit(q, k, v) {
		if q.Dim(2) == 1 && (mask.Visible.IsNull() || !mask.Counts.IsNull()) {
			return c.AttendOne(q, k, v, mask.Counts, scores.Scale)
		}
		if mask.Causal || mask.Window > 0 {
			return c.cpuAttention(q, k, v, scores.Scale, mask.Window)
		}
	}
	return c.Scope.Attention(q, k, v, scores.Scale, mask, sinks)
}

// kernelsFit reports whether mlx.Scope.AttendOne takes the arrays.
func kernelsFit(q, k, v mlx.Array) bool {
	return q.DType() == mlx.Float32 && k.DType() == mlx.Float32 && v.DType() == mlx.Float32 &&
		q.Dim(3)%8 == 0 && q.Dim(3) == v.Dim(3)
}

// cpuAttention is causal attention by two products and a softmax between them.
func (c *Context) cpuAttention(q, k, v mlx.Array, scale float32, window int) mlx.Array {
	rows, heads, length, dim := q.Dim(0), q.Dim(1), q.Dim(2), q.Dim(3)
	kvHeads, span := k.Dim(1), k.Dim(2)
	q = c.Reshape(q, rows, kvHeads, heads/kvHeads, length, dim)
	k = c.Transpose(c.Reshape(k, rows, kvHeads, 1, span, dim), 0, 1, 2, 4, 3)
	shares := c.CausalSoftmax(c.MatMul(q, k), scale, window)
	y := c.MatMul(shares, c.Reshape(v, rows, kvHeads, 1, span, dim))
	return c.Reshape(y, rows, heads, length, dim)
}

// softCapped is attention whose scores are capped, which no fused kernel has; as mlx-lm computes
// it: queries are scaled first and hidden scores are the lowest finite number.
func (c *Context) softCapped(q, k, v mlx.Array, scores Scores, mask mlx.Mask) mlx.Array {
	if c.Err() != nil {
		return mlx.Array{}
	}
	rows, heads, length, dim := q.Dim(0), q.Dim(1), q.Dim(2), q.Dim(3)
	kvHeads, span := k.Dim(1), k.Dim(2)
	number := func(x float64) mlx.Array { return c.Scalar(x, q.DType()) }
	q = c.Reshape(c.Multiply(q, number(float64(scores.Scale))), rows, kvHeads, heads/kvHeads, length, dim)
	k = c.Reshape(k, rows, kvHeads, 1, span, dim)
	v = c.Reshape(v, rows, kvHeads, 1, span, v.Dim(3))
	s := c.MatMul(q, c.Transpose(k, 0, 1, 2, 4, 3))
	limit := number(float64(scores.SoftCap))
	s = c.Multiply(c.Tanh(c.Divide(s, limit)), limit)
	if visible := c.visible(mask, length, span); !visible.IsNull() {
		s = c.Where(visible, s, number(lowest(q.DType())))
	}
	y := c.MatMul(c.PreciseSoftmax(s, -1), v)
	if c.Err() != nil {
		return mlx.Array{}
	}
	return c.Reshape(y, rows, heads, length, y.Dim(4))
}

// visible is the mask as an array that broadcasts to [rows, kv_heads, repeats, length, span], or
// null if all is visible.
func (c *Context) visible(mask mlx.Mask, length, span int) mlx.Array {
	switch {
	case mask.Causal:
		queries := c.Reshape(c.Arange(float64(span-length), float64(span), 1, mlx.Int32), length, 1)
		return c.GreaterEqual(queries, c.Arange(0, float64(span), 1, mlx.Int32))
	case mask.Visible.IsNull() || mask.Visible.NDim() < 4:
		return mask.Visible
	}
	return c.Reshape(mask.Visible, mask.Visible.Dim(0), 1, 1, mask.Visible.Dim(2), mask.Visible.Dim(3))
}

// lowest is the least finite number of a float type.
func lowest(dtype mlx.DType) float64 {
	switch dtype {
	case mlx.Float16:
		return -65504
	case mlx.BFloat16:
		return -3.3895313892515355e38
	}
	return -math.MaxFloat32
}
