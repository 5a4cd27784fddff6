package nn

import (
	"math"

	"mlx-worker/gpu/mlx"
)

// SSM is the selective state space of Mamba 2 (Dao and Gu, 2024). Each head has a state of dim by
// state_size numbers, which becomes exp(dt A) S + (dt x) ⊗ B with a token; the output is S C + D x.
// Heads share B and C in groups.
type SSM struct {
	rate   *mlx.Ref // float32 [heads], A
	skip   *mlx.Ref // [heads], D
	dtBias *mlx.Ref // [heads]
	least  float64  // of dt
	most   float64
}

// ssmChunk is how many tokens of a prompt are computed as one matrix.
const ssmChunk = 128

// SSM builds A_log, D and dt_bias below path. dt is kept between least and most.
func (b *Builder) SSM(path string, heads int, least, most float64) *SSM {
	log := b.Vector(path+".A_log", heads)
	m := &SSM{skip: b.Parameter(path+".D", heads), dtBias: b.Vector(path+".dt_bias", heads), least: least, most: min(most, math.MaxFloat32)}
	if b.Err() != nil {
		return nil
	}
	m.rate = b.upload.replace([]*mlx.Ref{log}, func(s *mlx.Scope) mlx.Array { return s.Negative(s.Exp(log.Array())) })
	return m
}

// Forward takes tokens x [rows, n, heads, dim], B and C [rows, n, groups, state_size], dt [rows, n,
// heads], and the state, float32 [rows, heads, dim, state_size] or null for zeros. It returns x's
// shape and dtype, and the next state.
func (m *SSM) Forward(s *mlx.Scope, x, b, c, dt, state mlx.Array) (y, next mlx.Array) {
	if s.Err() != nil {
		return mlx.Array{}, mlx.Array{}
	}
	rows, n, heads, dim := x.Dim(0), x.Dim(1), x.Dim(2), x.Dim(3)
	if state.IsNull() {
		state = s.Zeros(mlx.Float32, rows, heads, dim, b.Dim(3))
	}
	dt = Softplus(s, s.Add(s.AsType(dt, mlx.Float32), m.dtBias.Array()))
	dt = s.Minimum(s.Maximum(dt, s.Scalar(m.least, mlx.Float32)), s.Scalar(m.most, mlx.Float32))
	logDecays := s.Multiply(dt, m.rate.Array())
	inputs := s.Multiply(s.ExpandDims(dt, -1), x)
	b, c = s.AsType(b, mlx.Float32), s.AsType(c, mlx.Float32)
	if n == 1 {
		y, state = ssmStep(s, inputs, b, c, logDecays, state)
	} else {
		var parts []mlx.Array
		for from := 0; from < n; from += ssmChunk {
			chunk := func(x mlx.Array) mlx.Array { return s.SliceAxis(x, 1, from, min(from+ssmChunk, n)) }
			y, state = ssmScan(s, chunk(inputs), chunk(b), chunk(c), chunk(logDecays), state)
			parts = append(parts, y)
		}
		y = s.Concatenate(1, parts...)
	}
	skipped := s.Multiply(x, s.ExpandDims(m.skip.Array(), -1))
	return s.AsType(s.Add(s.AsType(y, x.DType()), skipped), x.DType()), state
}

// ssmStep is one token of each row.
func ssmStep(s *mlx.Scope, inputs, b, c, logDecays, state mlx.Array) (y, next mlx.Array) {
	if s.Err() != nil {
		return mlx.Array{}, mlx.Array{}
	}
	repeats := inputs.Dim(2) / b.Dim(2)
	of := func(x mlx.Array) mlx.Array { return s.Repeat(s.Squeeze(x, 1), repeats, 1) } // [rows, heads, state_size]
	decay := s.ExpandDims(s.ExpandDims(s.Exp(s.Squeeze(logDecays, 1)), -1), -1)
	added := s.Multiply(s.ExpandDims(s.Squeeze(inputs, 1), -1), s.ExpandDims(of(b), -2))
	next = s.Add(s.Multiply(state, decay), added)
	return s.ExpandDims(s.Squeeze(s.MatMul(next, s.ExpandDims(of(c), -1)), -1), 1), next
}

// ssmScan is a chunk of tokens: a masked product like attention's, and what the state before adds.
func ssmScan(s *mlx.Scope, inputs, b, c, logDecays, state mlx.Array) (y, next mlx.Array) {
	if s.Err() != nil {
		return mlx.Array{}, mlx.Array{}
	}
	repeats := inputs.Dim(2) / b.Dim(2)
	n := logDecays.Dim(1)
	logDecays = s.Transpose(logDecays, 0, 2, 1) // [rows, heads, n]
	between := decaysBetween(s, logDecays)
	left := swapLast(s, s.SliceAxis(between, -2, n-1, n))              // by the last token
	decayed := s.Exp(s.ExpandDims(s.CumSum(logDecays, -1, false), -1)) // [rows, heads, n, 1]
	inputs = s.Transpose(inputs, 0, 2, 1, 3)
	b, c = s.Transpose(b, 0, 2, 1, 3), s.Transpose(c, 0, 2, 1, 3) // [rows, groups, n, state_size]
	scores := s.Multiply(s.Repeat(s.MatMul(c, swapLast(s, b)), repeats, 1), between)
	b, c = s.Repeat(b, repeats, 1), s.Repeat(c, repeats, 1)
	before := s.Multiply(decayed, s.MatMul(c, swapLast(s, state)))
	y = s.Add(s.MatMul(scores, inputs), before)
	next = s.Add(
		s.Multiply(state, s.SliceAxis(decayed, -2, n-1, n)),
		s.MatMul(swapLast(s, s.Multiply(inputs, left)), b))
	return s.Transpose(y, 0, 2, 1, 3), next
}
