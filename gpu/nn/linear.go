package nn

import (
	"mlx-worker/gpu/load"
	"mlx-worker/gpu/mlx"
)

// Linear is a projection from the last axis of x, of size in, to size out.
type Linear interface {
	Forward(s *mlx.Scope, x mlx.Array) mlx.Array
}

// denseLinear multiplies by a matrix that was transposed once, at load.
type denseLinear struct {
	weightT *mlx.Ref // [in, out], a view of [out, in]
	bias    *mlx.Ref // [out] or nil
}

func (l *denseLinear) Forward(s *mlx.Scope, x mlx.Array) mlx.Array {
	if l.bias != nil {
		return s.AddMM(l.bias.Array(), x, l.weightT.Array())
	}
	return s.MatMul(x, l.weightT.Array())
}

// quantizedMatrix is a mlx.Quantized that owns its arrays.
type quantizedMatrix struct {
	weight, scales *mlx.Ref
	biases         *mlx.Ref // nil for all modes but affine
	format         load.QuantSpec
	dtype          *mlx.DType // of the dense matrix; nil: MLX's choice
}

func (q *quantizedMatrix) refs() []*mlx.Ref {
	if q.biases == nil {
		return []*mlx.Ref{q.weight, q.scales}
	}
	return []*mlx.Ref{q.weight, q.scales, q.biases}
}

func (q *quantizedMatrix) view() mlx.Quantized {
	return mlx.Quantized{
		Weight: q.weight.Array(), Scales: q.scales.Array(), Biases: arrayOf(q.biases),
		GroupSize: q.format.GroupSize, Bits: q.format.Bits, Mode: q.format.Mode,
	}
}

// dequantize returns rows of the matrix as a dense one. Formats with scales of 8 bits become
// bfloat16, which holds all of their numbers, unless dtype says otherwise.
func (q *quantizedMatrix) dequantize(s *mlx.Scope, rows mlx.Quantized) mlx.Array {
	if q.biases != nil { // MLX computes in the dtype of the scales
		rows.Scales, rows.Biases = cast(s, rows.Scales, q.dtype), cast(s, rows.Biases, q.dtype)
	}
	return cast(s, s.Dequantize(rows), q.dtype)
}

// quantizedLinear is MLX's own quantised product.
type quantizedLinear struct {
	matrix *quantizedMatrix
	bias   *mlx.Ref // [out] or nil
}

func (l *quantizedLinear) Forward(s *mlx.Scope, x mlx.Array) mlx.Array {
	return addBias(s, s.QuantizedMatMul(x, l.matrix.view()), l.bias)
}

// cpuQuantizedLinear uses a quantised product of the worker's own where there is one. Else it uses
// MLX's for few rows, whose cost is linear in rows, and a dense product through BLAS of the matrix
// dequantised for this call for more.
type cpuQuantizedLinear struct{ quantizedLinear }

// cpuDequantizeRows is where dequantise + sgemm becomes faster than the quantised product:
// 4 rows cost 3.2 ms against 3.9 ms for up to 128 rows (576×1536, 4 bit).
const cpuDequantizeRows = 5

func (l *cpuQuantizedLinear) Forward(s *mlx.Scope, x mlx.Array) mlx.Array {
	if s.Err() != nil || x.Size()/x.Dim(-1) < cpuDequantizeRows || s.MultipliesQuantized(x, l.matrix.view()) {
		return l.quantizedLinear.Forward(s, x)
	}
	dense := l.matrix.dequantize(s, l.matrix.view())
	return addBias(s, s.MatMul(x, s.Transpose(dense, 1, 0)), l.bias)
}

// concatenated computes projections one by one and joins their outputs on the last axis.
type concatenated []Linear

func (c concatenated) Forward(s *mlx.Scope, x mlx.Array) mlx.Array {
	parts := make([]mlx.Array, len(c))
	for i, l := range c {
		parts[i] = l.Forward(s, x)
	}
	return s.Concatenate(-1, parts...)
}

func addBias(s *mlx.Scope, x mlx.Array, bias *mlx.Ref) mlx.Array {
	if bias == nil {
		return x
	}
	return s.Add(x, bias.Array())
}

// Embedding maps token ids to rows of a [vocab, hidden] matrix.
type Embedding struct {
	dense  *mlx.Ref         // [vocab, hidden] or nil
	matrix *quantizedMatrix // if dense is nil
	head   Linear
	vocab  int
}

// VocabSize is the number of rows.
func (e *Embedding) VocabSize() int { return e.vocab }

// Forward returns [..., hidden] for int32 ids [...].
func (e *Embedding) Forward(s *mlx.Scope, ids mlx.Array) mlx.Array {
	if e.dense != nil {
		return s.Take(e.dense.Array(), ids, 0)
	}
	rows := e.matrix.view()
	rows.Weight = s.Take(rows.Weight, ids, 0)
	rows.Scales = s.Take(rows.Scales, ids, 0)
	if !rows.Biases.IsNull() {
		rows.Biases = s.Take(rows.Biases, ids, 0)
	}
	return e.matrix.dequantize(s, rows)
}

// AsLinear is the output head that shares the embedding's matrix.
func (e *Embedding) AsLinear() Linear { return e.head }
