package nn

import (
	"math"

	"mlx-worker/gpu/cache"
	"mlx-worker/gpu/mlx"
)

// MLA is multi-head latent attention (DeepSeek V2): all heads' keys and values are projections of
// one latent vector a token, which is cached, beside one rotated key for all heads. A single query
// is projected to the latents instead of the latents to keys, which reads far less.
type MLA struct {
	MLADimensions
	Scale float32

	Inputs      Linear     // to the queries, or what Queries projects, | latent | rotated key
	QueriesNorm Norm       // nil, with Queries: Inputs gives the queries
	Queries     Linear     // to q heads
	LatentNorm  Norm       // of the latent
	RoPE        *RoPE      // of the last RopeDim dimensions of q heads, and of the key
	Keys        headLinear // [heads, latent, NopeDim]
	Values      headLinear // [heads, ValueDim, latent]
	Out         Linear
}

// MLADimensions are the sizes of an MLA.
type MLADimensions struct {
	Heads     int
	QueryRank int // size of what queries are projections of; 0: of the layer's input
	Latent    int
	NopeDim   int // of a head, without a position
	RopeDim   int // of a head, with one
	ValueDim  int
	NormEps   float32 // of the normalisations inside
}

// MLA builds latent attention below path, under DeepSeek's names. The projection of the latents
// is what mlx-lm makes of it, embed_q and unembed_out, or kv_b_proj, as published. Scores are
// scaled by the head's size to the power of -1/2.
func (b *Builder) MLA(path string, hidden int, d MLADimensions, rope *RoPE) *MLA {
	head := d.NopeDim + d.RopeDim
	m := &MLA{MLADimensions: d, Scale: float32(math.Pow(float64(head), -0.5)), RoPE: rope}
	compressed := path + ".kv_a_proj_with_mqa"
	if d.QueryRank > 0 {
		m.Inputs = b.Parallel([]string{path + ".q_a_proj", compressed}, hidden, d.QueryRank, d.Latent+d.RopeDim)
		m.QueriesNorm = b.RMSNorm(path+".q_a_layernorm", d.QueryRank, d.NormEps)
		m.Queries = b.Linear(path+".q_b_proj", d.QueryRank, d.Heads*head)
	} else {
		m.Inputs = b.Parallel([]string{path + ".q_proj", compressed}, hidden, d.Heads*head, d.Latent+d.RopeDim)
	}
	m.LatentNorm = b.RMSNorm(path+".kv_a_layernorm", d.Latent, d.NormEps)
	if b.Has(path + ".kv_b_proj.weight") {
		m.Keys, m.Values = b.latentProjections(path, d)
	} else {
		m.Keys = b.headLinear(path+".embed_q", d.Heads, d.NopeDim, d.Latent)
		m.Values = b.headLinear(path+".unembed_out", d.Heads, d.Latent, d.ValueDim)
	}
	m.Out = b.Linear(path+".o_proj", d.Heads*d.ValueDim, hidden)
	return m
}

// Forward attends from x, [1, T, hidden], to the layer's caches extended by x.
func (m *MLA) Forward(c *Context, x mlx.Array, layer int) mlx.Array {
	inputs := m.Inputs.Forward(c.Scope, x)
	if c.Err() != nil {
		return mlx.Array{}
	}
	tokens, width := inputs.Dim(1), inputs.Dim(2)
	latentAt, keyAt := width-m.Latent-m.RopeDim, width-m.RopeDim
	q := c.SliceAxis(inputs, -1, 0, latentAt)
	if m.Queries != nil {
		q = m.Queries.Forward(c.Scope, m.QueriesNorm.Forward(c.Scope, q))
	}
	head := m.NopeDim + m.RopeDim
	q = c.Reshape(q, tokens, m.Heads, head)
	plain := c.Segment(c.SliceAxis(q, -1, 0, m.NopeDim))
	rotated := c.Rotate(m.RoPE, c.Segment(c.SliceAxis(q, -1, m.NopeDim, head)))
	latent := m.LatentNorm.Forward(c.Scope, c.SliceAxis(inputs, -1, latentAt, keyAt))
	latents := c.Segment(c.Reshape(latent, tokens, 1, m.Latent))
	keys := c.Rotate(m.RoPE, c.Segment(c.Reshape(c.SliceAxis(inputs, -1, keyAt, width), tokens, 1, m.RopeDim)))
	y := c.eachSegment(func(g cache.Segment, i int) mlx.Array {
		allLatents, allKeys, mask := g.Update(layer, c.rows(latents[i], g), c.rows(keys[i], g))
		bias := m.rotatedScores(c, c.rows(rotated[i], g), allKeys, mask)
		return m.attend(c.Scope, c.rows(plain[i], g), allLatents, bias)
	})
	return m.Out.Forward(c.Scope, y)
}

// rotatedScores are the part of the scaled scores, [rows, heads, n, span], that comes from
// positions, and the mask.
func (m *MLA) rotatedScores(c *Context, q, keys mlx.Array, mask mlx.Mask) mlx.Array {
	if c.Err() != nil {
		return mlx.Array{}
	}
	dtype, length, span := q.DType(), q.Dim(2), keys.Dim(2)
	q = c.Multiply(q, c.Scalar(float64(m.Scale), dtype))
	scores := c.MatMul(q, c.Transpose(keys, 0, 1, 3, 2))
	visible := mask.Visible
	if mask.Causal {
		visible = c.visible(mask, length, span)
	}
	if visible.IsNull() {
		return scores
	}
	return c.Where(visible, scores, c.Scalar(lowest(dtype), dtype))
}

// attend is attention of queries [rows, heads, n, NopeDim] to latents [rows, 1, span, latent].
func (m *MLA) attend(s *mlx.Scope, q, latents, bias mlx.Array) mlx.Array {
	if s.Err() != nil {
		return mlx.Array{}
	}
	if q.Dim(2) == 1 {
		y := s.BiasedAttention(m.Keys.apply(s, q), latents, latents, m.Scale, bias)
		return m.Values.apply(s, y)
	}
	keys := s.MatMul(latents, m.Keys.weights(s))
	values := s.MatMul(latents, s.Transpose(m.Values.weights(s), 0, 2, 1))
	return s.BiasedAttention(q, keys, values, m.Scale, bias)
}

// headLinear is a projection with a matrix for each head.
type headLinear struct {
	dense  *mlx.Ref         // [heads, out, in] or nil
	matrix *quantizedMatrix // if dense is nil
}

// weights are the matrices, [heads, out, in].
func (l headLinear) weights(s *mlx.Scope) mlx.Array {
	if l.dense != nil {
		return l.dense.Array()
	}
	return l.matrix.dequantize(s, l.matrix.view())
}

// apply projects x, [rows, heads, n, in].
func (l headLinear) apply(s *mlx.Scope, x mlx.Array) mlx.Array {
	if l.dense == nil {
		return s.QuantizedMatMul(x, l.matrix.view())
	}
	return s.MatMul(x, s.Transpose(l.dense.Array(), 0, 2, 1))
}

func (b *Builder) headLinear(path string, heads, in, out int) headLinear {
	p := projection{}
	p.weight, p.scales, p.biases, p.format = b.matrix(path, in, out, heads)
	if b.Err() != nil {
		return headLinear{}
	}
	if p.format == nil || b.policy.DenseWeights {
		return headLinear{dense: b.dense([]projection{p})}
	}
	return headLinear{matrix: b.quantized([]projection{p}, b.policy.DType)}
}

// latentProjections takes kv_b_proj, the projection to all heads' keys and values, apart. If it is
// quantised, its parts are dense: a transposed matrix would have to be quantised again.
func (b *Builder) latentProjections(path string, d MLADimensions) (keys, values headLinear) {
	rows := d.NopeDim + d.ValueDim
	p := b.projection(path+".kv_b_proj", d.Latent, d.Heads*rows)
	if b.Err() != nil {
		return headLinear{}, headLinear{}
	}
	var whole *mlx.Ref
	if p.format == nil && b.policy.Conversion != nil {
		whole = b.settle(nil, *p.weight) // to be quantised as it is stored
	} else {
		whole = b.dense([]projection{p})
	}
	heads := func(s *mlx.Scope, from, to int) mlx.Array {
		return s.SliceAxis(s.Reshape(whole.Array(), d.Heads, rows, d.Latent), 1, from, to)
	}
	keys = b.headsOf(path+".embed_q", d.NopeDim, p.format == nil, b.upload.derive(true, func(s *mlx.Scope) mlx.Array {
		return s.Contiguous(s.Transpose(heads(s, 0, d.NopeDim), 0, 2, 1))
	}))
	values = b.headsOf(path+".unembed_out", d.Latent, p.format == nil, b.upload.replace([]*mlx.Ref{whole}, func(s *mlx.Scope) mlx.Array {
		return s.Contiguous(heads(s, d.NopeDim, rows))
	}))
	return keys, values
}

// headsOf is the projection of matrices [heads, out, in] that would be at path in a converted
// checkpoint. If they are as stored, the policy's conversion is done here.
func (b *Builder) headsOf(path string, in int, asStored bool, matrices *mlx.Ref) headLinear {
	if !asStored || b.policy.Conversion == nil {
		return headLinear{dense: matrices}
	}
	if format := b.policy.Conversion.Format(path, in); format != nil {
		up := &upload{inputs: []*mlx.Ref{matrices}, replace: []*mlx.Ref{matrices}, cut: byRow}
		q := b.upload.quantised(up, *format, b.policy.DType, func(_ *mlx.Scope, in mlx.Array) mlx.Array { return in })
		if !b.policy.DenseWeights {
			return headLinear{matrix: q}
		}
		return headLinear{dense: b.upload.dequantised(q)}
	}
	return headLinear{dense: b.upload.replace([]*mlx.Ref{matrices}, func(s *mlx.Scope) mlx.Array {
		return cast(s, matrices.Array(), b.policy.DType)
	})}
}
