package nn

import "mlx-worker/gpu/mlx"

// DeltaRule is the gated delta rule (Yang et al., 2024). With a decay g and a strength β for each
// token, the state, a matrix from keys to values, becomes g·S + β (v - g·S k) ⊗ k, and the output
// is S q.
type DeltaRule struct {
	levels *mlx.Ref // float32 [levels, chunk, chunk], see invert
}

// A prompt is computed in chunks of so many tokens at most, a power of 2. Within a chunk all is
// matrix products, and the state is only passed from chunk to chunk.
const (
	deltaChunk  = 1 << deltaLevels
	deltaLevels = 6
)

// DeltaRule builds what all layers share.
func (b *Builder) DeltaRule() *DeltaRule {
	return &DeltaRule{levels: b.Derive(func(s *mlx.Scope) mlx.Array {
		return s.Float32s(deltaMasks(), deltaLevels, deltaChunk, deltaChunk)
	})}
}

// deltaMasks are, for each level, the lower left quarters of the blocks of 2 << level on the
// diagonal.
func deltaMasks() []float32 {
	masks := make([]float32, 0, deltaLevels*deltaChunk*deltaChunk)
	for level := range deltaLevels {
		for i := range deltaChunk {
			for j := range deltaChunk {
				row, column := i>>level, j>>level
				mask := float32(0)
				if row%2 == 1 && column == row-1 {
					mask = 1
				}
				masks = append(masks, mask)
			}
		}
	}
	return masks
}

// Forward takes tokens' queries and keys, [rows, n, key_heads, key_dim], values [rows, n, heads,
// dim], the logarithm of their decays and their strengths, [rows, n, heads] each, and the state,
// float32 [rows, heads, dim, key_dim] or null for zeros. It returns [rows, n, heads, dim], in the
// values' dtype, and the next state.
func (d *DeltaRule) Forward(s *mlx.Scope, q, k, v, logDecays, strengths, state mlx.Array) (y, next mlx.Array) {
	if s.Err() != nil {
		return mlx.Array{}, mlx.Array{}
	}
	rows, n, heads, dim := v.Dim(0), v.Dim(1), v.Dim(2), v.Dim(3)
	if repeats := heads / k.Dim(2); repeats > 1 {
		q, k = s.Repeat(q, repeats, 2), s.Repeat(k, repeats, 2)
	}
	if s.Err() != nil {
		return mlx.Array{}, mlx.Array{}
	}
	if state.IsNull() {
		state = s.Zeros(mlx.Float32, rows, heads, dim, k.Dim(3))
	}
	if n == 1 {
		y, next = deltaStep(s, q, k, v, logDecays, strengths, state)
	} else {
		y, next = d.chunks(s, q, k, v, logDecays, strengths, state)
	}
	return s.AsType(y, v.DType()), next
}

// deltaStep is one token of each row.
func deltaStep(s *mlx.Scope, q, k, v, logDecays, strengths, state mlx.Array) (y, next mlx.Array) {
	column := func(x mlx.Array) mlx.Array { return s.ExpandDims(s.Squeeze(x, 1), -1) } // [rows, heads, ..., 1]
	decay := s.Exp(s.ExpandDims(column(logDecays), -1))
	known := s.Multiply(s.MatMul(state, column(s.AsType(k, mlx.Float32))), decay)
	delta := s.Multiply(s.Subtract(column(v), known), s.ExpandDims(column(strengths), -1))
	next = s.Add(s.Multiply(state, decay), s.Multiply(s.ExpandDims(s.Squeeze(k, 1), -2), delta))
	return s.ExpandDims(s.Squeeze(s.MatMul(next, column(s.AsType(q, mlx.Float32))), -1), 1), next
}

// chunks computes many tokens. The state after token i of a chunk is
//
//	S_i = G_i S_0 + Σ_{j≤i} (G_i / G_j) u_j ⊗ k_j
//
// with the product G_i of the decays up to i and the corrections u. Those are what solves
//
//	u_i + Σ_{j<i} β_i (G_i / G_j) (k_i · k_j) u_j = β_i (v_i - G_i S_0 k_i)
//
// so that the triangular matrix can be inverted for all chunks at once.
func (d *DeltaRule) chunks(s *mlx.Scope, q, k, v, logDecays, strengths, state mlx.Array) (y, next mlx.Array) {
	rows, n, heads, dim := v.Dim(0), v.Dim(1), v.Dim(2), v.Dim(3)
	size := 2
	for size < min(n, deltaChunk) {
		size *= 2
	}
	count := (n + size - 1) / size
	split := func(x mlx.Array, width int) mlx.Array { // [rows, heads, count, size, width]
		x = s.Reshape(s.AsType(padded(s, x, count*size), mlx.Float32), rows, count, size, heads, width)
		return s.Transpose(x, 0, 3, 1, 2, 4)
	}
	keyDim := k.Dim(3)
	q, k, v = split(q, keyDim), split(k, keyDim), split(v, dim)
	strengths = split(strengths, 1)
	logDecays = s.Squeeze(split(logDecays, 1), -1)

	between := decaysBetween(s, logDecays)                             // G_i / G_j
	left := swapLast(s, s.SliceAxis(between, -2, size-1, size))        // by the last token
	decayed := s.Exp(s.ExpandDims(s.CumSum(logDecays, -1, false), -1)) // G

	strong := s.Multiply(k, strengths)
	inverse := d.invert(s, s.Multiply(s.MatMul(strong, swapLast(s, k)), between), size)
	fromValues := s.MatMul(inverse, s.Multiply(v, strengths))
	fromState := s.MatMul(inverse, s.Multiply(strong, decayed))
	scores := s.Multiply(s.MatMul(q, swapLast(s, k)), between)
	q, k = s.Multiply(q, decayed), s.Multiply(k, left)
	whole := s.SliceAxis(decayed, -2, size-1, size)

	var parts []mlx.Array
	for i := range count {
		chunk := func(x mlx.Array) mlx.Array { return s.Squeeze(s.SliceAxis(x, 2, i, i+1), 2) }
		transposed := swapLast(s, state)
		corrections := s.Subtract(chunk(fromValues), s.MatMul(chunk(fromState), transposed))
		parts = append(parts, s.Add(s.MatMul(chunk(q), transposed), s.MatMul(chunk(scores), corrections)))
		state = s.Add(s.Multiply(state, chunk(whole)), s.MatMul(swapLast(s, corrections), chunk(k)))
	}
	y = s.Transpose(s.Concatenate(2, parts...), 0, 2, 1, 3) // [rows, count * size, heads, dim]
	if count*size > n {
		y = s.SliceAxis(y, 1, 0, n)
	}
	return y, state
}

// invert returns the inverse of I + L for the part L of matrices, [..., size, size], below the
// diagonal. From the inverses A and D of two neighbouring blocks on the diagonal, and what is below
// the first, B, the inverse of both is A and D with -D B A below. A series in powers of L would
// take fewer products, and cancel where keys repeat.
func (d *DeltaRule) invert(s *mlx.Scope, matrices mlx.Array, size int) mlx.Array {
	masks := s.Slice(d.levels.Array(), []int{0, 0, 0}, []int{deltaLevels, size, size})
	places := s.Arange(0, float64(size), 1, mlx.Int32)
	ones := s.AsType(s.LogicalAnd(notLater(s, size), s.GreaterEqual(places, s.Reshape(places, size, 1))), mlx.Float32)
	var inverse mlx.Array
	for level := 0; 1<<level < size; level++ {
		below := s.Multiply(matrices, s.Squeeze(s.SliceAxis(masks, 0, level, level+1), 0))
		if level == 0 {
			inverse = s.Subtract(ones, below)
			continue
		}
		inverse = s.Subtract(inverse, s.MatMul(s.MatMul(inverse, below), inverse))
	}
	return inverse
}
