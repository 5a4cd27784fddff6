package models

import (
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
)

// unscaledAttention is attention of Gemma 3n and 4: queries and keys are normalised and compared
// as they are, keys may be values, and keys and values may be those of another layer.
type unscaledAttention struct {
	heads, kvHeads, headDim int
	cache                   int // the layer whose keys and values it sees
	keysAreValues           bool
	rope                    *nn.RoPE

	projections                   nn.Linear // to q heads, and k heads and v heads where it has them
	out                           nn.Linear
	queryNorm, keyNorm, valueNorm nn.Norm
}

// build takes the arrays of a layer's attention at path.
func (a *unscaledAttention) build(b *nn.Builder, path string, hidden int, eps float32, layer int) {
	paths, sizes := []string{path + ".q_proj"}, []int{a.heads * a.headDim}
	if a.cache == layer {
		paths, sizes = append(paths, path+".k_proj"), append(sizes, a.kvHeads*a.headDim)
		if !a.keysAreValues {
			paths, sizes = append(paths, path+".v_proj"), append(sizes, a.kvHeads*a.headDim)
		}
		a.keyNorm = b.RMSNorm(path+".k_norm", a.headDim, eps)
		a.valueNorm = nn.PlainRMSNorm(eps)
	}
	a.projections = b.Parallel(paths, hidden, sizes...)
	a.out = b.Linear(path+".o_proj", a.heads*a.headDim, hidden)
	a.queryNorm = b.RMSNorm(path+".q_norm", a.headDim, eps)
}

// forward attends from x, [1, T, hidden].
func (a *unscaledAttention) forward(c *nn.Context, x mlx.Array, layer int) mlx.Array {
	if c.Err() != nil {
		return mlx.Array{}
	}
	scores := nn.Scores{Scale: 1}
	heads := c.Reshape(a.projections.Forward(c.Scope, x), x.Dim(1), -1, a.headDim)
	part := func(norm nn.Norm, from, n int) nn.Segmented {
		return c.Segment(norm.Forward(c.Scope, c.SliceAxis(heads, 1, from, from+n)))
	}
	queries := c.Rotate(a.rope, part(a.queryNorm, 0, a.heads))
	if a.cache != layer {
		return a.out.Forward(c.Scope, c.AttendShared(a.cache, queries, scores))
	}
	valuesAt := a.heads + a.kvHeads
	if a.keysAreValues {
		valuesAt = a.heads
	}
	keys := c.Rotate(a.rope, part(a.keyNorm, a.heads, a.kvHeads))
	values := part(a.valueNorm, valuesAt, a.kvHeads)
	return a.out.Forward(c.Scope, c.Attend(layer, queries, keys, values, scores))
}
